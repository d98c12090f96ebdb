#include "kernels/vecmath/vecmath.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "bind/families.h"
#include "core/dtype.h"
#include "core/error.h"

namespace mlext {
namespace {

namespace py = pybind11;

// Test buffers are NumPy arrays, which have no bfloat16: uint16 stands for its bits.
DType dtype_of(const py::array& array, const char* name) {
  const std::string given = py::str(array.dtype());
  if (given == "uint16") return DType::bfloat16;
  if (given == "bool") return DType::bool_;
  for (int i = 0; i < kDTypes; ++i) {
    if (given == text(static_cast<DType>(i))) return static_cast<DType>(i);
  }
  refuse<TypeError>("_simd", name, "a numeric array", given);
}

const void* operand(const std::optional<py::array>& array, const char* name, DType dtype, py::ssize_t n) {
  if (!array) return nullptr;
  if (array->ndim() != 1 || array->size() != n || !(array->flags() & py::array::c_style)) {
    refuse("_simd", name, text("a contiguous vector of ", n, " elements"), "something else");
  }
  if (dtype_of(*array, name) != dtype) refuse<TypeError>("_simd", name, text(dtype), dtype_of(*array, name));
  return array->data();
}

void simd(const std::string& level, const std::string& op, py::array out, const py::array& a,
          const std::optional<py::array>& b, const std::optional<py::array>& c) {
  const DType in = dtype_of(a, "a"), out_dtype = dtype_of(out, "out");
  const py::ssize_t n = out.ndim() == 1 ? out.size() : 0;
  operand(out, "out", out_dtype, n);
  const void* data[3] = {operand(a, "a", in, n), operand(b, "b", in, n), operand(c, "c", in, n)};
  vecmath_run(level.c_str(), op.c_str(), in, out_dtype, data[0], data[1], data[2], out.mutable_data(), n);
}

}  // namespace

void bind_vecmath(py::module_& m) {
  m.def("_simd", &simd, py::arg("level"), py::arg("op"), py::arg("out"), py::arg("a"), py::arg("b") = py::none(),
        py::arg("c") = py::none(),
        "For tests: one csrc/simd operation of one ISA level, out[i] = op(a[i], b[i], c[i]).");
}

}  // namespace mlext
