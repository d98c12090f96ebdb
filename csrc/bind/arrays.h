// The Python side of Array, and the only place that looks inside NumPy arrays.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <structmember.h>  // needs Python.h, which pybind11 must include

#include "core/array.h"

namespace mlext {

namespace py = pybind11;

// mlext._C.Array: an Array and the four fields of the tape. Python subclasses it once (mlext.Tensor) and registers the
// subclass; results are instances of it. A hand-made type, so that making one costs an allocation and nothing else.
struct ArrayObject {
  PyObject_HEAD Array array;
  PyObject* grad;
  PyObject* node;
  PyObject* hooks;
  PyObject* weakrefs;
  char requires_grad;
  char lends;  // to a NumPy array that can write to the memory as long as this object lives
};

void bind_arrays(py::module_& m);

bool is_array(PyObject* object);
inline const Array& array_of(PyObject* object) { return reinterpret_cast<ArrayObject*>(object)->array; }
// A new Tensor around `array`. New reference, or null with a Python error set.
PyObject* new_tensor(Array array);

bool is_ndarray(PyObject* object);
// An Array over the ndarray's memory. With `keep` the array holds a reference to it, otherwise it borrows for one call.
// Misaligned, byte-swapped and negative-stride arrays are copied; dtypes we do not have raise TypeError naming op and name.
Array view_ndarray(PyObject* object, const char* op, const char* name, bool keep);
// The same for labels and indices: any integer dtype, converted to int64.
Array view_indices(PyObject* object, const char* op, const char* name);
// An ndarray over the array's memory (bfloat16: a float32 copy). New reference.
PyObject* to_ndarray(const Array& array);

// mlext.float32 ... : one Python object per dtype.
PyObject* dtype_object(DType dtype);
// Accepts mlext dtypes, numpy dtypes and types, and names.
DType parse_dtype(PyObject* object, const char* op, const char* name);

}  // namespace mlext
