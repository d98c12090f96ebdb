// Whole vectors, then the rest, of a row of any length; and accurate sums over it.
#pragma once

#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

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

// 0 to `top`, or, if that is 0, as it is; NaN stays.
template <class V>
class Limits {
 public:
  MLEXT_INLINE explicit Limits(typename V::Scalar top)
      : least_(top != 0 ? Scalar(0) : -kInfinity), most_(top != 0 ? top : kInfinity) {}
  MLEXT_INLINE V operator()(V v) const { return min(most_, max(least_, v)); }

 private:
  using Scalar = typename V::Scalar;
  static constexpr Scalar kInfinity = static_cast<Scalar>(__builtin_inf());
  V least_, most_;
};

// A row folded into one number: step(sum, i, part) adds what belongs to one vector. Four chains of at most 32 additions,
// then the blocks in double: a row of 100,000 floats has an error of a few u.
template <class V, class F>
MLEXT_INLINE typename V::Scalar row_fold(index n, F step) {
  constexpr index kBlock = 4 * 32 * V::N;
  double total = 0;
  index i = 0;
  V a = V::zero(), b = a, c = a, d = a;
  while (n - i >= 4 * V::N) {
    const index end = n - i < kBlock ? n : i + kBlock;
    for (; i + 4 * V::N <= end; i += 4 * V::N) {
      a = step(a, i, Whole{});
      b = step(b, i + V::N, Whole{});
      c = step(c, i + 2 * V::N, Whole{});
      d = step(d, i + 3 * V::N, Whole{});
    }
    if (n - i < 4 * V::N) break;
    total += static_cast<double>(reduce_add((a + b) + (c + d)));
    a = b = c = d = V::zero();
  }
  for (; i + V::N <= n; i += V::N) a = step(a, i, Whole{});
  if (i < n) b = keep(step(b, i, n - i), b, n - i);
  const auto rest = reduce_add((a + b) + (c + d));
  return n < kBlock ? rest : static_cast<typename V::Scalar>(total + static_cast<double>(rest));
}

// The sum of term(i, part).
template <class V, class F>
MLEXT_INLINE typename V::Scalar row_sum(index n, F term) {
  return row_fold<V>(n, [&](V sum, index i, auto part) { return sum + term(i, part); });
}
// The sum of term(i, part)^2.
template <class V, class F>
MLEXT_INLINE typename V::Scalar row_squares(index n, F term) {
  return row_fold<V>(n, [&](V sum, index i, auto part) {
    const V v = term(i, part);
    return fma(v, v, sum);
  });
}

}  // namespace mlext::MLEXT_LEVEL
