// The bodies: pixels side by side for the result, taps side by side for the gradient, so that a vector of the filter, or of
// g, is loaded once for several fmas. Each of those reads x from memory: two loads and two fmas per cycle go together.
#include "kernels/conv/depthwise.h"

#include "simd/compute.h"
#include "simd/parts.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// Pixels of y that share a vector of a filter that is not held in registers.
constexpr index kPixels = 4;
// Taps that share a vector of g, and chains of each.
constexpr index kTaps = 4, kChains = 2;

MLEXT_INLINE index smaller(index a, index b) { return a < b ? a : b; }
MLEXT_INLINE index larger(index a, index b) { return a > b ? a : b; }

// What belongs to a row: no store can change it.
template <class S>
struct Row {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const S* x;  // under the first tap inside of the rows, and the first pixel
  const C *w, *bias, *in;
  C* y;
  index channels, rows, taps, w_step, w_row, x_row, tap_step, step, y_step, ahead, ahead_y;
  Limits<V> limits;

  explicit Row(const DepthwiseArgs& args)
      : x(static_cast<const S*>(args.x) + args.begin * args.x_row),
        w(static_cast<const C*>(args.w) + args.begin * args.taps * args.w_step),
        bias(static_cast<const C*>(args.bias)),
        in(static_cast<const C*>(args.in)),
        y(static_cast<C*>(args.y)),
        channels(args.channels),
        rows(args.end - args.begin),
        taps(args.taps),
        w_step(args.w_step),
        w_row(args.taps * args.w_step),
        x_row(args.x_row),
        tap_step(args.tap_step),
        step(args.step),
        y_step(args.y_step),
        ahead(args.ahead),
        ahead_y(args.ahead_y),
        limits(static_cast<C>(args.top)) {}

  // From here on: a vector of channels that begins with c.

  template <class Part>
  MLEXT_INLINE V start(index c, Part part) const {
    return bias != nullptr ? get<V>(bias + c, part) : V::zero();
  }
  template <class Part>
  MLEXT_INLINE void finish(V sum, index q, index c, Part part) const {
    const index to = q * y_step + c;
    if (in != nullptr) sum += get<V>(in + to, part);
    put(y + to, limits(sum), part);
  }

  // Pixel q, some of whose taps are outside, with a filter in registers. Two chains: few pixels of a small image overlap.
  template <index kRows, index kTaps, class Part>
  MLEXT_INLINE void edge(const V (&factors)[kRows][kTaps], const PixelRange* inside, index q, index c,
                         Part part) const {
    V sums[2] = {start(c, part), V::zero()};
#pragma GCC unroll 5
    for (index s = 0; s < kTaps; ++s) {
      if (q < inside[s].begin || q >= inside[s].end) continue;
      const S* from = x + q * step + s * tap_step + c;
#pragma GCC unroll 5
      for (index r = 0; r < kRows; ++r) sums[r % 2] = fma(get<V>(from + r * x_row, part), factors[r][s], sums[r % 2]);
    }
    finish(sums[0] + sums[1], q, c, part);
  }

  // Pixels `wanted`, with a filter in registers; all taps of `whole` are inside: a pixel is a load and an fma per tap, and as
  // pixels do not wait for each other their chains overlap.
  template <index kRows, index kTaps, class Part>
  MLEXT_INLINE void held(const PixelRange* inside, PixelRange wanted, PixelRange whole, index c, Part part) const {
    V factors[kRows][kTaps];
    for (index r = 0; r < kRows; ++r) {
      for (index s = 0; s < kTaps; ++s) factors[r][s] = get<V>(w + r * w_row + s * w_step + c, part);
    }
    for (index q = wanted.begin; q < whole.begin; ++q) edge(factors, inside, q, c, part);
    const V first = start(c, part);
    const S* from[kRows];
    for (index r = 0; r < kRows; ++r) from[r] = x + whole.begin * step + r * x_row + c;
    for (index q = whole.begin; q < whole.end; ++q) {
      V sum = first;
#pragma GCC unroll 5
      for (index r = 0; r < kRows; ++r) {
#pragma GCC unroll 5
        for (index s = 0; s < kTaps; ++s) sum = fma(get<V>(from[r] + s * tap_step, part), factors[r][s], sum);
        from[r] += step;
      }
      __builtin_prefetch(from[kRows - 1] + ahead);
      __builtin_prefetch(y + q * y_step + c + ahead_y, 1);
      finish(sum, q, c, part);
    }
    for (index q = whole.end; q < wanted.end; ++q) edge(factors, inside, q, c, part);
  }

  // The same for 3 x 3 and 5 x 5 filters, or the rows of them that are inside; false for others.
  template <class... More>
  MLEXT_INLINE bool try_held(More... more) const {
    if (taps == 3 && rows == 3) return held<3, 3>(more...), true;
    if (taps == 3 && rows == 2) return held<2, 3>(more...), true;
    if (taps == 5 && rows == 5) return held<5, 5>(more...), true;
    if (taps == 5 && rows == 4) return held<4, 5>(more...), true;
    if (taps == 5 && rows == 3) return held<3, 5>(more...), true;
    return false;
  }

