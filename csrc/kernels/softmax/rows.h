// Loops over one row: full vectors, then the rest; and accurate sums over it.
#pragma once

#include "simd/math_log.h"

namespace mlext::MLEXT_LEVEL {

template <class C>
MLEXT_INLINE C log_of(C x) {
  C lanes[Vec<C>::N];
  log(Vec<C>(x)).store(lanes);
  return lanes[0];
}
template <class C>
MLEXT_INLINE C log1p_of(C x) {
  C lanes[Vec<C>::N];
  log1p(Vec<C>(x)).store(lanes);
  return lanes[0];
}

// The type that sums and exponentials of S are computed in.
template <class S>
struct Compute {
  using Type = float;
};
template <>
struct Compute<double> {
  using Type = double;
};

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
  return static_cast<typename V::Scalar>(total + static_cast<double>(reduce_add((a + b) + (c + d))));
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

// log of the sum of exp(x - m), m the maximum of the row. The maximal elements count as whole numbers and only the others
// are added up: the logarithm is accurate relative to itself however close to 0 it is, and so is a small loss. NaN for an
// infinite m.
template <class V, class S>
MLEXT_INLINE typename V::Scalar row_log_sum(const S* x, index n, typename V::Scalar m) {
  using C = typename V::Scalar;
  V ties = V::zero();
  const C others = row_sum<V>(n, [&](index i, auto part) {
    const V v = get<V>(x + i, part);
    const auto top = v == V(m);
    ties += keep(select(top, V(C(1)), V::zero()), V::zero(), part);
    return select(top, V::zero(), exp(v - V(m)));
  });
  return (m - m) + log1p_of(others + (reduce_add(ties) - C(1)));
}

}  // namespace mlext::MLEXT_LEVEL
