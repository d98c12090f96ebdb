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

template <class V>
MLEXT_INLINE typename V::Scalar first_lane(V v) {
  typename V::Scalar lanes[V::N];
  v.store(lanes);
  return lanes[0];
}
template <class V>
MLEXT_INLINE V lowest() {
  return V(-typename V::Scalar(__builtin_inf()));
}

// The largest element of each lane; NaN is passed over: of softmax, it comes back through the exponentials.
template <class V, class S>
MLEXT_INLINE V lane_max(const S* x, index n) {
  V a = lowest<V>(), b = a, c = a, d = a;
  index i = 0;
  for (; i + 4 * V::N <= n; i += 4 * V::N) {
    a = max(V::load(x + i), a);
    b = max(V::load(x + i + V::N), b);
    c = max(V::load(x + i + 2 * V::N), c);
    d = max(V::load(x + i + 3 * V::N), d);
  }
  for (; i + V::N <= n; i += V::N) a = max(V::load(x + i), a);
  if (i < n) b = max(keep(get<V>(x + i, n - i), lowest<V>(), n - i), b);
  return max(max(a, b), max(c, d));
}
template <class V, class S>
MLEXT_INLINE typename V::Scalar row_max(const S* x, index n) {
  return reduce_max(lane_max<V>(x, n));
}

// A row folded into one vector, by four chains: step(sum, i, part) adds what belongs to one vector.
template <class V, class F>
MLEXT_INLINE V fold_lanes(index n, F step) {
  V a = V::zero(), b = a, c = a, d = a;
  index i = 0;
  for (; i + 4 * V::N <= n; i += 4 * V::N) {
    a = step(a, i, Whole{});
    b = step(b, i + V::N, Whole{});
    c = step(c, i + 2 * V::N, Whole{});
    d = step(d, i + 3 * V::N, Whole{});
  }
  for (; i + V::N <= n; i += V::N) a = step(a, i, Whole{});
  if (i < n) b = keep(step(b, i, n - i), b, n - i);
  return (a + b) + (c + d);
}

// The same into one number: chains of 32 additions, then the blocks in double. A row of 100,000 floats has an error of a
// few u.
template <class V, class F>
MLEXT_INLINE typename V::Scalar row_fold(index n, F step) {
  using T = typename V::Scalar;
  constexpr index kBlock = 4 * 32 * V::N;
  double total = 0;
  for (index begin = 0;; begin += kBlock) {
    const index count = n - begin < kBlock ? n - begin : kBlock;
    const T rest =
        reduce_add(fold_lanes<V>(count, [&](V sum, index i, auto part) { return step(sum, begin + i, part); }));
    if (begin + count == n) return begin == 0 ? rest : static_cast<T>(total + static_cast<double>(rest));
    total += static_cast<double>(rest);
  }
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
