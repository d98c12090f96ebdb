// Whole-register data movement for packing and for the dot tile, in compiler vector extensions: one text for all levels.
#pragma once

#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

template <class Native, int... lane>
MLEXT_INLINE Native pick(Native a, Native b, Lanes<lane...>) {
  return __builtin_shufflevector(a, b, lane...);
}

// Lists of source lanes (0..N-1 from a, N..2N-1 from b), as functions of the result lane.
template <class List, int n, class Rule>
struct Rows;
template <int... i, int n, class Rule>
struct Rows<Lanes<i...>, n, Rule> {
  using Type = Lanes<Rule::at(i, n)...>;
};
template <int n, class Rule>
using LaneList = typename Rows<typename MakeLanes<n>::Type, n, Rule>::Type;

// Lanes whose bit h is clear from a, the others from b, each in its place / each moved by h.
template <int h>
struct Keep {
  static constexpr int at(int i, int n) { return i & h ? n + i : i; }
};
template <int h>
struct Cross {
  static constexpr int at(int i, int n) { return i & h ? n + (i ^ h) : i ^ h; }
};
// Units of w elements from the lower (or upper) half of every 128-bit lane of a and b in turn.
template <int w, int lane, bool upper>
struct Interleave {
  static constexpr int at(int i, int n) {
    const int unit = i % lane / w;
    return i / lane * lane + (upper ? lane / 2 : 0) + unit / 2 * w + i % w + (unit % 2 != 0 ? n : 0);
  }
};
// The lower (or upper) halves of a and b.
template <bool upper>
struct Halves {
  static constexpr int at(int i, int n) { return i % (n / 2) + (upper ? n / 2 : 0) + (i < n / 2 ? 0 : n); }
};
// The even (or odd) quarters of a and b.
template <bool odd>
struct Quarters {
  static constexpr int at(int i, int n) {
    const int quarter = n / 4, q = i / quarter;
    return (q % 2 * 2 + (odd ? 1 : 0)) * quarter + i % quarter + (q < 2 ? 0 : n);
  }
};
template <class Rule, class T>
MLEXT_INLINE Vec<T> pick(Vec<T> a, Vec<T> b) {
  return pick(a.v, b.v, LaneList<Vec<T>::N, Rule>{});
}

// Lane q of the result is the lanes of x[q] joined by f; the order is that of reduce_add.
template <class T, int h = Vec<T>::N / 2, class F>
MLEXT_INLINE Vec<T> fold_each(const Vec<T>* x, F f) {
  constexpr int N = Vec<T>::N;
  Vec<T> half[h];
#pragma GCC unroll 16
  for (int q = 0; q < h; ++q) {
    half[q] = f(Vec<T>(pick(x[q].v, x[q + h].v, LaneList<N, Keep<h>>{})),
                Vec<T>(pick(x[q].v, x[q + h].v, LaneList<N, Cross<h>>{})));
  }
  if constexpr (h == 1) {
    return half[0];
  } else {
    return fold_each<T, h / 2>(half, f);
  }
}

// Their sums.
template <class T>
MLEXT_INLINE Vec<T> reduce_each(const Vec<T>* x) {
  return fold_each<T>(x, [](Vec<T> a, Vec<T> b) { return a + b; });
}

// x[i] lane j <-> x[j] lane i. Every step is one instruction of one cycle at all levels: first within 128-bit lanes, then
// whole lanes.
template <class T>
MLEXT_INLINE void transpose(Vec<T>* x) {
  using W = Vec<T>;
  constexpr int N = W::N, L = 16 / sizeof(T);
  W y[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; i += L) {
    const W a = pick<Interleave<1, L, false>>(x[i], x[i + 1]), b = pick<Interleave<1, L, true>>(x[i], x[i + 1]);
    if constexpr (L == 2) {
      y[i] = a;
      y[i + 1] = b;
    } else {
      const W c = pick<Interleave<1, L, false>>(x[i + 2], x[i + 3]),
              d = pick<Interleave<1, L, true>>(x[i + 2], x[i + 3]);
      y[i] = pick<Interleave<2, L, false>>(a, c);
      y[i + 1] = pick<Interleave<2, L, true>>(a, c);
      y[i + 2] = pick<Interleave<2, L, false>>(b, d);
      y[i + 3] = pick<Interleave<2, L, true>>(b, d);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < L; ++i) {
    if constexpr (N == L) {
      x[i] = y[i];
    } else if constexpr (N == 2 * L) {
      x[i] = pick<Halves<false>>(y[i], y[i + L]);
      x[i + L] = pick<Halves<true>>(y[i], y[i + L]);
    } else {
      const W a = pick<Halves<false>>(y[i], y[i + L]), b = pick<Halves<true>>(y[i], y[i + L]);
      const W c = pick<Halves<false>>(y[i + 2 * L], y[i + 3 * L]), d = pick<Halves<true>>(y[i + 2 * L], y[i + 3 * L]);
      x[i] = pick<Quarters<false>>(a, c);
      x[i + L] = pick<Quarters<true>>(a, c);
      x[i + 2 * L] = pick<Quarters<false>>(b, d);
      x[i + 3 * L] = pick<Quarters<true>>(b, d);
    }
  }
}

}  // namespace mlext::MLEXT_LEVEL
