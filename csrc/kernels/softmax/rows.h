// Loops over one row: full vectors, then the rest; and accurate sums over it.
#pragma once

#include "simd/compute.h"
#include "simd/math_log.h"
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
  return scale(!(x < Vec<T>(ExpData<T>::kMin)), exp_polynomial(r), n);
}

struct Whole {};  // all lanes; an index below V::N in its place means the first so many

template <class V, class S>
MLEXT_INLINE V get(const S* p, Whole) {
  return V::load(p);
}
template <class V, class S>
MLEXT_INLINE V get(const S* p, index count) {
  if (count >= V::N) __builtin_unreachable();
  return V::load(p, count);
}
template <class V, class S>
MLEXT_INLINE void put(S* p, V v, Whole) {
  v.store(p);
}
template <class V, class S>
MLEXT_INLINE void put(S* p, V v, index count) {
  if (count >= V::N) __builtin_unreachable();
  v.store(p, count);
}
// `other` in idle lanes.
template <class V>
MLEXT_INLINE V keep(V v, V, Whole) {
  return v;
}
template <class V>
MLEXT_INLINE V keep(V v, V other, index count) {
  return select(Mask<typename V::Scalar>::first(count), v, other);
}

// f(i, part) for i = 0, N, 2 N ...: part is Whole, then the number of elements left.
template <class V, class F>
MLEXT_INLINE void each(index n, F f) {
  index i = 0;
  for (; i + V::N <= n; i += V::N) f(i, Whole{});
  if (i < n) f(i, n - i);
}

// The sum of term(i, part) over a row. Four chains of at most 32 additions, then the blocks in double: a row of 100,000
// floats has an error of a few u.
template <class V, class F>
MLEXT_INLINE typename V::Scalar row_sum(index n, F term) {
  constexpr index kBlock = 4 * 32 * V::N;
  double total = 0;
  index i = 0;
  V a = V::zero(), b = a, c = a, d = a;
  while (n - i >= 4 * V::N) {
    const index end = n - i < kBlock ? n : i + kBlock;
    for (; i + 4 * V::N <= end; i += 4 * V::N) {
      a += term(i, Whole{});
      b += term(i + V::N, Whole{});
      c += term(i + 2 * V::N, Whole{});
      d += term(i + 3 * V::N, Whole{});
    }
    if (n - i < 4 * V::N) break;
    total += static_cast<double>(reduce_add((a + b) + (c + d)));
    a = b = c = d = V::zero();
  }
  for (; i + V::N <= n; i += V::N) a += term(i, Whole{});
  if (i < n) b += keep(term(i, n - i), V::zero(), n - i);
  const auto rest = reduce_add((a + b) + (c + d));
  return n < kBlock ? rest : static_cast<typename V::Scalar>(total + static_cast<double>(rest));
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
