// Pooling over arrays: windows, checks, tasks.
#include "kernels/pool/pool.h"

#include <algorithm>

#include "core/array.h"
#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"

namespace mlext {

MLEXT_DISPATCH(PoolKernels, pool_kernels)

namespace {

// Elements read by one chunk of a parallel loop.
constexpr index kChunk = 1 << 15;
// Channels that a task of a gradient takes: several vectors, and a cache line of the narrowest type.
constexpr index kChannels = 64;

enum Slot { kSlotRows, kSlotCols };

index places(const char* op, const char* what, index in, const PoolAxis& axis, const PoolOptions& o) {
  if (axis.size < 1) refuse(op, o.adaptive ? "output_size" : "kernel_size", "positive sizes", axis.size);
  if (o.adaptive) return axis.size;
  if (axis.stride < 1) refuse(op, "stride", "positive sizes", axis.stride);
  if (axis.before < 0 || axis.after < 0)
    refuse(op, "padding", "sizes that are not negative", std::min(axis.before, axis.after));
  if (std::max(axis.before, axis.after) > axis.size / 2)
    refuse(op, "padding", text("at most half of the window of ", axis.size, " ", what),
           std::max(axis.before, axis.after));
  const index room = in + axis.before + axis.after - axis.size;
  if (room < 0)
    refuse(op, "kernel_size", text("at most ", room + axis.size, " ", what, ", those of the padded image"), axis.size);
  const index out = (room + (o.ceil_mode ? axis.stride - 1 : 0)) / axis.stride + 1;
  return o.ceil_mode && (out - 1) * axis.stride >= in + axis.before ? out - 1 : out;
}

// Fills workspace of this thread.
PoolWindows windows(const PoolAxis& axis, const PoolOptions& o, index in, index out, Slot slot) {
  index* begin = scratch<index>(slot, 3 * out);
  index *end = begin + out, *counts = end + out;
  for (index i = 0; i < out; ++i) {
    const index first = o.adaptive ? i * in / out : i * axis.stride - axis.before;
    const index last = o.adaptive ? ((i + 1) * in + out - 1) / out : first + axis.size;
    begin[i] = std::clamp<index>(first, 0, in);
    end[i] = std::clamp<index>(last, 0, in);
    counts[i] = o.counts_padding && !o.adaptive ? std::min(last, in + axis.after) - first : end[i] - begin[i];
  }
  return {in, out, begin, end, counts};
}

bool is_disjoint(const PoolWindows& w) {
  for (index i = 1; i < w.out; ++i) {
    if (w.begin[i] < w.end[i - 1]) return false;
  }
  return true;
}

Dims pooled_shape(const char* op, const Array& x, const PoolOptions& o) {
  require_floating(op, "x", x);
  if (x.rank() != 4) refuse(op, "x", "4 dimensions (N, H, W, C)", "shape ", x.shape);
  const Dims shape{x.shape[0], places(op, "rows", x.shape[1], o.rows, o), places(op, "columns", x.shape[2], o.cols, o),
                   x.shape[3]};
  if (x.shape[1] == 0 || x.shape[2] == 0) refuse(op, "x", "at least one row and column", "shape ", x.shape);
  return shape;
}

PoolArgs describe(const Dims& x, const Dims& y, const PoolOptions& o) {
  PoolArgs args{};
  args.rows = windows(o.rows, o, x[1], y[1], kSlotRows);
  args.cols = windows(o.cols, o, x[2], y[2], kSlotCols);
  args.channels = x[3];
  args.rectified = o.rectified;
  args.disjoint = is_disjoint(args.rows) && is_disjoint(args.cols);
  return args;
}

// Task after task is an image and some rows of y.
void run_forward(PoolFn fn, const PoolArgs& all, index images, index size) {
  const index row = all.cols.out * all.channels, image = all.rows.out * row * size;
  const index from = all.rows.in * all.cols.in * all.channels * size;
  const index read = std::max<index>(from / size / all.rows.out, 1);
  parallel_for(images * all.rows.out, kChunk / read + 1, [&](index begin, index end) {
    while (begin < end) {
      PoolArgs args = all;
      const index i = begin / all.rows.out;
      args.first = begin - i * all.rows.out;
      args.last = std::min(all.rows.out, args.first + end - begin);
      args.x = moved(all.x, i * from);
      args.out = moved(all.out, i * image);
      fn(args);
      begin += args.last - args.first;
    }
  });
}

// Task after task is an image and some channels.
void run_backward(PoolFn fn, const PoolArgs& all, index images, index size) {
  const index image = all.rows.out * all.cols.out * all.channels * size;
  const index from = all.rows.in * all.cols.in * all.channels * size;
  const index blocks = (all.channels + kChannels - 1) / kChannels;
  const index read = all.rows.in * all.cols.in * std::min(all.channels, kChannels);
  parallel_for(images * blocks, kChunk / std::max<index>(read, 1) + 1, [&](index begin, index end) {
    for (; begin < end; ++begin) {
      PoolArgs args = all;
      const index i = begin / blocks;
      args.first = (begin - i * blocks) * kChannels;
      args.last = std::min(all.channels, args.first + kChannels);
      args.x = moved(all.x, i * from);
      args.y = moved(all.y, i * image);
      args.g = moved(all.g, i * image);
      args.out = moved(all.out, i * from);
      fn(args);
    }
  });
}

Work work_of(const Array& x, const Array& y) {
  return {static_cast<double>(x.size()), static_cast<double>(x.nbytes() + y.nbytes())};
}

}  // namespace

Array pool(const char* op, PoolKind kind, const Array& x, const PoolOptions& options) {
  const Dims shape = pooled_shape(op, x, options);
  Array y = Array::empty(shape, x.dtype, x.device);
  if (y.size() == 0) return y;
  const Array images = dense(x);
  const PoolFn fn = pool_kernels(x.device).forward[static_cast<int>(kind)][static_cast<int>(x.dtype)];
  launch(op, work_of(images, y), {&images}, {&y},
         [fn, options, in = images.shape, shape, size = item_size(x.dtype), from = images.data, to = y.data] {
           PoolArgs args = describe(in, shape, options);
           args.x = from;
           args.out = to;
           run_forward(fn, args, shape[0], size);
         });
  return y;
}

Array pool_gradient(const char* op, PoolKind kind, const Array& g, const Array& x, const Array& y,
                    const PoolOptions& options) {
  const Dims shape = pooled_shape(op, x, options);
  require_same_dtype(op, "g", g, "x", x);
  require_shape(op, "g", g, shape, text(" for x of shape ", x.shape));
  require_same_dtype(op, "y", y, "x", x);
  require_shape(op, "y", y, shape, text(" for x of shape ", x.shape));
  Array out = Array::empty(x.shape, x.dtype, x.device);
  if (out.size() == 0) return out;
  const Array slopes = dense(g), images = dense(x), values = dense(y);
  const PoolFn fn = pool_kernels(x.device).backward[static_cast<int>(kind)][static_cast<int>(x.dtype)];
  launch(op, work_of(images, values), {&slopes, &images, &values}, {&out},
         [fn, options, in = images.shape, shape, size = item_size(x.dtype), g_at = slopes.data, x_at = images.data,
          y_at = values.data, to = out.data] {
           PoolArgs args = describe(in, shape, options);
           args.g = g_at;
           args.x = x_at;
           args.y = y_at;
           args.out = to;
           run_backward(fn, args, shape[0], size);
         });
  return out;
}

}  // namespace mlext
