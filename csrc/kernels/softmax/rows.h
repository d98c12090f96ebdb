// What softmax and its losses look for in a row.
#pragma once

#include "simd/compute.h"
#include "simd/math_log.h"
#include "simd/parts.h"
#include "simd/shuffle.h"

namespace mlext::MLEXT_LEVEL {

template <class C>
MLEXT_INLINE C log_of(C x) {
  C lanes[Vec<C>::N];
  log(Vec<C>(x)).store(lanes);
  return lanes[0];
}
// exp of x <= 0: no upper bound to check.
template <class T>
MLEXT_INLINE Vec<T> exp_below(Vec<T> x) {
  const auto [t, n, r] = reduce_exp(x);
  return scale(not_less(x, Vec<T>(ExpData<T>::kMin)), exp_polynomial(r), n);
}

template <class V>
MLEXT_INLINE V lowest() {
  return V(-typename V::Scalar(__builtin_inf()));
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

// The largest element; NaN is passed over (it comes back through the sum of exponentials).
template <class V, class S>
MLEXT_INLINE typename V::Scalar row_max(const S* x, index n) {
  const V low(-typename V::Scalar(__builtin_inf()));
  V a = low, b = low, c = low, d = low;
  index i = 0;
  for (; i + 4 * V::N <= n; i += 4 * V::N) {
    a = max(V::load(x + i), a);
    b = max(V::load(x + i + V::N), b);
    c = max(V::load(x + i + 2 * V::N), c);
    d = max(V::load(x + i + 3 * V::N), d);
  }
  for (; i + V::N <= n; i += V::N) a = max(V::load(x + i), a);
  if (i < n) b = max(keep(get<V>(x + i, n - i), low, n - i), b);
  return reduce_max(max(max(a, b), max(c, d)));
}

// How many rows share one logarithm: a vector of them while they stay in L1 together. The logarithm of one number takes
// as long as the exponentials of 100, because nothing overlaps with it.
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

// For each row: its maximum m, and tail, the log of the sum of exp(x - m). The maximal elements count as whole numbers and
// only the others are added up, so the logarithm is accurate relative to itself however close to 0 it is, and so is a
// small loss. An infinite m makes NaN. m and tail have V::N elements, rows <= V::N.
template <class V, class S>
MLEXT_INLINE void row_log_sums(const S* x, index rows, index n, typename V::Scalar* m, typename V::Scalar* tail) {
  using C = typename V::Scalar;
  if (n <= kShortRow<V>) {
    V top;
    const V sums = short_row_tails(x, rows, n, top);
    top.store(m);
    ((top - top) + log1p(sums)).store(tail);
    return;
  }
  for (index r = 0; r < rows; ++r, x += n) {
    const V top(m[r] = row_max<V>(x, n));
    V ties = V::zero();
    const C others = row_sum<V>(n, [&](index i, auto part) {
      const V v = get<V>(x + i, part);
      ties += keep(select(v == top, V(C(1)), V::zero()), V::zero(), part);
      return select(v == top, V::zero(), exp_below(v - top));
    });
    tail[r] = others + (reduce_add(ties) - C(1));
  }
  for (index r = rows; r < V::N; ++r) m[r] = tail[r] = C(0);
  const V top = V::load(m);
  ((top - top) + log1p(V::load(tail))).store(tail);
}

}  // namespace mlext::MLEXT_LEVEL
