// Products of bytes over arrays: checked, padded to whole groups, and run as products of int32 elements (gemm.h).
#include "kernels/gemm/qgemm.h"

#include <algorithm>
#include <limits>

#include "core/array.h"
#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/packs.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/byte_layer.h"
#include "kernels/gemm/run.h"
#include "kernels/shape/shape.h"

namespace mlext {

MLEXT_DISPATCH_OF(qgemm, QgemmKernels, qgemm_kernels)

namespace {

using gemm_detail::ceil_div;
using Sum = std::int32_t;

enum Slot { kSlotRow, kSlotBytes, kSlotNan, kSlotSigns };

void run_bytes(const GemmArgs& g, const Sum* bias) {
  const GemmTypeKernels<Sum>& tiles = qgemm_kernels(g.device).tiles;
  gemm_detail::run(tiles, gemm_detail::in_groups(g, tiles.group), gemm_detail::Biases<Sum>{bias, nullptr});
}

// A signed A is packed as unsigned and 128 too large, which gives every column of C 128 times the sum of that column of B
// too much: the product of -128s and B is the bias that takes it back.
void run_signed(const GemmArgs& g) {
  auto* ones = scratch<std::uint8_t>(kSlotBytes, g.k);
  std::fill(ones, ones + g.k, std::uint8_t{1});
  Sum* sums = scratch<Sum>(kSlotSigns, g.n);
  GemmArgs columns = g;
  columns.dtype = DType::uint8;
  columns.m = 1;
  columns.a = ones;
  columns.a_row = 0;
  columns.a_col = 1;
  columns.c = sums;
  columns.alpha = -128;
  run_bytes(columns, nullptr);
  run_bytes(g, sums);
}

Work work_of(const GemmArgs& g, const Array& a, const Array& b, const Array& out) {
  return {2 * gemm_detail::multiplications(g), static_cast<double>(a.nbytes() + b.nbytes() + out.nbytes())};
}

// C = A B for a dense A and B, (k, n), at any strides.
GemmArgs describe(DType dtype, const Array& out, index m, const Array& b, index k_axis) {
  GemmArgs g;
  g.device = out.device;
  g.dtype = dtype;
  g.out_dtype = out.dtype;
  g.m = m;
  g.k = b.shape[static_cast<int>(k_axis)];
  g.n = b.shape[static_cast<int>(1 - k_axis)];
  g.b = b.data;
  g.b_row = b.strides[static_cast<int>(k_axis)];
  g.b_col = b.strides[static_cast<int>(1 - k_axis)];
  g.b_home = pack_home(b);
  g.c = out.data;
  g.c_row = g.n;
  return g;
}

constexpr const char* kLinear = "quantized_linear";

void run_linear(GemmArgs g, const float* x, index features, ByteStep step) {
  auto* bytes = scratch<std::uint8_t>(kSlotBytes, g.m * g.k);
  bool* nan = scratch<bool>(kSlotNan, g.m);
  const bool any_nan = quantize_all(g.device, x, {g.m, 1, features, g.k}, step, bytes, nan);
  g.a = bytes;
  if (g.out_dtype == DType::uint8 && any_nan)
    refuse(kLinear, "x", "no NaN where the result is bytes, which have none", "NaN");
  run_bytes(g, nullptr);
  auto* c = static_cast<float*>(g.c);
  for (index i = 0; i < g.m; ++i) {
    if (nan[i]) std::fill(c + i * g.n, c + (i + 1) * g.n, std::numeric_limits<float>::quiet_NaN());
  }
}

}  // namespace

index whole_groups(index k) {
  constexpr index kLargestGroup = 4;
  return ceil_div(k, kLargestGroup) * kLargestGroup;
}

Array with_whole_groups(const Array& x, int axis) {
  const index more = whole_groups(x.shape[axis]) - x.shape[axis];
  if (more == 0) return x;
  Dims before = x.shape, after = x.shape;
  for (int i = 0; i < x.rank(); ++i) before[i] = after[i] = 0;
  after[axis] = more;
  return pad(x, before, after, 0, PadMode::constant);
}

void byte_gemm(const GemmArgs& g) { run_bytes(g, nullptr); }

Array byte_matmul(const Array& a, const Array& b) {
  if (a.dtype != DType::uint8 && a.dtype != DType::int8)
    refuse<TypeError>("matmul_integer", "a", "dtype uint8 or int8", dtype_name(a.dtype));
  require_dtype("matmul_integer", "b", b, DType::int8, "");
  if (a.rank() != 2) refuse("matmul_integer", "a", "2 dimensions", "shape ", a.shape);
  if (b.rank() != 2 || b.shape[0] != a.shape[1])
    refuse("matmul_integer", "b", text("shape (", a.shape[1], ", n) to match a of shape ", a.shape), b.shape);
  Array out = Array::empty({a.shape[0], b.shape[1]}, DType::int32, a.device);
  if (out.size() == 0) return out;
  const Array left = with_whole_groups(a, 1), right = with_whole_groups(b, 0);
  GemmArgs g = describe(a.dtype, out, a.shape[0], right, 0);
  g.a = left.data;
  g.a_row = left.strides[0];
  g.a_col = left.strides[1];
  launch("matmul_integer", work_of(g, left, right, out), {&left, &right}, {&out},
         [g] { g.dtype == DType::int8 ? run_signed(g) : run_bytes(g, nullptr); });
  return out;
}

Array quantized_linear(const Array& x, const Array& values, const Array& scale, const Array& offset, ByteScale x_bytes,
                       Activation activation, ByteScale out_bytes) {
  const bool reads_bytes = x.dtype == DType::uint8, writes_bytes = out_bytes.scale != nullptr;
  require_min_rank(kLinear, "x", x, 1);
  require_dtype(kLinear, "values", values, DType::int8, "");
  const index features = x.shape[x.rank() - 1];
  if (values.rank() != 2 || (values.shape[1] != features && values.shape[1] != whole_groups(features)))
    refuse(kLinear, "values", text("shape (out, ", features, ") to match x of shape ", x.shape), values.shape);
  check_byte_layer(kLinear, x, values.shape[0], scale, offset, x_bytes, out_bytes);
  Array out = Array::empty(linear_shape(x, values), writes_bytes ? DType::uint8 : DType::float32, x.device);
  if (out.size() == 0) return out;
  const index m = out.size() / values.shape[0];
  const Array weight = with_whole_groups(values, 1), scales = dense(scale), offsets = dense(offset);
  const Array rows = reads_bytes ? dense(with_whole_groups(reshape(x, {m, features}), 1)) : dense(x);
  GemmArgs g = describe(DType::uint8, out, m, weight, 1);
  g.a_row = g.k;
  g.scale_n = scales.ptr<float>();
  g.offset_n = offsets.ptr<float>();
  g.activation = activation;
  launch(kLinear, work_of(g, rows, weight, out),
         {&rows, &weight, &scales, &offsets, x_bytes.scale, x_bytes.zero, out_bytes.scale, out_bytes.zero}, {&out},
         [g, features, reads_bytes, from = rows.data, x_at = StepAt(kLinear, "x_scale", x_bytes),
          out_at = StepAt(kLinear, "out_scale", out_bytes)] {
           GemmArgs args = g;
           args.a = from;
           if (out_at.scale != nullptr) args.out_step = out_at.read();
           if (reads_bytes) return run_bytes(args, nullptr);
           run_linear(args, static_cast<const float*>(from), features, x_at.read());
         });
  return out;
}

}  // namespace mlext
