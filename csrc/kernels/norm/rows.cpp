// Rows: layer norm and RMS norm.
#include <algorithm>

#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/vectors.h"

namespace mlext {

MLEXT_DISPATCH(NormKernels, norm_kernels)

namespace {

// Elements of one chunk of a parallel loop.
constexpr index kRowsChunk = 1 << 14;
// Rows whose gradients of weight and bias add up in one place, before those places add up in float64.
constexpr index kLeastTogether = 8, kMostTogether = 256;

// Columns whose blocks add up together: sums of one column wait for each other.
constexpr index kStrip = 32;

// to[c] = the sum over the blocks of from[i * step + c], for c < width.
template <class C>
void add_blocks(const C* from, index blocks, index step, index width, C* to) {
  double sums[kStrip] = {};
  for (index i = 0; i < blocks; ++i, from += step) {
    for (index c = 0; c < width; ++c) sums[c] += static_cast<double>(from[c]);
  }
  for (index c = 0; c < width; ++c) to[c] = static_cast<C>(sums[c]);
}

enum RowsSlot { kSlotAbsent, kSlotPartial };

struct RowsRun {
  const NormKernels* kernels;
  DType dtype;
  NormRowsArgs args;  // of all rows

  index size() const { return item_size(dtype); }
  bool adds() const { return args.residual != nullptr; }
  NormRowsArgs part(index begin, index end) const {
    NormRowsArgs part = args;
    const index at = begin * args.n * size(), statistic = begin * item_size(accumulate_dtype(dtype));
    part.x = moved(args.x, at);
    part.g = moved(args.g, at);
    part.residual = moved(args.residual, at);
    part.out = moved(args.out, at);
    part.sum = moved(args.sum, at);
    part.mean = moved(args.mean, statistic);
    part.rstd = moved(args.rstd, statistic);
    part.count = end - begin;
    return part;
  }
  index grain(index rows_each) const { return kRowsChunk / std::max<index>(args.n * rows_each, 1) + 1; }

  // Weights that are not given are 1, biases 0.
  template <class C>
  RowsRun completed() const {
    RowsRun run = *this;
    C* absent = scratch<C>(kSlotAbsent, 2 * args.n);
    std::fill_n(absent, args.n, C(1));
    std::fill_n(absent + args.n, args.n, C(0));
    if (args.weight == nullptr) run.args.weight = absent;
    if (args.bias == nullptr) run.args.bias = absent + args.n;
    return run;
  }

  template <class C>
  void forward() const {
    const RowsRun run = completed<C>();
    parallel_for(args.count, grain(1),
                 [&](index begin, index end) { kernels->rows[adds()][static_cast<int>(dtype)](run.part(begin, end)); });
  }

