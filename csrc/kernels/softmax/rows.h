// What softmax and its losses look for in a row.
#pragma once

#include "simd/compute.h"
#include "simd/math_log.h"
#include "simd/parts.h"
#include "simd/shuffle.h"

namespace mlext::MLEXT_LEVEL {

template <class C>
MLEXT_INLINE C log_of(C x) {
  return first_lane(log(Vec<C>(x)));
}
// exp of x <= 0: no upper bound to check.
template <class T>
MLEXT_INLINE Vec<T> exp_below(Vec<T> x) {
  const auto [t, n, r] = reduce_exp(x);
  return scale(not_less(x, Vec<T>(ExpData<T>::kMin)), exp_polynomial(r), n);
}

MLEXT_INLINE index lanes_of(Whole, index all) { return all; }
MLEXT_INLINE index lanes_of(index count, index) { return count; }

// 1 where set, else 0. Apart from what uses it: gcc 12 fails on loop and comparison together.
template <class V>
[[gnu::noinline]] V ones_where(const bool* p, index count) {
  typename V::Scalar lanes[V::N] = {};
  for (index k = 0; k < count; ++k) lanes[k] = p[k] ? 1 : 0;
  return V::load(lanes);
}
template <class V, class Part>
MLEXT_INLINE Mask<typename V::Scalar> mask_at(const bool* p, Part part) {
  if constexpr (sizeof(typename V::Scalar) == sizeof(float)) {
    return get<V>(p, part) > V::zero();
  } else {
    return ones_where<V>(p, lanes_of(part, V::N)) > V::zero();
  }
}

// Rows so short that the trees that end them take longer than their vectors go through each pass as many at a time as a
// vector has lanes: one tree then serves all of them. In lane r of the result: the largest element of row r, 0 beyond the
// last row.
template <class V, class S>
MLEXT_INLINE V max_of_rows(const S* x, index rows, index n) {
  V lanes[V::N];
  for (index r = 0; r < V::N; ++r) lanes[r] = r < rows ? lane_max<V>(x + r * n, n) : V::zero();
  return fold_each<typename V::Scalar>(lanes, [](V a, V b) { return max(a, b); });
}

// How many rows share one logarithm: a vector of them while they stay in L1 together. The logarithm of one number takes
// as long as the exponentials of 100, because nothing overlaps with it; but longer rows would come twice from L2 (1024: 0.88
// of the time alone).
template <class V>
MLEXT_INLINE index rows_per_log(index n) {
  return n <= 512 ? V::N : 1;
}

// The same side by side, a row in each lane, where rows are too short to fill vectors (200 rows of 10 classes: 0.4 of the
// time).
template <class V>
inline constexpr index kShortRow = 4 * V::N;

template <class V, class S>
MLEXT_INLINE V short_row_tails(const S* x, index rows, index n, V& top) {
  using C = typename V::Scalar;
  V columns[kShortRow<V>];
  for (index j = 0; j < n; j += V::N) {
    const index width = n - j < V::N ? n - j : V::N;
    for (index r = 0; r < V::N; ++r) columns[j + r] = r < rows ? V::load(x + r * n + j, width) : V::zero();
    transpose(columns + j);
  }
  top = V(-C(__builtin_inf()));
  for (index j = 0; j < n; ++j) top = max(columns[j], top);
  V ties = V::zero(), others = V::zero();
  for (index j = 0; j < n; ++j) {
    ties += select(columns[j] == top, V(C(1)), V::zero());
    others += select(columns[j] == top, V::zero(), exp_below(columns[j] - top));
  }
  return others + (ties - V(C(1)));
}

// What row `x` adds to the sum of exponentials: the others, of which the sum is taken, and how often the maximum comes.
template <class V, class S>
struct Exponentials {
  const S* x;
  V top, ties = V::zero();
  template <class Part>
  MLEXT_INLINE V operator()(V sum, index i, Part part) {
    const V v = get<V>(x + i, part);
    ties += keep(select(v == top, V(typename V::Scalar(1)), V::zero()), V::zero(), part);
    return sum + select(v == top, V::zero(), exp_below(v - top));
  }
};

// For each row: its maximum m, and tail, the log of the sum of exp(x - m). The maximal elements count as whole numbers and
// only the others are added up, so the logarithm is accurate relative to itself however close to 0 it is, and so is a
// small loss. An infinite m makes NaN. m and tail have V::N elements, rows <= V::N.
template <class V, class S>
MLEXT_INLINE void row_log_sums(const S* x, index rows, index n, typename V::Scalar* m, typename V::Scalar* tail) {
  using C = typename V::Scalar;
  const V one(C(1));
  if (n <= kShortRow<V>) {
    V top;
    const V sums = short_row_tails(x, rows, n, top);
    top.store(m);
    ((top - top) + log1p(sums)).store(tail);
    return;
  }
  if (rows > 1) {
    const V top = max_of_rows<V>(x, rows, n);
    top.store(m);
    V others[V::N], ties[V::N];
    for (index r = rows; r < V::N; ++r) others[r] = ties[r] = one;
    for (index r = 0; r < rows; ++r) {
      Exponentials<V, S> row{x + r * n, V(m[r])};
      others[r] = fold_lanes<V>(n, [&](V sum, index i, auto part) { return row(sum, i, part); });
      ties[r] = row.ties;
    }
    const V sums = reduce_each<C>(others) + (reduce_each<C>(ties) - one);
    ((top - top) + log1p(sums)).store(tail);
    return;
  }
  const V top(m[0] = row_max<V>(x, n));
  Exponentials<V, S> row{x, top};
  const C others = row_fold<V>(n, [&](V sum, index i, auto part) { return row(sum, i, part); });
  tail[0] = first_lane((top - top) + log1p(V(others + (reduce_add(row.ties) - C(1)))));
}

}  // namespace mlext::MLEXT_LEVEL