  // Pixels q and on, taps t0 to t1, of any filter.
  template <index kCount, class Part>
  MLEXT_INLINE void pixels(index q, index t0, index t1, index c, Part part) const {
    V sums[kCount];
    for (index i = 0; i < kCount; ++i) sums[i] = start(c, part);
    for (index r = 0; r < rows; ++r) {
      const S* from = x + q * step + r * x_row + t0 * tap_step + c;
      const C* factors = w + r * w_row + t0 * w_step + c;
      for (index s = t0; s < t1; ++s, from += tap_step, factors += w_step) {
        const V factor = get<V>(factors, part);
#pragma GCC unroll 4
        for (index i = 0; i < kCount; ++i) sums[i] = fma(get<V>(from + i * step, part), factor, sums[i]);
      }
    }
    for (index i = 0; i < kCount; ++i) finish(sums[i], q + i, c, part);
  }
};

template <class S>
void row(const DepthwiseArgs& args) {
  const Row<S> row(args);
  const PixelRange wanted = args.pixels;
  const index begin = smaller(larger(args.whole.begin, wanted.begin), wanted.end);
  const PixelRange all{begin, larger(smaller(args.whole.end, wanted.end), begin)};
  each<typename Row<S>::V>(row.channels, [&](index c, auto part) {
    if (row.try_held(args.inside, wanted, all, c, part)) return;
    const auto edge = [&](index q, index end) {
      for (; q < end; ++q) {
        index t0 = 0, t1 = row.taps;
        while (t0 < t1 && (q < args.inside[t0].begin || q >= args.inside[t0].end)) ++t0;
        while (t1 > t0 && (q < args.inside[t1 - 1].begin || q >= args.inside[t1 - 1].end)) --t1;
        row.template pixels<1>(q, t0, t1, c, part);
      }
    };
    edge(wanted.begin, all.begin);
    index q = all.begin;
    for (; q + kPixels <= all.end; q += kPixels) row.template pixels<kPixels>(q, 0, row.taps, c, part);
    for (; q < all.end; ++q) row.template pixels<1>(q, 0, row.taps, c, part);
    edge(all.end, wanted.end);
  });
}

// Taps s and on of row r of the filter.
template <index kCount, class S>
void taps(const DepthwiseArgs& args, index r, index s) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  PixelRange own[kCount], all = args.pixels;
  for (index t = 0; t < kCount; ++t) {
    own[t] = args.inside[s + t];
    all = {larger(all.begin, own[t].begin), smaller(all.end, own[t].end)};
  }
  all.end = larger(all.begin, all.end);
  const index step = args.step, tap_step = args.tap_step;
  each<V>(args.channels, [&](index c, auto part) {
    const S* g = static_cast<const S*>(args.g) + c;
    const S* x = static_cast<const S*>(args.x) + r * args.x_row + s * tap_step + c;
    const auto times = [&](V slope, index q, index t, V sum) {
      return fma(slope, get<V>(x + q * step + t * tap_step, part), sum);
    };
    V sums[kCount][kChains];
    for (index t = 0; t < kCount; ++t) {
      for (index k = 0; k < kChains; ++k) sums[t][k] = V::zero();
    }
    index q = all.begin;
    for (; q + kChains <= all.end; q += kChains) {
#pragma GCC unroll 8
      for (index k = 0; k < kChains; ++k) {
        const V slope = get<V>(g + (q + k) * args.y_step, part);
#pragma GCC unroll 8
        for (index t = 0; t < kCount; ++t) sums[t][k] = times(slope, q + k, t, sums[t][k]);
      }
    }
    for (index t = 0; t < kCount; ++t) {
      V sum = sums[t][0];
      for (index k = 1; k < kChains; ++k) sum += sums[t][k];
      for (index i = q; i < own[t].end; ++i) sum = times(get<V>(g + i * args.y_step, part), i, t, sum);
      for (index i = own[t].begin; i < smaller(all.begin, own[t].end); ++i) {
        sum = times(get<V>(g + i * args.y_step, part), i, t, sum);
      }
      C* to = static_cast<C*>(args.y) + (r * args.taps + s + t) * args.w_step + c;
      put(to, get<V>(to, part) + sum, part);
    }
  });
}

template <class S, index kCount = kTaps>
void up_to_taps(const DepthwiseArgs& args, index r, index s, index count) {
  if (count == kCount) return taps<kCount, S>(args, r, s);
  if constexpr (kCount > 1) up_to_taps<S, kCount - 1>(args, r, s, count);
}

template <class S>
void gradient(const DepthwiseArgs& args) {
  for (index r = args.begin; r < args.end; ++r) {
    for (index s = 0; s < args.taps; s += kTaps) {
      up_to_taps<S>(args, r, s, smaller(kTaps, args.taps - s));
    }
  }
}

constexpr DepthwiseKernels make_table() {
  DepthwiseKernels t{};
#define MLEXT_ROW(name, S)                       \
  t.row[static_cast<int>(DType::name)] = row<S>; \
  t.gradient[static_cast<int>(DType::name)] = gradient<S>;
  MLEXT_ROW(float32, float)
  MLEXT_ROW(float64, double)
  MLEXT_ROW(bfloat16, bf16)
  MLEXT_ROW(float16, f16)
#undef MLEXT_ROW
  return t;
}

}  // namespace

extern const DepthwiseKernels depthwise_kernels;
constexpr DepthwiseKernels depthwise_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
