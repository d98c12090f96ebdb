// Results that know where they are: argmax and argmin, running sums.
#include <algorithm>

#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/positions.h"
#include "kernels/reduce/stage.h"

namespace mlext {

MLEXT_DISPATCH(PositionKernels, position_kernels)

namespace {

constexpr index kChunk = 16384;

struct ArgStage {
  Plan plan;
  ReduceFn fn;
  const char* x;
  index x_size;
  index* out;

  void operator()() const {
    const index inner = plan.inner(), outer = plan.outer();
    const index tile = std::min(inner, plan.columns ? kArgColumns : std::max<index>(1, kChunk / plan.n));
    const index tiles = (inner + tile - 1) / tile;
    parallel_for(outer * tiles, std::max<index>(1, kChunk / (tile * plan.n)), [&](index begin, index end) {
      for (index task = begin; task < end; ++task) {
        const index t = task % tiles * tile, o = task / tiles;
        ReduceArgs args{};
        args.x = x + (plan.offset(o) + t * plan.inner_stride()) * x_size;
        args.outputs = std::min(tile, inner - t);
        args.n = plan.n;
        args.step = plan.columns ? plan.step : plan.inner_stride();
        args.out = out + o * inner + t;
        fn(args);
      }
    });
  }
};

}  // namespace

Array arg_extreme(const char* name, bool minimum, const Array& input, const index* axis, bool keepdims) {
  Array x = is_half(input.dtype) ? cast(input, DType::float32) : input;
  Dims axes;
  if (axis != nullptr) axes.push(*axis);
  const ReducedAxes checked = check_axes(name, x, axis == nullptr ? nullptr : &axes, keepdims);
  require_elements(name, x, checked);
  Array out = Array::empty(checked.shape, DType::int64);
  if (out.size() == 0) return out;
  // Positions count in the order of the axes, which a merge of reduced axes may change: flattened arrays are made dense.
  if (axis == nullptr) x = dense(x);
  Geometry g(x, checked.reduced);
  ArgStage stage{};
  if (!take_axis(g, stage.plan)) {
    // The axis last, in a copy.
    Dims shape, strides;
    bool is_reduced[kMaxRank] = {};
    for (int pass = 0; pass < 2; ++pass) {
      for (int i = 0; i < x.rank(); ++i) {
        if (checked.reduced[i] != (pass == 1)) continue;
        is_reduced[shape.rank] = pass == 1;
        shape.push(x.shape[i]);
        strides.push(x.strides[i]);
      }
    }
    x = dense(x.view(shape, strides));
    g = Geometry(x, is_reduced);
    take_axis(g, stage.plan);
  }
  const auto& kernels = position_kernels(x.device);
  const int type = static_cast<int>(x.dtype);
  stage.fn = stage.plan.columns ? kernels.arg_columns[minimum][type] : kernels.arg_rows[minimum][type];
  stage.x = x.ptr<char>();
  stage.x_size = item_size(x.dtype);
  stage.out = out.ptr<index>();
  launch(name, Work{static_cast<double>(x.size()), static_cast<double>(x.nbytes())}, {&x}, {&out}, stage);
  return out;
}

Array cumsum(const Array& input, index axis_argument, bool reverse) {
  const int axis = check_axis("cumsum", axis_argument, input.rank());
  if (is_half(input.dtype)) return cast(cumsum(cast(input, DType::float32), axis, reverse), input.dtype);
  const Array x = dense(input);
  Array out = Array::empty(x.shape, is_floating(x.dtype) ? x.dtype : DType::int64);
  if (out.size() == 0) return out;
  index inner = 1;
  for (int i = axis + 1; i < x.rank(); ++i) inner *= x.shape[i];
  const index n = x.shape[axis], outer = x.size() / (n * inner);
  const ScanFn fn = position_kernels(x.device).scan[static_cast<int>(x.dtype)];
  launch("cumsum", Work{static_cast<double>(x.size()), static_cast<double>(x.nbytes() + out.nbytes())}, {&x}, {&out},
         [fn, inner, n, outer, reverse, from = x.ptr<char>(), to = out.ptr<char>(), x_size = item_size(x.dtype),
          out_size = item_size(out.dtype)] {
           const index tiles = (inner + kScanColumns - 1) / kScanColumns;
           const index grain = std::max<index>(1, kChunk / (n * std::min(inner, kScanColumns)));
           parallel_for(outer * tiles, grain, [&](index begin, index end) {
             for (index task = begin; task < end; ++task) {
               const index c = task % tiles * kScanColumns, first = reverse ? (n - 1) * inner : 0;
               const index at = task / tiles * n * inner + first + c;
               fn({from + at * x_size, to + at * out_size, n, std::min(kScanColumns, inner - c),
                   reverse ? -inner : inner});
             }
           });
         });
  return out;
}

}  // namespace mlext
