// The bodies: a vector of channels at a time, window after window.
#include "kernels/pool/pool.h"

#include "simd/compute.h"
#include "simd/parts.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// Channels first to last: f(c, part).
template <class V, class F>
MLEXT_INLINE void each_channel(index first, index last, F f) {
  each<V>(last - first, [&](index i, auto part) { f(first + i, part); });
}

template <PoolKind kKind, class V>
MLEXT_INLINE V joined(V a, V x) {
  return kKind == PoolKind::max ? max_nan(a, x) : a + x;
}

// Four vectors at a time, so that the latency of one hides behind the others.
template <PoolKind kKind, class S>
void forward(const PoolArgs& g) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  constexpr index kTogether = 4;
  const index channels = g.channels, row = g.cols.in * channels;
  for (index p = g.first; p < g.last; ++p) {
    for (index q = 0; q < g.cols.out; ++q) {
      const index r0 = g.rows.begin[p], r1 = g.rows.end[p], s0 = g.cols.begin[q], s1 = g.cols.end[q];
      const S* window = static_cast<const S*>(g.x) + r0 * row + s0 * channels;
      S* y = static_cast<S*>(g.out) + (p * g.cols.out + q) * channels;
      const bool empty = r0 >= r1 || s0 >= s1;
      const V start = kKind == PoolKind::max && !g.rectified ? V(-static_cast<C>(__builtin_inf())) : V::zero();
      const V scale(kKind == PoolKind::max ? C(1) : C(1) / static_cast<C>(g.rows.counts[p] * g.cols.counts[q]));
      const auto finish = [&](V v) { return kKind == PoolKind::max ? v : v * scale; };
      index c = 0;
      for (; c + kTogether * V::N <= channels && !empty; c += kTogether * V::N) {
        V a[kTogether] = {start, start, start, start};
        for (index r = 0; r < r1 - r0; ++r) {
          const S* x = window + r * row + c;
          for (index s = 0; s < s1 - s0; ++s, x += channels) {
#pragma GCC unroll 4
            for (index v = 0; v < kTogether; ++v) a[v] = joined<kKind>(a[v], V::load(x + v * V::N));
          }
        }
#pragma GCC unroll 4
        for (index v = 0; v < kTogether; ++v) finish(a[v]).store(y + c + v * V::N);
      }
      each_channel<V>(c, channels, [&](index at, auto part) {
        V a = start;
        for (index r = 0; r < r1 - r0; ++r) {
          const S* x = window + r * row + at;
          for (index s = 0; s < s1 - s0; ++s, x += channels) a = joined<kKind>(a, get<V>(x, part));
        }
        put(y + at, finish(a), part);
      });
    }
  }
}

// The share of g that a pixel with value x gets; `left` is what no pixel before it got.
template <PoolKind kKind, class V>
MLEXT_INLINE V share(V x, V y, V& left) {
  if (kKind == PoolKind::mean) return left;
  const auto takes = (x == y) | (is_nan(x) & is_nan(y));
  const V taken = select(takes, left, V::zero());
  left = select(takes, V::zero(), left);
  return taken;
}

// 0 in channels first to last of some pixels.
template <class V, class S>
void clear(const PoolArgs& g, S* out, index r0, index r1, index s0, index s1) {
  for (index r = r0; r < r1; ++r) {
    for (index s = s0; s < s1; ++s) {
      S* pixel = out + (r * g.cols.in + s) * g.channels;
      each_channel<V>(g.first, g.last, [&](index c, auto part) { put(pixel + c, V::zero(), part); });
    }
  }
}

// The shares of one window, in all its channels.
template <PoolKind kKind, bool kDisjoint, class S>
MLEXT_INLINE void window_backward(const PoolArgs& g, S* out, index p, index q) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index channels = g.channels, row = g.cols.in * channels, pixel = (p * g.cols.out + q) * channels;
  const V scale(kKind == PoolKind::max ? C(1) : C(1) / static_cast<C>(g.rows.counts[p] * g.cols.counts[q]));
  each_channel<V>(g.first, g.last, [&](index c, auto part) {
    V left = get<V>(static_cast<const S*>(g.g) + pixel + c, part) * scale;
    const V y = kKind == PoolKind::max ? get<V>(static_cast<const S*>(g.y) + pixel + c, part) : left;
    if (kKind == PoolKind::max && g.rectified) left = select(y > V::zero(), left, V::zero());
    for (index r = g.rows.begin[p]; r < g.rows.end[p]; ++r) {
      for (index s = g.cols.begin[q]; s < g.cols.end[q]; ++s) {
        const index at = r * row + s * channels + c;
        const V x = kKind == PoolKind::max ? get<V>(static_cast<const S*>(g.x) + at, part) : y;
        const V taken = share<kKind>(x, y, left);
        put(out + at, kDisjoint ? taken : get<V>(out + at, part) + taken, part);
      }
    }
  });
}

// Channels first to last of all pixels. Where windows overlap, their shares add up in the order of the windows; where they
// do not, every pixel is written once: its share, or the 0 between windows.
template <PoolKind kKind, bool kDisjoint, class S>
void backward_of(const PoolArgs& g) {
  using V = Vec<typename Compute<S>::Type>;
  S* out = static_cast<S*>(g.out);
  if (!kDisjoint) clear<V>(g, out, 0, g.rows.in, 0, g.cols.in);
  index row = 0;
  for (index p = 0; p < g.rows.out; ++p) {
    const index r0 = g.rows.begin[p], r1 = g.rows.end[p];
    index col = 0;
    if (kDisjoint) clear<V>(g, out, row, r0, 0, g.cols.in);
    for (index q = 0; q < g.cols.out; ++q) {
      if (kDisjoint) clear<V>(g, out, r0, r1, col, g.cols.begin[q]);
      window_backward<kKind, kDisjoint>(g, out, p, q);
      col = g.cols.end[q];
    }
    if (kDisjoint) clear<V>(g, out, r0, r1, col, g.cols.in);
    row = r1;
  }
  if (kDisjoint) clear<V>(g, out, row, g.rows.in, 0, g.cols.in);
}

template <PoolKind kKind, class S>
void backward(const PoolArgs& g) {
  g.disjoint ? backward_of<kKind, true, S>(g) : backward_of<kKind, false, S>(g);
}

template <class S>
constexpr void add_type(PoolKernels& t, DType dtype) {
  const int type = static_cast<int>(dtype);
  t.forward[0][type] = forward<PoolKind::max, S>;
  t.forward[1][type] = forward<PoolKind::mean, S>;
  t.backward[0][type] = backward<PoolKind::max, S>;
  t.backward[1][type] = backward<PoolKind::mean, S>;
}

constexpr PoolKernels make_table() {
  PoolKernels t{};
  add_type<float>(t, DType::float32);
  add_type<double>(t, DType::float64);
  add_type<bf16>(t, DType::bfloat16);
  add_type<f16>(t, DType::float16);
  return t;
}

}  // namespace

extern const PoolKernels pool_kernels;
constexpr PoolKernels pool_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
