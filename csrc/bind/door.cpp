#include "bind/door.h"

#include <cmath>
#include <limits>
#include <new>

#include "core/launch.h"

namespace mlext::detail {
namespace {

const char* type_name(PyObject* object) { return object == nullptr ? "nothing" : Py_TYPE(object)->tp_name; }

bool is_numpy_scalar(PyObject* object) {
  // Every NumPy scalar type lives in the module "numpy"; ndarrays were handled before.
  const char* name = Py_TYPE(object)->tp_name;
  return std::string_view(name).substr(0, 6) == "numpy." && PyNumber_Check(object);
}

}  // namespace

void refuse_argument(const Call& call, int i, const char* expected, PyObject* got) {
  if (got == nullptr) throw TypeError(text(call.info.name, ": missing argument '", call.info.arguments[i], "'"));
  throw TypeError(
      text(call.info.name, ": argument '", call.info.arguments[i], "': expected ", expected, ", got ", type_name(got)));
}

void refuse_count(const Call& call, int expected, Py_ssize_t got) {
  throw TypeError(text(call.info.name, ": expected at most ", expected, " arguments, got ", got));
}

bool is_none(PyObject* object) { return object == nullptr || object == Py_None; }

void read_array(Call& call, int i, PyObject* object, bool keep, Array& storage, const Array*& out) {
  if (object != nullptr && is_array(object)) {
    call.any_tensor = true;
    out = &array_of(object);
  } else if (object != nullptr && is_ndarray(object)) {
    call.any_ndarray = true;
    storage = view_ndarray(object, call.info.name, call.info.arguments[i], keep);
    out = &storage;
  } else {
    refuse_argument(call, i, "a Tensor or ndarray", object);
  }
}

index read_index(const Call& call, int i, PyObject* object) {
  if (object == nullptr || PyBool_Check(object) || !PyIndex_Check(object)) refuse_argument(call, i, "an int", object);
  const Py_ssize_t value = PyNumber_AsSsize_t(object, PyExc_OverflowError);
  if (value == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    throw ValueError(text(call.info.name, ": argument '", call.info.arguments[i], "': expected an int below 2**63"));
  }
  return value;
}

double read_double(const Call& call, int i, PyObject* object) {
  if (object == nullptr || !(PyFloat_Check(object) || PyLong_Check(object) || is_numpy_scalar(object))) {
    refuse_argument(call, i, "a number", object);
  }
  const double value = PyFloat_AsDouble(object);
  if (value == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    refuse_argument(call, i, "a real number", object);
  }
  return value;
}

bool read_bool(const Call& call, int i, PyObject* object) {
  if (object == nullptr || !PyBool_Check(object)) refuse_argument(call, i, "a bool", object);
  return object == Py_True;
}

std::string_view read_string(const Call& call, int i, PyObject* object) {
  if (object == nullptr || !PyUnicode_Check(object)) refuse_argument(call, i, "a str", object);
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(object, &size);
  if (data == nullptr) {
    PyErr_Clear();
    refuse_argument(call, i, "a str that UTF-8 can encode", object);
  }
  return {data, static_cast<std::size_t>(size)};
}

Dims read_dims(const Call& call, int i, PyObject* object) {
  if (object != nullptr && PyIndex_Check(object) && !PyBool_Check(object) && !is_array(object)) {
    return {read_index(call, i, object)};
  }
  if (object == nullptr || !(PyTuple_Check(object) || PyList_Check(object))) {
    refuse_argument(call, i, "an int or a tuple of ints", object);
  }
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(object);
  if (count > kMaxRank) {
    throw ValueError(text(call.info.name, ": argument '", call.info.arguments[i], "': expected at most ", kMaxRank,
                          " dimensions, got ", count));
  }
  Dims dims;
  for (Py_ssize_t k = 0; k < count; ++k) dims.push(read_index(call, i, PySequence_Fast_GET_ITEM(object, k)));
  return dims;
}

Operand read_operand(Call& call, int i, PyObject* object, Array& storage) {
  if (object != nullptr && (PyFloat_CheckExact(object) || PyLong_CheckExact(object))) {
    return {nullptr, read_double(call, i, object), PyLong_CheckExact(object) != 0};
  }
  if (object != nullptr && !is_array(object) && !is_ndarray(object)) {
    if (PyBool_Check(object)) return {nullptr, object == Py_True ? 1.0 : 0.0, true};
    if (PyFloat_Check(object) || PyLong_Check(object) || is_numpy_scalar(object)) {
      return {nullptr, read_double(call, i, object), PyIndex_Check(object) != 0};
    }
    refuse_argument(call, i, "a Tensor, ndarray or number", object);
  }
  const Array* array = nullptr;
  read_array(call, i, object, false, storage, array);
  return {array, 0, false};
}

Argument<Indices>::Argument(Call& call, int i, PyObject* object) {
  if (object != nullptr && is_array(object)) {
    const Array& array = array_of(object);
    if (!is_integer(array.dtype)) {
      refuse<TypeError>(call.info.name, call.info.arguments[i], "an integer dtype", array.dtype);
    }
    call.any_tensor = true;
    indices.array = array;
  } else if (object != nullptr && is_ndarray(object)) {
    call.any_ndarray = true;
    indices.array = view_indices(object, call.info.name, call.info.arguments[i]);
  } else {
    refuse_argument(call, i, "an integer Tensor or ndarray", object);
  }
}

Argument<const Arrays&>::Argument(Call& call, int i, PyObject* object) {
  if (object == nullptr || !(PyTuple_Check(object) || PyList_Check(object))) {
    refuse_argument(call, i, "a list or tuple of Tensors or ndarrays", object);
  }
  const auto count = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(object));
  storage.resize(count);
  arrays.resize(count);
  for (std::size_t k = 0; k < count; ++k) {
    PyObject* item = PySequence_Fast_GET_ITEM(object, static_cast<Py_ssize_t>(k));
    if (is_none(item)) continue;  // absent: null
    read_array(call, i, item, false, storage[k], arrays[k]);
  }
}

PyObject* give(const Call& call, Array&& array) {
  if (call.any_tensor || call.info.makes_tensor || !call.any_ndarray) return new_tensor(std::move(array));
  return to_ndarray(array);
}

PyObject* set_python_error() noexcept {
  try {
    throw;
  } catch (const Interrupted&) {
    if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const ValueError& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const IndexError& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const MemoryError& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const FloatingPointError& e) {
    PyErr_SetString(PyExc_FloatingPointError, e.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(PyExc_MemoryError, "out of memory");
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return nullptr;
}

void add_door(py::module_& m, DoorInfo& info, _PyCFunctionFast fn, const char* name,
              std::initializer_list<const char*> arguments, const char* doc, bool makes_tensor) {
  // "name(a, b)\n--\n\ndoc" is what inspect.signature reads. Lives as long as the module: never freed.
  std::string signature = std::string(name) + "(";
  int count = 0;
  for (const char* argument : arguments) {
    signature += (count ? ", " : "") + std::string(argument);
    info.arguments[count++] = argument;
  }
  auto* full_doc = new std::string(signature + ")\n--\n\n" + doc);
  info.name = name;
  info.makes_tensor = makes_tensor;
  info.def = {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fn)), METH_FASTCALL, full_doc->c_str()};
  py::object module_name = m.attr("__name__");
  m.add_object(name, py::reinterpret_steal<py::object>(PyCFunction_NewEx(&info.def, nullptr, module_name.ptr())));
}

}  // namespace mlext::detail
