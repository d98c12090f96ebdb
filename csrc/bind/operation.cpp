// Operation(kernel, taped): a differentiable function of Python's whose calls that record nothing cost no Python frame.
//
// `taped` is the function as it is written in Python; it computes and records. `kernel` is the door that computes the same
// from the same arguments, in the same order. A call goes to the door unless the tape must record it.
#include <structmember.h>

#include <algorithm>
#include <cstddef>

#include "bind/arrays.h"
#include "bind/tape.h"

namespace mlext {
namespace {

constexpr Py_ssize_t kMaxArguments = 4;

struct OperationObject {
  PyObject_HEAD;
  vectorcallfunc vectorcall;
  PyObject* kernel;
  PyObject* taped;
  PyObject* names;  // of the arguments, a tuple
  PyObject* dict;   // what functools.update_wrapper writes: __name__, __doc__, ...
};

// Keyword arguments at their places; false if `taped` must say what is wrong with the call.
bool place_keywords(const OperationObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords,
                    PyObject** placed) {
  const Py_ssize_t wanted = PyTuple_GET_SIZE(self->names), named = PyTuple_GET_SIZE(keywords);
  if (count + named != wanted) return false;
  std::fill(std::copy_n(args, count, placed), placed + wanted, nullptr);
  for (Py_ssize_t i = 0; i < named; ++i) {
    Py_ssize_t place = 0;
    while (place < wanted &&
           PyUnicode_Compare(PyTuple_GET_ITEM(self->names, place), PyTuple_GET_ITEM(keywords, i)) != 0) {
      ++place;
    }
    if (place == wanted || placed[place] != nullptr) return false;
    placed[place] = args[count + i];
  }
  return true;
}

PyObject* operation_call(PyObject* object, PyObject* const* args, std::size_t flags, PyObject* keywords) {
  const auto* self = reinterpret_cast<OperationObject*>(object);
  const Py_ssize_t count = PyVectorcall_NARGS(flags);
  PyObject* placed[kMaxArguments];
  if (keywords != nullptr && PyTuple_GET_SIZE(keywords) > 0) {
    if (!place_keywords(self, args, count, keywords, placed)) {
      return PyObject_Vectorcall(self->taped, args, flags, keywords);
    }
    return operation_call(object, placed, static_cast<std::size_t>(PyTuple_GET_SIZE(self->names)), nullptr);
  }
  const bool taped = count != PyTuple_GET_SIZE(self->names) || any_tracked(args, count);
  return PyObject_Vectorcall(taped ? self->taped : self->kernel, args, flags, nullptr);
}

PyObject* operation_new(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject *kernel = nullptr, *taped = nullptr;
  if (!PyArg_ParseTuple(args, "OO!:Operation", &kernel, &PyFunction_Type, &taped)) return nullptr;
  const auto* code = reinterpret_cast<PyCodeObject*>(PyFunction_GET_CODE(taped));
  const bool variable =
      (code->co_flags & (CO_VARARGS | CO_VARKEYWORDS)) != 0 || PyFunction_GetDefaults(taped) != nullptr;
  if (code->co_argcount > kMaxArguments || code->co_kwonlyargcount > 0 || variable) {
    PyErr_SetString(PyExc_ValueError,
                    "Operation: expected a function of up to 4 positional arguments, none with a default");
    return nullptr;
  }
  py::object all = py::reinterpret_borrow<py::object>(PyFunction_GET_CODE(taped)).attr("co_varnames");
  auto* self = reinterpret_cast<OperationObject*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->vectorcall = operation_call;
  self->kernel = Py_NewRef(kernel);
  self->taped = Py_NewRef(taped);
  self->names = PyTuple_GetSlice(all.ptr(), 0, code->co_argcount);
  return reinterpret_cast<PyObject*>(self);
}

// A function in a class is a method.
PyObject* operation_get(PyObject* self, PyObject* instance, PyObject*) {
  return instance == nullptr || instance == Py_None ? Py_NewRef(self) : PyMethod_New(self, instance);
}

// Copied and pickled by name, as functions are.
PyObject* operation_reduce(PyObject* self, PyObject*) { return PyObject_GetAttrString(self, "__qualname__"); }
PyObject* operation_repr(PyObject* self) { return PyObject_Repr(reinterpret_cast<OperationObject*>(self)->taped); }

int operation_traverse(PyObject* object, visitproc visit, void* arg) {
  auto* self = reinterpret_cast<OperationObject*>(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->kernel);
  Py_VISIT(self->taped);
  Py_VISIT(self->dict);
  return 0;
}

int operation_clear(PyObject* object) {
  auto* self = reinterpret_cast<OperationObject*>(object);
  Py_CLEAR(self->kernel);
  Py_CLEAR(self->taped);
  Py_CLEAR(self->dict);
  return 0;
}

void operation_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  operation_clear(object);
  Py_XDECREF(reinterpret_cast<OperationObject*>(object)->names);
  type->tp_free(object);
  Py_DECREF(type);
}

PyMethodDef kOperationMethods[] = {
    {"__reduce__", operation_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyMemberDef kOperationMembers[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(OperationObject, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(OperationObject, dict), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyGetSetDef kGetSet[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot kOperationSlots[] = {
    {Py_tp_new, reinterpret_cast<void*>(operation_new)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_descr_get, reinterpret_cast<void*>(operation_get)},
    {Py_tp_repr, reinterpret_cast<void*>(operation_repr)},
    {Py_tp_dealloc, reinterpret_cast<void*>(operation_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(operation_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(operation_clear)},
    {Py_tp_methods, kOperationMethods},
    {Py_tp_members, kOperationMembers},
    {Py_tp_getset, kGetSet},
    {0, nullptr},
};
PyType_Spec kOperationSpec = {
    "mlext._C.Operation", sizeof(OperationObject), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    kOperationSlots};

}  // namespace

void bind_operation(py::module_& m) {
  m.add_object("Operation", py::reinterpret_steal<py::object>(PyType_FromSpec(&kOperationSpec)));
}

}  // namespace mlext
