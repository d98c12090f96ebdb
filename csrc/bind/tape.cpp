#include "bind/tape.h"

#include "bind/arrays.h"

namespace mlext {
namespace {

thread_local bool t_grad_enabled = true;

// tracks(*values): recording is on and some value is a Tensor that requires a gradient.
PyObject* tracks(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (t_grad_enabled) {
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (is_array(args[i]) && reinterpret_cast<ArrayObject*>(args[i])->requires_grad) Py_RETURN_TRUE;
    }
  }
  Py_RETURN_FALSE;
}

// alias(tensor): another Tensor over the same memory, off the tape.
PyObject* alias(PyObject*, PyObject* value) {
  if (!is_array(value)) {
    PyErr_Format(PyExc_TypeError, "alias: argument 'x': expected a Tensor, got %s", Py_TYPE(value)->tp_name);
    return nullptr;
  }
  return new_tensor(array_of(value));
}

PyMethodDef kTracks = {"tracks", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(tracks)), METH_FASTCALL,
                       "tracks(*values)\n--\n\nWhether the tape must record an op over these values."};
PyMethodDef kAlias = {"alias", alias, METH_O,
                      "alias(x)\n--\n\nAnother Tensor over the same memory, off the tape."};

}  // namespace

void bind_tape(py::module_& m) {
  for (PyMethodDef* def : {&kTracks, &kAlias}) {
    m.add_object(def->ml_name, py::reinterpret_steal<py::object>(PyCFunction_New(def, nullptr)));
  }
  m.def("grad_enabled", [] { return t_grad_enabled; });
  m.def(
      "set_grad_enabled",
      [](bool on) {
        const bool before = t_grad_enabled;
        t_grad_enabled = on;
        if (before != on) bump_epoch();
        return before;
      },
      py::arg("on"), "Turns recording on or off on this thread; what it was before.");
  m.def(
      "owns_alone",
      [](const py::object& x) {
        return is_array(x.ptr()) && array_of(x.ptr()).buffer && array_of(x.ptr()).buffer->refs.load() == 1;
      },
      py::arg("x"), "Whether no other Tensor or ndarray shares the memory of x.");
}

}  // namespace mlext
