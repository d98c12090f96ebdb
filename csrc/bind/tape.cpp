#include "bind/tape.h"

#include "bind/arrays.h"

namespace mlext {
namespace {

thread_local bool t_grad_enabled = true;

// tracks(*values): what any_tracked() says.
PyObject* tracks(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return PyBool_FromLong(any_tracked(args, count));
}

// alias(tensor): another Tensor over the same memory, off the tape.
PyObject* alias(PyObject*, PyObject* value) {
  if (!is_array(value)) {
    PyErr_Format(PyExc_TypeError, "alias: argument 'x': expected a Tensor, got %s", Py_TYPE(value)->tp_name);
    return nullptr;
  }
  return new_tensor(array_of(value));
}

// parents(inputs): per input the node that made it, the leaf itself, or None if it wants no gradient.
PyObject* parents(PyObject*, PyObject* inputs) {
  if (!PyTuple_Check(inputs)) {
    PyErr_SetString(PyExc_TypeError, "parents: argument 'inputs': expected a tuple");
    return nullptr;
  }
  const Py_ssize_t count = PyTuple_GET_SIZE(inputs);
  PyObject* out = PyTuple_New(count);
  for (Py_ssize_t i = 0; out != nullptr && i < count; ++i) {
    PyObject* x = PyTuple_GET_ITEM(inputs, i);
    PyObject* parent = Py_None;
    if (is_array(x) && reinterpret_cast<ArrayObject*>(x)->requires_grad) {
      PyObject* node = reinterpret_cast<ArrayObject*>(x)->node;
      parent = node == nullptr || node == Py_None ? x : node;
    }
    PyTuple_SET_ITEM(out, i, Py_NewRef(parent));
  }
  return out;
}

// versions(saved): the version of each Tensor's memory; None for what is no Tensor.
PyObject* versions(PyObject*, PyObject* saved) {
  if (!PyTuple_Check(saved)) {
    PyErr_SetString(PyExc_TypeError, "versions: argument 'saved': expected a tuple");
    return nullptr;
  }
  const Py_ssize_t count = PyTuple_GET_SIZE(saved);
  PyObject* out = PyTuple_New(count);
  for (Py_ssize_t i = 0; out != nullptr && i < count; ++i) {
    PyObject* x = PyTuple_GET_ITEM(saved, i);
    const bool counted = is_array(x) && array_of(x).buffer;
    PyTuple_SET_ITEM(out, i,
                     counted ? PyLong_FromUnsignedLongLong(array_of(x).buffer->version.load()) : Py_NewRef(Py_None));
  }
  return out;
}

// is_among(x, values): identity, where `in` would compare elements.
PyObject* is_among(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 2 || !PyTuple_Check(args[1])) {
    PyErr_SetString(PyExc_TypeError, "is_among: expected an object and a tuple");
    return nullptr;
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[1]); ++i) {
    if (PyTuple_GET_ITEM(args[1], i) == args[0]) Py_RETURN_TRUE;
  }
  Py_RETURN_FALSE;
}

PyMethodDef kParents = {"parents", parents, METH_O,
                        "parents(inputs)\n--\n\nPer input its node, itself if a leaf, or None."};
PyMethodDef kVersions = {"versions", versions, METH_O,
                         "versions(saved)\n--\n\nPer Tensor the number of in-place writes to its memory so far."};
PyMethodDef kIsAmong = {"is_among", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(is_among)),
                        METH_FASTCALL, "is_among(x, values)\n--\n\nWhether x itself is one of the values."};
PyMethodDef kTracks = {"tracks", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(tracks)), METH_FASTCALL,
                       "tracks(*values)\n--\n\nWhether the tape must record an op over these values."};
PyMethodDef kAlias = {"alias", alias, METH_O, "alias(x)\n--\n\nAnother Tensor over the same memory, off the tape."};

}  // namespace

bool any_tracked(PyObject* const* values, Py_ssize_t count) {
  if (!t_grad_enabled) return false;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (is_array(values[i]) && reinterpret_cast<ArrayObject*>(values[i])->requires_grad) return true;
  }
  return false;
}

void bind_tape(py::module_& m) {
  for (PyMethodDef* def : {&kTracks, &kAlias, &kParents, &kVersions, &kIsAmong}) {
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
