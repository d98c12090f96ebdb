#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/stage.h"

namespace mlext {

MLEXT_DISPATCH(ReduceKernels, reduce_kernels)

namespace {

// Elements per chunk of a parallel loop, as in elementwise.
constexpr index kChunk = 16384;
// A long reduction is cut into segments of this many elements, whose results are reduced again: one output then has
// work for several threads. A power of two, so that the segments' trees fit together to the tree of the whole.
constexpr index kSegment = 65536;
// For columns it is more, because partial results are written for every column.
constexpr index kColumnSegment = 262144;
// Columns per task: 16 rows of 1024 floats and the first levels of the cascade stay in L2.
constexpr index kTile = 1024;
// scratch slots: partial results of the whole call, work of one task.
constexpr int kPartials = 0, kWork = 1;

bool is_wide(ReduceOp op) { return op >= ReduceOp::wide_sum; }

DType accumulator(ReduceOp op, DType dtype) {
  if (is_wide(op)) return DType::float64;
  if (op == ReduceOp::max || op == ReduceOp::min) return is_half(dtype) ? DType::float32 : dtype;
  return accumulate_dtype(dtype);
}

// What joins partial results.
ReduceOp joining(ReduceOp op) {
  return op == ReduceOp::prod || op == ReduceOp::max || op == ReduceOp::min ? op : ReduceOp::sum;
}

// One accumulator per result and level, rows padded to whole vectors (at most 16 lanes).
index column_work_items(index outputs, index n) {
  const auto blocks = static_cast<std::uint64_t>((n + kColumnBlock - 1) / kColumnBlock);
  return (outputs + 15) / 16 * 16 * std::max<index>(1, std::bit_width(blocks));
}

// Everything one launch needs, by value.
struct Stage {
  Plan plan;
  ReduceFn fn, join;
  FinishFn finish;  // null: the accumulator is the result
  const char* x;
  char* out;
  index x_size, acc_size, out_size;
  const double* center;
  double divisor;
  bool root;

