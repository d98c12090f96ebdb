// Products of bytes over arrays: checked, padded to whole groups, and run as products of int32 elements (gemm.h).
#include "kernels/gemm/qgemm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/array.h"
#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/packs.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/run.h"
#include "kernels/shape/shape.h"

namespace mlext {

MLEXT_DISPATCH_OF(qgemm, QgemmKernels, qgemm_kernels)

namespace {

using gemm_detail::ceil_div;
using Sum = std::int32_t;

enum Slot { kSlotBytes, kSlotNan, kSlotSigns };

// Values to quantise below which the calling thread is done before others wake up.
constexpr index kQuantizeGrain = 1 << 15;

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

// The array, or a copy with zeros behind the end of an axis that is no whole number of groups.
Array with_whole_groups(const Array& x, int axis) {
  const index more = whole_groups(x.shape[axis]) - x.shape[axis];
  if (more == 0) return x;
  Dims before = x.shape, after = x.shape;
  for (int i = 0; i < x.rank(); ++i) before[i] = after[i] = 0;
  after[axis] = more;
  return pad(x, before, after, 0, PadMode::constant);
}

Work work_of(const GemmArgs& g, const Array& a, const Array& b, const Array& out) {
  const double m = static_cast<double>(g.m), n = static_cast<double>(g.n), k = static_cast<double>(g.k);
  return {2 * m * n * k, static_cast<double>(a.nbytes() + b.nbytes() + out.nbytes())};
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

// Rows of x as bytes, each `width` long and ending in zeros; nan[i] is set where row i has a NaN.
void quantize_rows(const QgemmKernels& kernels, const float* x, index rows, index n, index width, float inverse,
                   float zero, std::uint8_t* to, bool* nan) {
  parallel_for(rows, kQuantizeGrain / std::max<index>(n, 1) + 1, [&](index begin, index end) {
    for (index i = begin; i < end; ++i) {
      nan[i] = kernels.quantize(x + i * n, n, inverse, zero, to + i * width);
      std::fill(to + i * width + n, to + (i + 1) * width, std::uint8_t{0});
    }
  });
}

// The reciprocal of x_scale, which the kernel multiplies by.
float inverse_of(float scale) {
  if (!(scale > 0) || !std::isfinite(scale) || !std::isfinite(1 / scale))
    refuse(kLinear, "x_scale", "a positive number with a finite reciprocal", scale);
  return 1 / scale;
}

void run_linear(GemmArgs g, const float* x, index features, float inverse, float zero) {
  auto* bytes = scratch<std::uint8_t>(kSlotBytes, g.m * g.k);
  bool* nan = scratch<bool>(kSlotNan, g.m);
  quantize_rows(qgemm_kernels(g.device), x, g.m, features, g.k, inverse, zero, bytes, nan);
  g.a = bytes;
  run_bytes(g, nullptr);
  auto* c = static_cast<float*>(g.c);
  for (index i = 0; i < g.m; ++i) {
    if (nan[i]) std::fill(c + i * g.n, c + (i + 1) * g.n, std::numeric_limits<float>::quiet_NaN());
  }
}

// ---- weights of few bits, expanded to float32 a part at a time --------------------------------------------------------

constexpr const char* kWeightOnly = "weight_only_linear";

// Expanded rows of a weight at a time. Dot products of a few rows of x want them in L2; of many rows, which come from L3 for
// each time anew, more of the weight and whole panels.
struct Expanded {
  index bytes, unit;
};
constexpr Expanded kForDots{128 << 10, 4}, kForTiles{192 << 10, 48}, kForMany{2 << 20, 48};
constexpr index kManyRows = 32;

struct FewBits {
  const char* values;
  index row_bytes;
  bool four;
  const float* scale;
  index groups, group;
};

// `g` is the whole product, but for b.
void run_weight_only(const GemmArgs& g, const FewBits& w) {
  const QgemmKernels& kernels = qgemm_kernels(g.device);
  // 4 bits are expanded in whole blocks. Rows end in a gap, so that those of 1024 floats do not fall into few cache sets.
  const index width = ceil_div(g.k, kBlock) * kBlock + 16;
  const auto expand = w.four ? kernels.expand4 : kernels.expand8;
  const Expanded size = g.m <= gemm_detail::kDotRows ? kForDots : g.m < kManyRows ? kForTiles : kForMany;
  const index fit = size.bytes / (width * static_cast<index>(sizeof(float)));
  const index rows = std::max(fit / size.unit * size.unit, size.unit);
  const index parts = ceil_div(g.n, rows);
  const double work = 2.0 * static_cast<double>(g.m + 8) * static_cast<double>(g.n * g.k);
  parallel_for(parts, work < gemm_detail::kParallelFlops ? parts : 1, [&](index begin, index end) {
    auto* expanded = scratch<float>(kSlotBytes, rows * width);
    for (index part = begin; part < end; ++part) {
      poll_interrupt();
      const index o = part * rows;
      GemmArgs columns = g;
      columns.n = std::min(rows, g.n - o);
      for (index i = 0; i < columns.n; ++i)
        expand(w.values + (o + i) * w.row_bytes, g.k, w.group, w.scale + (o + i) * w.groups, expanded + i * width);
      columns.b = expanded;
      columns.b_row = 1;
      columns.b_col = width;
      columns.c = static_cast<float*>(g.c) + o;
      if (g.bias_n != nullptr) columns.bias_n = static_cast<const float*>(g.bias_n) + o;
      gemm(columns);
    }
  });
}

void check_weight(const Array& x, const Array& values, const Array& scale, index group) {
  const index features = x.shape[x.rank() - 1];
  if (values.dtype != DType::int8 && values.dtype != DType::uint8)
    refuse<TypeError>(kWeightOnly, "values", "dtype int8 (8 bits) or uint8 (4 bits)", dtype_name(values.dtype));
  const index columns = values.dtype == DType::int8 ? features : ceil_div(features, kBlock) * kBlock / 2;
  if (values.rank() != 2 || values.shape[1] != columns)
    refuse(kWeightOnly, "values", text("shape (out, ", columns, ") to match x of shape ", x.shape), values.shape);
  if (group < 1 || (group % kBlock != 0 && group < features))
    refuse(kWeightOnly, "group_size", text("a multiple of ", kBlock, ", or at least ", features), group);
  // Not ceil_div: a group may be as long as it likes.
  const index groups = features == 0 ? 0 : (features - 1) / group + 1;
  require_dtype(kWeightOnly, "scale", scale, DType::float32, "");
  require_shape(kWeightOnly, "scale", scale, {values.shape[0], groups}, "");
}

}  // namespace

index whole_groups(index k) {
  constexpr index kLargestGroup = 4;
  return ceil_div(k, kLargestGroup) * kLargestGroup;
}

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

Array quantized_linear(const Array& x, const Array& values, const Array& scale, const Array& offset,
                       const Array& x_scale, const Array& x_zero, Activation activation) {
  require_dtype(kLinear, "x", x, DType::float32, "");
  require_min_rank(kLinear, "x", x, 1);
  require_dtype(kLinear, "values", values, DType::int8, "");
  const index features = x.shape[x.rank() - 1];
  if (values.rank() != 2 || (values.shape[1] != features && values.shape[1] != whole_groups(features)))
    refuse(kLinear, "values", text("shape (out, ", features, ") to match x of shape ", x.shape), values.shape);
  for (const auto& [name, vector] : {std::pair{"scale", &scale}, std::pair{"offset", &offset}}) {
    require_dtype(kLinear, name, *vector, DType::float32, "");
    require_shape(kLinear, name, *vector, {values.shape[0]}, "");
  }
  require_dtype(kLinear, "x_scale", x_scale, DType::float32, "");
  require_dtype(kLinear, "x_zero", x_zero, DType::uint8, "");
  for (const auto& [name, one] : {std::pair{"x_scale", &x_scale}, std::pair{"x_zero", &x_zero}})
    if (one->size() != 1) refuse(kLinear, name, "one element", "shape ", one->shape);
  Array out = Array::empty(linear_shape(x, values), DType::float32, x.device);
  if (out.size() == 0) return out;
  const Array rows = dense(x), weight = with_whole_groups(values, 1), scales = dense(scale), offsets = dense(offset);
  GemmArgs g = describe(DType::uint8, out, out.size() / values.shape[0], weight, 1);
  g.a_row = g.k;
  g.scale_n = scales.ptr<float>();
  g.offset_n = offsets.ptr<float>();
  g.activation = activation;
  launch(kLinear, work_of(g, rows, weight, out), {&rows, &weight, &scales, &offsets, &x_scale, &x_zero}, {&out},
         [g, features, from = rows.ptr<float>(), step = x_scale.ptr<float>(), zero = x_zero.ptr<std::uint8_t>()] {
           run_linear(g, from, features, inverse_of(*step), *zero);
         });
  return out;
}

Array weight_only_linear(const Array& x, const Array& values, const Array& scale, const Array* bias, index group,
                         Activation activation) {
  require_dtype(kWeightOnly, "x", x, DType::float32, "");
  require_min_rank(kWeightOnly, "x", x, 1);
  check_weight(x, values, scale, group);
  if (bias != nullptr) {
    require_dtype(kWeightOnly, "bias", *bias, DType::float32, "");
    require_shape(kWeightOnly, "bias", *bias, {values.shape[0]}, "");
  }
  Array out = Array::empty(linear_shape(x, values), DType::float32, x.device);
  if (out.size() == 0) return out;
  const Array rows = dense(x), weight = dense(values), scales = dense(scale), vector = bias ? dense(*bias) : Array();
  GemmArgs g;
  g.device = out.device;
  g.m = out.size() / values.shape[0];
  g.n = g.c_row = values.shape[0];
  g.k = g.a_row = x.shape[x.rank() - 1];
  g.a = rows.data;
  g.c = out.data;
  g.bias_n = vector.data;
  g.activation = activation;
  const FewBits few{weight.ptr<char>(),  weight.shape[1], weight.dtype == DType::uint8,
                    scales.ptr<float>(), scales.shape[1], group};
  const Array* added = bias != nullptr ? &vector : nullptr;
  launch(kWeightOnly, work_of(g, rows, weight, out), {&rows, &weight, &scales, added}, {&out},
         [g, few] { run_weight_only(g, few); });
  return out;
}

}  // namespace mlext
