// The door: how a C++ function over Arrays becomes a Python function.
//
//   door<&softmax>(m, "softmax", {"x", "axis"}, "Softmax along one axis.");
//
// Arguments are positional and converted by the kind of the C++ parameter:
//   const Array&   Tensor or ndarray; an ndarray is viewed for the length of the call
//   const Array*   the same, or None (null)
//   Kept           the same as const Array&, but the memory stays alive as long as the Array: for results that are views
//   Indices        an integer Tensor or ndarray of any width, as int64
//   Operand        an array or a number
//   Arrays         a list or tuple of arrays
//   Dims           an int or a sequence of ints
//   std::optional<Dims / index / double / DType>   the same, or None
//   index double bool DType std::string_view
// Results: Array, void, number, and pair / tuple / vector of them. Arrays come back as ndarrays when no argument was a
// Tensor, as Tensors otherwise. Errors name the function and the argument. pybind11's own dispatcher is not used here: it
// would cost more than a small kernel and its error texts name neither.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "bind/arrays.h"

namespace mlext {

struct Kept {
  Array array;
};
struct Indices {
  Array array;
};
struct Operand {
  const Array* array;  // null: a number
  double value;
  bool is_integer;
};
using Arrays = std::vector<const Array*>;

namespace detail {

inline constexpr int kMaxArguments = 20;

struct DoorInfo {
  PyMethodDef def;
  const char* name;
  const char* arguments[kMaxArguments];
  bool makes_tensor;  // results are Tensors although no argument is one
};

// One call in progress.
struct Call {
  const DoorInfo& info;
  bool any_tensor = false;
  bool any_ndarray = false;
};

[[noreturn]] void refuse_argument(const Call& call, int i, const char* expected, PyObject* got);
bool is_none(PyObject* object);
void read_array(Call& call, int i, PyObject* object, bool keep, Array& storage, const Array*& out);
index read_index(const Call& call, int i, PyObject* object);
double read_double(const Call& call, int i, PyObject* object);
bool read_bool(const Call& call, int i, PyObject* object);
std::string_view read_string(const Call& call, int i, PyObject* object);
Dims read_dims(const Call& call, int i, PyObject* object);
Operand read_operand(Call& call, int i, PyObject* object, Array& storage);

// Argument<T>: converts one Python object in its constructor and holds what the C++ parameter refers to.
template <class T>
struct Argument;

template <>
struct Argument<const Array&> {
  Array storage;
  const Array* array;
  Argument(Call& call, int i, PyObject* object) { read_array(call, i, object, false, storage, array); }
  const Array& get() const { return *array; }
};
template <>
struct Argument<const Array*> {
  Array storage;
  const Array* array = nullptr;
  Argument(Call& call, int i, PyObject* object) {
    if (!is_none(object)) read_array(call, i, object, false, storage, array);
  }
  const Array* get() const { return array; }
};
template <>
struct Argument<Kept> {
  Array storage;
  const Array* array;
  Argument(Call& call, int i, PyObject* object) { read_array(call, i, object, true, storage, array); }
  Kept get() const { return {*array}; }
};
template <>
struct Argument<Indices> {
  Indices indices;
  Argument(Call& call, int i, PyObject* object);
  const Indices& get() const { return indices; }
};
template <>
struct Argument<Operand> {
  Array storage;
  Operand operand;
  Argument(Call& call, int i, PyObject* object) : operand(read_operand(call, i, object, storage)) {}
  Operand get() const { return operand; }
};
template <>
struct Argument<const Arrays&> {
  std::vector<Array> storage;
  Arrays arrays;
  Argument(Call& call, int i, PyObject* object);
  const Arrays& get() const { return arrays; }
};

template <class>
inline constexpr bool kUnknownParameter = false;

template <class T>
T read_value(const Call& call, int i, PyObject* object) {
  if constexpr (std::is_same_v<T, index>)
    return read_index(call, i, object);
  else if constexpr (std::is_same_v<T, double>)
    return read_double(call, i, object);
  else if constexpr (std::is_same_v<T, bool>)
    return read_bool(call, i, object);
  else if constexpr (std::is_same_v<T, Dims>)
    return read_dims(call, i, object);
  else if constexpr (std::is_same_v<T, std::string_view>)
    return read_string(call, i, object);
  else if constexpr (std::is_same_v<T, DType>)
    return parse_dtype(object, call.info.name, call.info.arguments[i]);
  else
    static_assert(kUnknownParameter<T>, "no Argument<T> for this parameter type; see the list at the top");
}
template <class T>
struct Argument {
  T value;
  Argument(Call& call, int i, PyObject* object) : value(read_value<T>(call, i, object)) {}
  T get() const { return value; }
};
template <class T>
struct Argument<std::optional<T>> {
  std::optional<T> value;
  Argument(Call& call, int i, PyObject* object) {
    if (!is_none(object)) value = read_value<T>(call, i, object);
  }
  std::optional<T> get() const { return value; }
};

// Results to Python: new references, or null with an error set.
PyObject* give(const Call& call, Array&& array);
inline PyObject* give(const Call&, double value) { return PyFloat_FromDouble(value); }
inline PyObject* give(const Call&, index value) { return PyLong_FromLongLong(value); }
inline PyObject* give(const Call&, bool value) { return PyBool_FromLong(value); }
template <class... T>
PyObject* give(const Call& call, std::tuple<T...>&& values) {
  py::tuple out(sizeof...(T));
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((PyTuple_SET_ITEM(out.ptr(), I, give(call, std::move(std::get<I>(values))))), ...);
  }(std::index_sequence_for<T...>{});
  return PyErr_Occurred() ? nullptr : out.release().ptr();
}
template <class T>
PyObject* give(const Call& call, std::vector<T>&& values) {
  py::list out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    PyObject* item = give(call, std::move(values[i]));
    if (item == nullptr) return nullptr;
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), item);
  }
  return out.release().ptr();
}