  void operator()() const;
  void reduce_all(char* acc, index segments, index length) const;
  void join_segments(const char* partials, index segments, char* to) const;
  void finish_all(const char* acc) const;
  index outputs() const { return plan.outer() * plan.inner(); }
  void* work(index columns, index n) const {
    return scratch(kWork, static_cast<std::size_t>(column_work_items(columns, n) * acc_size));
  }
};

// Tasks are (segment, row of the outer kept axes, tile of the innermost kept axis).
void Stage::reduce_all(char* acc, index segments, index length) const {
  const index inner = plan.inner(), outer = plan.outer();
  const index tile = std::min(inner, plan.columns ? kTile : std::max<index>(1, kChunk / length));
  const index tiles = (inner + tile - 1) / tile;
  const index grain = std::max<index>(1, kChunk / (tile * length));
  parallel_for(segments * outer * tiles, grain, [&](index begin, index end) {
    for (index task = begin; task < end; ++task) {
      const index t = task % tiles * tile, o = task / tiles % outer, s = task / tiles / outer;
      const index to = o * inner + t;
      ReduceArgs args{};
      args.x = x + (plan.offset(o) + t * plan.inner_stride() + s * length * plan.step) * x_size;
      args.outputs = std::min(tile, inner - t);
      args.n = std::min(length, plan.n - s * length);
      args.step = plan.columns ? plan.step : plan.inner_stride();
      args.center = center == nullptr ? nullptr : center + to;
      args.out = acc + (s * outer * inner + to) * acc_size;
      if (plan.columns) args.work = work(args.outputs, args.n);
      fn(args);
    }
  });
}

void Stage::join_segments(const char* partials, index segments, char* to) const {
  const index n = outputs(), tiles = (n + kTile - 1) / kTile;
  parallel_for(tiles, std::max<index>(1, kChunk / (segments * kTile)), [&](index begin, index end) {
    for (index at = begin * kTile; at < std::min(n, end * kTile); at += kTile) {
      ReduceArgs args{};
      args.x = partials + at * acc_size;
      args.outputs = std::min(kTile, n - at);
      args.n = segments;
      args.step = n;
      args.out = to + at * acc_size;
      args.work = work(args.outputs, segments);
      join(args);
    }
  });
}

void Stage::finish_all(const char* acc) const {
  parallel_for(outputs(), kChunk, [&](index begin, index end) {
    finish({acc + begin * acc_size, out + begin * out_size, end - begin, divisor, root});
  });
}

void Stage::operator()() const {
  // Segments depend on the shape alone and are whole blocks of rows.
  const index wanted = plan.columns ? kColumnSegment / std::min(kTile, plan.inner()) : kSegment;
  const index length = plan.n >= 2 * wanted ? wanted / kColumnBlock * kColumnBlock : plan.n;
  const index segments = (plan.n + length - 1) / length;
  const index parts = (segments > 1 ? segments : 0) + (finish != nullptr ? 1 : 0);
  char* acc = out;
  if (parts > 0) acc = static_cast<char*>(scratch(kPartials, static_cast<std::size_t>(parts * outputs() * acc_size)));
  if (segments == 1) {
    reduce_all(acc, 1, length);
  } else {
    char* partials = finish != nullptr ? acc + outputs() * acc_size : acc;
    reduce_all(partials, segments, length);
    join_segments(partials, segments, finish != nullptr ? acc : out);
  }
  if (finish != nullptr) finish_all(acc);
}

void run_stage(const char* name, ReduceOp op, const Array& x, const Plan& plan, const Array* center, const Array& out,
               Ending ending) {
  const auto& kernels = reduce_kernels(x.device);
  const DType acc = accumulator(op, x.dtype);
  const int row = static_cast<int>(op), type = static_cast<int>(x.dtype);
  Stage stage{};
  stage.plan = plan;
  stage.fn = plan.columns ? kernels.columns[row][type] : kernels.rows[row][type];
  stage.join = kernels.columns[static_cast<int>(joining(op))][static_cast<int>(acc)];
  if (out.dtype != acc || ending.divisor != 1 || ending.root) {
    stage.finish = kernels.finish[acc == DType::float64][static_cast<int>(out.dtype)];
  }
  stage.x = x.ptr<char>();
  stage.out = out.ptr<char>();
  stage.x_size = item_size(x.dtype);
  stage.acc_size = item_size(acc);
  stage.out_size = item_size(out.dtype);
  stage.center = center == nullptr ? nullptr : center->ptr<double>();
  stage.divisor = ending.divisor;
  stage.root = ending.root;
  const double elements = static_cast<double>(stage.outputs() * plan.n);
  launch(name, Work{elements, elements * static_cast<double>(stage.x_size)}, {&x, center}, {&out}, stage);
}

bool rounds(ReduceOp op, DType dtype) { return is_floating(dtype) && op != ReduceOp::max && op != ReduceOp::min; }

// Kept axes first, then the reduced ones, row-major: reduced rows are contiguous.
Array reduced_last(const Array& x, Geometry& g) {
  Dims shape, strides;
  bool is_reduced[kMaxRank] = {};
  for (int i = 0; i < g.kept + g.reduced; ++i) {
    const Axis axis = i < g.kept ? g.kept_axis[i] : g.reduced_axis[i - g.kept];
    is_reduced[i] = i >= g.kept;
    shape.push(axis.size);
    strides.push(axis.stride);
  }
  const Array out = dense(x.view(shape, strides));
  g = Geometry(out, is_reduced);
  return out;
}

}  // namespace

void reduce_into(const char* name, ReduceOp op, Array x, const ReducedAxes& axes, const Array* center, const Array& out,
                 Ending ending) {
  if (out.size() == 0) return;
  // The order of a rounded sum follows from the strides; equal values must give equal bits in any layout.
  if (rounds(op, x.dtype)) x = dense(x);
  Geometry g(x, axes.reduced);
  if (center != nullptr && g.reduced > 1) x = reduced_last(x, g);  // one center per row
  for (;;) {
    const bool last = g.reduced == 1;
    Plan plan;
    if (!take_axis(g, plan)) {
      x = reduced_last(x, g);
      continue;
    }
    if (last) return run_stage(name, op, x, plan, center, out, ending);
    const Array partial = Array::empty({plan.outer(), plan.inner()}, accumulator(op, x.dtype));
    run_stage(name, op, x, plan, nullptr, partial, {});
    x = partial;
    op = joining(op);
  }
}

void require_elements(const char* op, const Array& x, const ReducedAxes& axes) {
  for (int i = 0; i < x.rank(); ++i) {
    if (axes.reduced[i] && x.shape[i] == 0) {
      refuse(op, "x", text("at least one element along axis ", i), "shape ", x.shape);
    }
  }
}

void require_float(const char* op, const Array& x) {
  if (!is_floating(x.dtype)) refuse<TypeError>(op, "x", "a floating dtype", x.dtype, "; convert it with .astype()");
}

Array filled(double value, const Dims& shape, DType dtype) {
  Array out = Array::empty(shape, dtype);
  fill_into(value, out);
  return out;
}

Array reduce(const char* name, ReduceOp op, const Array& x, const Dims* axes, bool keepdims) {
  const ReducedAxes checked = check_axes(name, x, axes, keepdims);
  const bool extreme = op == ReduceOp::max || op == ReduceOp::min;
  if (op == ReduceOp::sumsq) require_float(name, x);
  if (extreme) require_elements(name, x, checked);
  const DType dtype = extreme || is_floating(x.dtype) ? x.dtype : DType::int64;
  if (checked.count == 0) return filled(op == ReduceOp::prod ? 1 : 0, checked.shape, dtype);
  Array out = Array::empty(checked.shape, dtype);
  reduce_into(name, op, x, checked, nullptr, out, {});
  return out;
}

Array sum(const Array& x, const Dims* axes, bool keepdims) { return reduce("sum", ReduceOp::sum, x, axes, keepdims); }

Array mean(const Array& x, const Dims* axes, bool keepdims) {
  require_float("mean", x);
  const ReducedAxes checked = check_axes("mean", x, axes, keepdims);
  if (checked.count == 0) return filled(NAN, checked.shape, x.dtype);
  Array out = Array::empty(checked.shape, x.dtype);
  reduce_into("mean", ReduceOp::sum, x, checked, nullptr, out, {static_cast<double>(checked.count), false});
  return out;
}

}  // namespace mlext
