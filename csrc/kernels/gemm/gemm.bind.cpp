#include <pybind11/stl.h>

#include <optional>
#include <string_view>

#include "bind/activated.h"
#include "bind/door.h"
#include "bind/families.h"
#include "kernels/gemm/explain.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/qgemm.h"

namespace mlext {
namespace {

Activated linear_door(const Array& x, const Array& weight, const Array* bias,
                      std::optional<std::string_view> activation, std::optional<bool> want_pre, const Array* residual) {
  Activated result(want_pre);
  result.y = linear(x, weight, bias, residual, parse_activation("linear", activation), result.before());
  return result;
}

Array gemm_door(const Array& a, const Array& b, const Array* c, std::optional<double> alpha,
                std::optional<double> beta) {
  return gemm(a, b, c, alpha.value_or(1), beta.value_or(c != nullptr ? 1 : 0));
}

Array quantized_linear_door(const Array& x, const Array& values, const Array& scale, const Array& offset,
                            const Array& x_scale, const Array& x_zero, std::optional<std::string_view> activation,
                            const Array* out_scale, const Array* out_zero) {
  return quantized_linear(x, values, scale, offset, {&x_scale, &x_zero},
                          parse_activation("quantized_linear", activation), {out_scale, out_zero});
}

Array weight_only_linear_door(const Array& x, const Array& values, const Array& scale, const Array* bias, index group,
                              std::optional<std::string_view> activation) {
  return weight_only_linear(x, values, scale, bias, group, parse_activation("weight_only_linear", activation));
}

std::tuple<Array, Array> quantize_rows_door(const Array& x) {
  std::tuple<Array, Array> made;
  quantize_rows(x, std::get<0>(made), std::get<1>(made));
  return made;
}

py::dict explain_door(index m, index n, index k, const py::object& dtype, bool transpose_a, bool transpose_b,
                      index batch) {
  GemmArgs g;
  g.dtype = g.out_dtype = parse_dtype(dtype.ptr(), "explain_gemm", "dtype");
  const bool of_bytes = g.dtype == DType::int8 || g.dtype == DType::uint8;
  if (!is_floating(g.dtype) && !of_bytes)
    refuse<TypeError>("explain_gemm", "dtype", "a floating dtype, int8 or uint8", dtype_name(g.dtype));
  if (of_bytes && batch > 1) refuse("explain_gemm", "batch", "1 for a product of bytes", batch);
  if (of_bytes) g.out_dtype = DType::int32;
  g.m = m;
  g.n = n;
  g.k = k;
  g.a_row = transpose_a ? 1 : k;
  g.a_col = transpose_a ? m : 1;
  g.b_row = transpose_b ? 1 : n;
  g.b_col = transpose_b ? k : 1;
  g.c_row = n;
  if (batch > 1) {
    g.batch_rank = 1;
    g.batch[0] = batch;
  }
  const GemmExplanation e = explain_gemm(g);
  return py::dict(py::arg("kernel") = e.kernel, py::arg("transposed") = e.transposed,
                  py::arg("tile") = py::make_tuple(e.tile_rows, e.tile_cols), py::arg("block_k") = e.block_k,
                  py::arg("chunk_rows") = e.chunk_rows, py::arg("by_pairs") = e.by_pairs,
                  py::arg("packs_a") = e.packs_a, py::arg("packs_b") = e.packs_b, py::arg("keeps_b") = e.keeps_b,
                  py::arg("tasks") = e.tasks, py::arg("threads") = e.threads, py::arg("waste") = e.waste,
                  py::arg("reasons") = e.reasons, py::arg("dtype") = py::handle(dtype_object(g.dtype)));
}

}  // namespace

void bind_gemm(py::module_& m) {
  door<&matmul>(m, "matmul", {"a", "b"}, "Matrix product by NumPy's rules.");
  door<&linear_door>(m, "linear", {"x", "weight", "bias", "activation", "want_pre", "residual"},
                     "act(x W^T + b + residual); with want_pre also the value before act.");
  door<&linear_weight_gradient>(m, "linear_weight_gradient", {"g", "x"}, "g^T x over all rows.");
  door<&gemm_door>(m, "gemm", {"a", "b", "c", "alpha", "beta"}, "alpha a b + beta c; alpha and beta default to 1.");
  door<&byte_matmul>(m, "matmul_integer", {"a", "b"}, "Matrix product of bytes, summed in int32.");
  door<&quantize_rows_door>(m, "quantize_rows", {"x"}, "(values, scale) of rows in bytes.");
  door<&quantized_linear_door>(
      m, "quantized_linear",
      {"x", "values", "scale", "offset", "x_scale", "x_zero", "activation", "out_scale", "out_zero"},
      "act(scale * q(x) values^T + offset) with q(x) in bytes.");
  door<&weight_only_linear_door>(m, "weight_only_linear", {"x", "values", "scale", "bias", "group_size", "activation"},
                                 "act(x W^T + b) with the weights of W in 8 or 4 bits.");
  m.def("explain_gemm", &explain_door, py::arg("m"), py::arg("n"), py::arg("k"), py::arg("dtype"),
        py::arg("transpose_a"), py::arg("transpose_b"), py::arg("batch"),
        "How a product of this shape would be computed, and why.");
}

}  // namespace mlext