// Turns the C++ exception in flight into a Python one.
PyObject* set_python_error() noexcept;
[[noreturn]] void refuse_count(const Call& call, int expected, Py_ssize_t got);

// The arguments of one call, converted left to right and in place: an Argument may point into itself.
template <std::size_t I, class T>
struct Slot {
  Argument<T> argument;
  Slot(Call& call, PyObject* object) : argument(call, I, object) {}
};
template <class Sequence, class... A>
struct Slots;
template <std::size_t... I, class... A>
struct Slots<std::index_sequence<I...>, A...> : Slot<I, A>... {
  Slots(Call& call, PyObject* const* args, Py_ssize_t count)
      : Slot<I, A>(call, static_cast<Py_ssize_t>(I) < count ? args[I] : nullptr)... {}
};

template <auto Fn>
struct Door;

template <class R, class... A, R (*Fn)(A...)>
struct Door<Fn> {
  static_assert(sizeof...(A) <= kMaxArguments);
  static inline DoorInfo info{};

  static PyObject* call(PyObject*, PyObject* const* args, Py_ssize_t count) {
    return run(args, count, std::index_sequence_for<A...>{});
  }

 private:
  template <std::size_t... I>
  static PyObject* run(PyObject* const* args, Py_ssize_t count, std::index_sequence<I...>) {
    try {
      Call call{info};
      if (count > static_cast<Py_ssize_t>(sizeof...(A))) refuse_count(call, sizeof...(A), count);
      Slots<std::index_sequence<I...>, A...> slots(call, args, count);
      if constexpr (std::is_void_v<R>) {
        Fn(static_cast<Slot<I, A>&>(slots).argument.get()...);
        Py_RETURN_NONE;
      } else {
        return give(call, Fn(static_cast<Slot<I, A>&>(slots).argument.get()...));
      }
    } catch (...) {
      return set_python_error();
    }
  }
};

void add_door(py::module_& m, DoorInfo& info, _PyCFunctionFast fn, const char* name,
              std::initializer_list<const char*> arguments, const char* doc, bool makes_tensor);

}  // namespace detail

template <auto Fn>
void door(py::module_& m, const char* name, std::initializer_list<const char*> arguments, const char* doc,
          bool makes_tensor = false) {
  detail::add_door(m, detail::Door<Fn>::info, &detail::Door<Fn>::call, name, arguments, doc, makes_tensor);
}

}  // namespace mlext
