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
// One step of a transpose by blocks of h: a' = a where bit h is clear, else b moved up; b' the other half.
template <int h>
struct Low {
  static constexpr int at(int i, int n) { return i & h ? n + i - h : i; }
};
template <int h>
struct High {
  static constexpr int at(int i, int n) { return i & h ? n + i : i + h; }
};

// Lane q of the result is the sum of the lanes of x[q]; the order of additions is that of reduce_add.
template <class T, int h = Vec<T>::N / 2>
MLEXT_INLINE Vec<T> reduce_each(const Vec<T>* x) {
  constexpr int N = Vec<T>::N;
  Vec<T> half[h];
#pragma GCC unroll 16
  for (int q = 0; q < h; ++q) {
    half[q] = Vec<T>(pick(x[q].v, x[q + h].v, LaneList<N, Keep<h>>{})) +
              Vec<T>(pick(x[q].v, x[q + h].v, LaneList<N, Cross<h>>{}));
  }
  if constexpr (h == 1) {
    return half[0];
  } else {
    return reduce_each<T, h / 2>(half);
  }
}

// x[i] lane j <-> x[j] lane i.
template <class T, int h = Vec<T>::N / 2>
MLEXT_INLINE void transpose(Vec<T>* x) {
  constexpr int N = Vec<T>::N;
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) {
    if (i & h) continue;
    const auto a = x[i].v, b = x[i + h].v;
    x[i].v = pick(a, b, LaneList<N, Low<h>>{});
    x[i + h].v = pick(a, b, LaneList<N, High<h>>{});
  }
  if constexpr (h > 1) transpose<T, h / 2>(x);
}

}  // namespace mlext::MLEXT_LEVEL
