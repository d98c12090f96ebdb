// The linear layer with weights of few bits: expanded to float32 a part at a time, and multiplied as such.
#include <algorithm>

#include "core/array.h"
#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/qgemm.h"
#include "kernels/gemm/rules.h"

namespace mlext {

MLEXT_DISPATCH_OF(qgemm, QgemmKernels, qgemm_kernels)

namespace {

using gemm_detail::ceil_div;

enum Slot { kSlotExpanded };

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
    auto* expanded = scratch<float>(kSlotExpanded, rows * width);
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
  const Work work{2 * gemm_detail::multiplications(g),
                  static_cast<double>(rows.nbytes() + weight.nbytes() + out.nbytes())};
  const Array* added = bias != nullptr ? &vector : nullptr;
  launch(kWeightOnly, work, {&rows, &weight, &scales, added}, {&out}, [g, few] { run_weight_only(g, few); });
  return out;
}

}  // namespace mlext
