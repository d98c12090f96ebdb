#include "bind/arrays.h"

#include <bit>
#include <cstring>
#include <new>

#include "bind/tape.h"
#include "core/half.h"
#include "core/launch.h"

namespace mlext {
namespace {

using py::detail::array_proxy;
using py::detail::npy_api;

PyTypeObject* g_array_type = nullptr;   // mlext._C.Array
PyTypeObject* g_tensor_type = nullptr;  // its registered subclass
PyObject* g_dtype_objects[kDTypes] = {};

// ---- NumPy's dtype numbers ----------------------------------------------------------------------------------------

bool dtype_of_number(int number, DType& out) {
  switch (number) {
    case npy_api::NPY_FLOAT_:
      out = DType::float32;
      return true;
    case npy_api::NPY_DOUBLE_:
      out = DType::float64;
      return true;
    case 23:
      out = DType::float16;
      return true;
    case npy_api::NPY_BOOL_:
      out = DType::bool_;
      return true;
    case npy_api::NPY_BYTE_:
      out = DType::int8;
      return true;
    case npy_api::NPY_UBYTE_:
      out = DType::uint8;
      return true;
    case npy_api::NPY_INT_:
      out = DType::int32;
      return true;
    case npy_api::NPY_LONG_:
      out = sizeof(long) == 8 ? DType::int64 : DType::int32;
      return true;
    case npy_api::NPY_LONGLONG_:
      out = DType::int64;
      return true;
    default:
      return false;
  }
}

// Descriptors are looked up once; NumPy is loaded by then because Python handed us an ndarray or asked for one.
PyObject* descriptor_of(DType dtype) {
  static PyObject* cache[kDTypes] = {};
  PyObject*& slot = cache[static_cast<int>(dtype)];
  if (slot == nullptr) {
    const char* name = dtype == DType::bool_ ? "bool" : dtype == DType::bfloat16 ? "float32" : dtype_name(dtype);
    slot = py::dtype(name).release().ptr();
  }
  return slot;
}

[[noreturn]] void refuse_dtype(PyObject* object, const char* op, const char* name) {
  const std::string got = py::str(py::handle(object).attr("dtype"));
  refuse<TypeError>(op, name, "dtype float32, float64, float16, int8, uint8, int32, int64 or bool", got);
}

void refuse_masked(PyObject* object, const char* op, const char* name) {
  if (std::string_view(Py_TYPE(object)->tp_name).find("MaskedArray") != std::string_view::npos) {
    throw TypeError(text(op, ": argument '", name, "': masked arrays are not supported; use .filled()"));
  }
}

void release_object(Buffer* buffer) {
  if (Py_IsInitialized()) {
    const PyGILState_STATE state = PyGILState_Ensure();
    Py_XDECREF(static_cast<PyObject*>(buffer->owner));
    PyGILState_Release(state);
  }
  delete buffer;
}

BufferRef foreign_buffer(PyObject* owner, void* data, std::size_t bytes, bool read_only) {
  auto* buffer = new Buffer;
  buffer->data = data;
  buffer->bytes = bytes;
  buffer->refs.store(1, std::memory_order_relaxed);
  buffer->owner = Py_NewRef(owner);
  buffer->release = release_object;
  buffer->read_only = read_only;
  return BufferRef(buffer);
}

// True when kernels can read the memory as it lies: native order, aligned, whole-element strides of 0 or more.
bool readable_in_place(const py::detail::PyArray_Proxy* a, index itemsize) {
  const index fraction = itemsize - 1;  // item sizes are powers of two
  const char order = reinterpret_cast<const py::detail::PyArrayDescr_Proxy*>(a->descr)->byteorder;
  if (order == '>' || !(a->flags & npy_api::NPY_ARRAY_ALIGNED_)) return false;
  for (int i = 0; i < a->nd; ++i) {
    if (a->dimensions[i] > 1 && (a->strides[i] < 0 || (a->strides[i] & fraction) != 0)) return false;
  }
  return true;
}

Array wrap(PyObject* object, DType dtype, bool keep) {
  const auto* a = array_proxy(object);
  Array out;
  out.dtype = dtype;
  out.data = a->data;
  const int shift = std::countr_zero(static_cast<unsigned>(item_size(dtype)));
  out.shape.rank = out.strides.rank = a->nd;
  for (int i = 0; i < a->nd; ++i) {
    out.shape[i] = a->dimensions[i];
    out.strides[i] = a->dimensions[i] > 1 ? a->strides[i] >> shift : 0;
  }
  if (keep) {
    const bool writable = a->flags & npy_api::NPY_ARRAY_WRITEABLE_;
    out.buffer = foreign_buffer(object, out.data, static_cast<std::size_t>(out.nbytes()), !writable);
  }
  return out;
}

}  // namespace

bool is_array(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  return type == g_tensor_type || type == g_array_type || PyType_IsSubtype(type, g_array_type);
}

bool is_ndarray(PyObject* object) { return npy_api::get().PyArray_Check_(object); }

PyObject* new_tensor(Array array) {
  PyObject* object = g_tensor_type->tp_alloc(g_tensor_type, 0);
  if (object != nullptr) new (&reinterpret_cast<ArrayObject*>(object)->array) Array(std::move(array));
  return object;
}

Array view_ndarray(PyObject* object, const char* op, const char* name, bool keep) {
  if (Py_TYPE(object) != npy_api::get().PyArray_Type_) refuse_masked(object, op, name);
  const auto* a = array_proxy(object);
  if (a->nd > kMaxRank) refuse(op, name, text("at most ", kMaxRank, " dimensions"), a->nd);
  DType dtype;
  const int number = reinterpret_cast<const py::detail::PyArrayDescr_Proxy*>(a->descr)->type_num;
  if (!dtype_of_number(number, dtype)) refuse_dtype(object, op, name);
  if (readable_in_place(a, item_size(dtype))) return wrap(object, dtype, keep);
  // One copy into native, aligned, row-major memory.
  py::handle source(object);
  const py::object copy =
      source.attr("astype")(py::handle(descriptor_of(dtype)), py::arg("order") = "C", py::arg("copy") = true);
  return wrap(copy.ptr(), dtype, true);
}

Array view_indices(PyObject* object, const char* op, const char* name) {
  const auto* a = array_proxy(object);
  const auto* descr = reinterpret_cast<const py::detail::PyArrayDescr_Proxy*>(a->descr);
  if (descr->kind != 'i' && descr->kind != 'u') {
    refuse<TypeError>(op, name, "an integer dtype", std::string(py::str(py::handle(object).attr("dtype"))));
  }
  DType dtype;
  if (dtype_of_number(descr->type_num, dtype)) return view_ndarray(object, op, name, false);
  py::handle source(object);
  const bool wide = descr->kind == 'u' && py::cast<int>(source.attr("itemsize")) == 8;
  if (wide && py::cast<index>(source.attr("size")) > 0 &&
      py::cast<std::uint64_t>(source.attr("max")()) > static_cast<std::uint64_t>(INT64_MAX)) {
    throw IndexError(text(op, ": argument '", name, "': expected indices below 2**63, got ",
                          std::string(py::str(source.attr("max")()))));
  }
  const py::object copy = source.attr("astype")(py::handle(descriptor_of(DType::int64)));
  return wrap(copy.ptr(), DType::int64, true);
}

PyObject* to_ndarray(const Array& array) {
  refuse_read_while_capturing("numpy()");
  if (array.dtype == DType::bfloat16) {
    Array wide = Array::empty(array.shape, DType::float32);
    Dims at;
    at.rank = array.rank();
    for (index i = 0, n = array.size(); i < n; ++i) {
      index from = 0;
      for (int d = 0; d < at.rank; ++d) from += at[d] * array.strides[d];
      wide.ptr<float>()[i] = to_float(array.ptr<bf16>()[from]);
      for (int d = at.rank - 1; d >= 0 && ++at[d] == array.shape[d]; --d) at[d] = 0;
    }
    return to_ndarray(wide);
  }
  PyObject* owner = new_tensor(array);
  if (owner == nullptr) return nullptr;
  const index itemsize = item_size(array.dtype);
  Py_ssize_t shape[kMaxRank], strides[kMaxRank];
  for (int i = 0; i < array.rank(); ++i) {
    shape[i] = array.shape[i];
    strides[i] = array.strides[i] * itemsize;
  }
  const auto& api = npy_api::get();
  const bool read_only = array.buffer && array.buffer->read_only;
  PyObject* result =
      api.PyArray_NewFromDescr_(api.PyArray_Type_, Py_NewRef(descriptor_of(array.dtype)), array.rank(), shape, strides,
                                array.data, read_only ? 0 : npy_api::NPY_ARRAY_WRITEABLE_, nullptr);
  if (result == nullptr) {
    Py_DECREF(owner);
    return nullptr;
  }
  if (array.buffer && !read_only) {
    array.buffer->writable_views.fetch_add(1, std::memory_order_acq_rel);
    reinterpret_cast<ArrayObject*>(owner)->lends = 1;
  }
  api.PyArray_SetBaseObject_(result, owner);  // steals the reference
  return result;
}

PyObject* dtype_object(DType dtype) {
  PyObject* object = g_dtype_objects[static_cast<int>(dtype)];
  return object != nullptr ? object : Py_None;  // none before register_types
}

DType parse_dtype(PyObject* object, const char* op, const char* name) {
  for (int i = 0; object != nullptr && i < kDTypes; ++i) {
    if (object == g_dtype_objects[i]) return static_cast<DType>(i);
  }
  if (object == nullptr) throw TypeError(text(op, ": missing argument '", name, "'"));
  if (PyUnicode_Check(object)) {
    const std::string wanted = py::cast<std::string>(py::handle(object));
    for (int i = 0; i < kDTypes; ++i) {
      if (wanted == kDTypeNames[i] || (wanted == "bool" && static_cast<DType>(i) == DType::bool_)) {
        return static_cast<DType>(i);
      }
    }
  } else if (PyType_Check(object) || py::isinstance<py::dtype>(py::handle(object))) {
    try {
      const py::dtype numpy_dtype = py::dtype::from_args(py::reinterpret_borrow<py::object>(object));
      DType dtype;
      if (dtype_of_number(numpy_dtype.num(), dtype)) return dtype;
    } catch (py::error_already_set&) {
      // Not something NumPy takes either: refused below.
    }
  }
  refuse<TypeError>(op, name, "a dtype: float32, float64, bfloat16, float16, int8, uint8, int32, int64 or bool",
                    std::string(py::repr(py::handle(object))));
}

// ---- the Python type ----------------------------------------------------------------------------------------------
namespace {

ArrayObject* self_of(PyObject* self) { return reinterpret_cast<ArrayObject*>(self); }

PyObject* array_new(PyTypeObject* type, PyObject* args, PyObject*) {
  // Array(source): another view of a Tensor's memory, or a copy of nothing: ndarrays go through mlext.tensor.
  try {
    PyObject* source = PyTuple_GET_SIZE(args) > 0 ? PyTuple_GET_ITEM(args, 0) : nullptr;
    Array array;
    if (source != nullptr && is_array(source)) {
      array = array_of(source);
    } else if (source != nullptr && is_ndarray(source)) {
      if (capturing() != nullptr) {
        throw RuntimeError(
            "compile: a NumPy array became a Tensor inside the compiled function; pass it as an argument or make the "
            "Tensor once outside");
      }
      array = view_ndarray(source, "Tensor", "data", true);
    } else {
      throw TypeError(text("Tensor: argument 'data': expected a Tensor or ndarray, got ",
                           source == nullptr ? "nothing" : Py_TYPE(source)->tp_name,
                           "; mlext.tensor() takes numbers and nested lists too"));
    }
    PyObject* object = type->tp_alloc(type, 0);
    if (object != nullptr) new (&self_of(object)->array) Array(std::move(array));
    return object;
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const ValueError& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return nullptr;
}

int array_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(self_of(self)->grad);
  Py_VISIT(self_of(self)->node);
  Py_VISIT(self_of(self)->hooks);
  Py_VISIT(Py_TYPE(self));
  return 0;
}

int array_clear(PyObject* self) {
  Py_CLEAR(self_of(self)->grad);
  Py_CLEAR(self_of(self)->node);
  Py_CLEAR(self_of(self)->hooks);
  return 0;
}

void array_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  Py_TRASHCAN_BEGIN(self, array_dealloc) if (self_of(self)->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
  array_clear(self);
  if (self_of(self)->lends) {
    Buffer& buffer = *array_of(self).buffer.get();
    buffer.past_views.fetch_add(1, std::memory_order_release);
    buffer.writable_views.fetch_sub(1, std::memory_order_release);
  }
  self_of(self)->array.~Array();
  type->tp_free(self);
  Py_DECREF(type);
  Py_TRASHCAN_END
}

PyObject* dims_tuple(const Dims& dims) {
  PyObject* out = PyTuple_New(dims.rank);
  for (int i = 0; out != nullptr && i < dims.rank; ++i) PyTuple_SET_ITEM(out, i, PyLong_FromLongLong(dims[i]));
  return out;
}

PyObject* get_shape(PyObject* self, void*) { return dims_tuple(array_of(self).shape); }
PyObject* get_strides(PyObject* self, void*) { return dims_tuple(array_of(self).strides); }
PyObject* get_dtype(PyObject* self, void*) { return Py_NewRef(dtype_object(array_of(self).dtype)); }
PyObject* get_device(PyObject* self, void*) {
  return PyUnicode_FromString(array_of(self).device == Device::cpu ? "cpu" : "cuda");
}
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(array_of(self).rank()); }
PyObject* get_size(PyObject* self, void*) { return PyLong_FromLongLong(array_of(self).size()); }
PyObject* get_nbytes(PyObject* self, void*) { return PyLong_FromLongLong(array_of(self).nbytes()); }
PyObject* get_data_ptr(PyObject* self, void*) { return PyLong_FromVoidPtr(array_of(self).data); }
PyObject* get_version(PyObject* self, void*) {
  const Array& a = array_of(self);
  return PyLong_FromUnsignedLongLong(a.buffer ? a.buffer->version.load(std::memory_order_relaxed) : 0);
}

PyObject* array_numpy(PyObject* self, PyObject*) {
  try {
    return to_ndarray(array_of(self));
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
    return nullptr;
  }
}

PyObject* get_requires_grad(PyObject* self, void*) { return PyBool_FromLong(self_of(self)->requires_grad); }

int set_requires_grad(PyObject* self, PyObject* value, void*) {
  if (value == nullptr || !PyBool_Check(value)) {
    PyErr_SetString(PyExc_TypeError, "requires_grad: expected a bool");
    return -1;
  }
  const bool on = value == Py_True;
  if (on && !is_floating(array_of(self).dtype)) {
    PyErr_Format(PyExc_TypeError, "requires_grad: expected a floating dtype, got %s", dtype_name(array_of(self).dtype));
    return -1;
  }
  // A leaf that is frozen or thawed changes what a capture records; results of ops are new and nobody depends on them.
  if (on != self_of(self)->requires_grad && self_of(self)->node == nullptr) bump_epoch();
  self_of(self)->requires_grad = on;
  return 0;
}

PyGetSetDef kGetters[] = {
    {"shape", get_shape, nullptr, "Sizes, a tuple of ints.", nullptr},
    {"strides", get_strides, nullptr, "Steps between elements, in elements.", nullptr},
    {"dtype", get_dtype, nullptr, "Element type, such as mlext.float32.", nullptr},
    {"device", get_device, nullptr, "'cpu' or 'cuda'.", nullptr},
    {"ndim", get_ndim, nullptr, "Number of dimensions.", nullptr},
    {"size", get_size, nullptr, "Number of elements.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes that the elements take.", nullptr},
    {"data_ptr", get_data_ptr, nullptr, "Address of the first element.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad, "Whether backward() reaches this tensor.", nullptr},
    {"_version", get_version, nullptr, "In-place writes to the memory so far.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMemberDef kArrayMembers[] = {
    {"grad", T_OBJECT, offsetof(ArrayObject, grad), 0, "Gradient of the last backward(), or None."},
    {"_node", T_OBJECT, offsetof(ArrayObject, node), 0, "Entry in the tape, or None."},
    {"_hooks", T_OBJECT, offsetof(ArrayObject, hooks), 0, "Functions that a leaf's gradient passes, or None."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ArrayObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyMethodDef kArrayMethods[] = {
    {"numpy", array_numpy, METH_NOARGS, "numpy()\n--\n\nAn ndarray over the same memory (bfloat16: a float32 copy)."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot kArraySlots[] = {
    {Py_tp_new, reinterpret_cast<void*>(array_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(array_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(array_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(array_clear)},
    {Py_tp_getset, kGetters},
    {Py_tp_members, kArrayMembers},
    {Py_tp_methods, kArrayMethods},
    {Py_tp_doc,
     const_cast<char*>("A strided view of a buffer with the fields of the tape; mlext.Tensor adds the rest.")},
    {0, nullptr},
};

PyType_Spec kArraySpec = {"mlext._C.Array", sizeof(ArrayObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, kArraySlots};

}  // namespace

void bind_arrays(py::module_& m) {
  g_array_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&kArraySpec));
  if (g_array_type == nullptr) throw py::error_already_set();
  g_tensor_type = g_array_type;
  m.add_object("Array", py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(g_array_type)));
  m.def(
      "register_types",
      [](py::type tensor, py::list dtypes) {
        if (!PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(tensor.ptr()), g_array_type)) {
          throw py::type_error("register_types: expected a subclass of Array");
        }
        g_tensor_type = reinterpret_cast<PyTypeObject*>(tensor.release().ptr());
        for (int i = 0; i < kDTypes; ++i) g_dtype_objects[i] = py::object(dtypes[i]).release().ptr();
      },
      "register_types(tensor, dtypes): the class results are instances of, and one object per dtype, in order.");
  py::list names;
  for (const char* name : kDTypeNames) names.append(name);
  m.attr("dtype_names") = names;
  py::list sizes;
  for (const index size : kItemSizes) sizes.append(size);
  m.attr("dtype_sizes") = sizes;
}

}  // namespace mlext