  template <class C>
  void backward(C* of_weight, C* of_bias) const {
    const RowsRun run = completed<C>();
    const index n = args.n, together = std::clamp((args.count + 15) / 16, kLeastTogether, kMostTogether);
    const index blocks = (args.count + together - 1) / together;
    C* partial = scratch<C>(kSlotPartial, blocks * 2 * n);
    parallel_for(blocks, grain(together), [&](index begin, index end) {
      for (index b = begin; b < end; ++b) {
        NormRowsArgs part = run.part(b * together, std::min(args.count, (b + 1) * together));
        part.partial = partial + b * 2 * n;
        std::fill_n(partial + b * 2 * n, 2 * n, C(0));
        kernels->rows_gradient[adds()][static_cast<int>(dtype)](part);
      }
    });
    parallel_for((n + kStrip - 1) / kStrip, kRowsChunk / (kStrip * (blocks + 1)) + 1, [&](index begin, index end) {
      for (index c = begin * kStrip; c < std::min(n, end * kStrip); c += kStrip) {
        const index width = std::min(kStrip, n - c);
        add_blocks(partial + c, blocks, 2 * n, width, of_weight + c);
        add_blocks(partial + n + c, blocks, 2 * n, width, of_bias + c);
      }
    });
  }
};

// Rows of x, if its last axes are those that are normalised.
index rows_of(const char* op, const Array& x, const Dims& normalized) {
  require_floating(op, "x", x);
  const int outer = x.rank() - normalized.rank;
  bool fits = normalized.rank > 0 && outer >= 0;
  index rows = 1;
  for (int i = 0; fits && i < x.rank(); ++i) {
    if (i < outer) rows *= x.shape[i];
    if (i >= outer) fits = x.shape[i] == normalized[i - outer];
  }
  if (!fits) refuse(op, "normalized_shape", text("the last sizes of x ", x.shape), normalized);
  if (normalized.count() == 0) refuse(op, "normalized_shape", "positive sizes", normalized);
  return rows;
}

// An array of the shape and dtype of x, dense.
Array same_as_x(const char* op, const char* name, const Array& a, const Array& x) {
  require_same_dtype(op, name, a, "x", x);
  require_shape(op, name, a, x.shape, ", that of x");
  return dense(a);
}

}  // namespace

Array normalize_rows(const char* op, const Array& x, const Array* residual, const Dims& normalized, const Array* weight,
                     const Array* bias, NormRowsOptions options, Array& stats, Array& sum) {
  const index count = rows_of(op, x, normalized);
  const Array from = dense(x), other = residual == nullptr ? Array() : same_as_x(op, "residual", *residual, x);
  const ChannelVector w(op, "weight", weight, x, normalized, "the normalized shape");
  const ChannelVector b(op, "bias", bias, x, normalized, "the normalized shape");
  stats = Array::empty({2, count}, accumulate_dtype(x.dtype));
  Array y = Array::empty(x.shape, x.dtype, x.device);
  if (residual != nullptr) sum = Array::empty(x.shape, x.dtype, x.device);
  RowsRun run{&norm_kernels(x.device), x.dtype, {}};
  run.args.x = from.data;
  run.args.residual = other.data;
  run.args.out = y.data;
  run.args.sum = sum.data;
  run.args.count = count;
  run.args.n = normalized.count();
  run.args.weight = w.data();
  run.args.bias = b.data();
  run.args.mean = stats.data;
  run.args.rstd = moved(stats.data, stats.nbytes() / 2);
  run.args.eps = options.eps;
  run.args.centred = options.centred;
  const bool adds = residual != nullptr;
  launch(op, {8 * static_cast<double>(x.size()), (adds ? 4 : 2) * static_cast<double>(x.nbytes())},
         {&from, adds ? &other : nullptr, w.used(), b.used()}, {&y, &stats, adds ? &sum : nullptr},
         [run] { run.dtype == DType::float64 ? run.forward<double>() : run.forward<float>(); });
  return y;
}

NormGradients normalize_rows_gradient(const char* op, const Array& g, const Array* of_sum, const Array& x,
                                      const Array& stats, const Dims& normalized, const Array* weight, bool centred) {
  const index count = rows_of(op, x, normalized);
  const DType computed = accumulate_dtype(x.dtype);
  require_dtype(op, "stats", stats, computed, "that of the statistics");
  require_shape(op, "stats", stats, {2, count}, ", mean and rstd of every row");
  const Array from = dense(x), slopes = same_as_x(op, "g", g, x), kept = dense(stats);
  const bool adds = of_sum != nullptr;
  const Array others = adds ? same_as_x(op, "of_sum", *of_sum, x) : Array();
  const ChannelVector w(op, "weight", weight, x, normalized, "the normalized shape");
  NormGradients out{Array::empty(x.shape, x.dtype), Array::empty(normalized, computed),
                    Array::empty(normalized, computed)};
  RowsRun run{&norm_kernels(x.device), x.dtype, {}};
  run.args.x = from.data;
  run.args.g = slopes.data;
  run.args.residual = others.data;
  run.args.out = out.x.data;
  run.args.count = count;
  run.args.n = normalized.count();
  run.args.weight = w.data();
  run.args.mean = kept.data;
  run.args.rstd = moved(kept.data, kept.nbytes() / 2);
  run.args.centred = centred;
  launch(op, {16 * static_cast<double>(x.size()), (adds ? 4 : 3) * static_cast<double>(x.nbytes())},
         {&from, &slopes, adds ? &others : nullptr, &kept, w.used()}, {&out.x, &out.weight, &out.bias},
         [run, to = out.weight.data, bias = out.bias.data] {
           run.dtype == DType::float64 ? run.backward(static_cast<double*>(to), static_cast<double*>(bias))
                                       : run.backward(static_cast<float*>(to), static_cast<float*>(bias));
         });
  out.weight = dense(out.weight, x.dtype);
  out.bias = dense(out.bias, x.dtype);
  return out;
}

}  // namespace mlext
