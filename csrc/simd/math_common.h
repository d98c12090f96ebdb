// What the vector math files share: polynomials, exact products, constants by type.
#pragma once

#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

template <class T>
struct Limits;
template <>
struct Limits<float> {
  static constexpr int kMantissa = 23;
  static constexpr float kMinNormal = 0x1p-126f;
  static constexpr float kInfinity = __builtin_inff();
  static constexpr float kNaN = __builtin_nanf("");
};
template <>
struct Limits<double> {
  static constexpr int kMantissa = 52;
  static constexpr double kMinNormal = 0x1p-1022;
  static constexpr double kInfinity = __builtin_inf();
  static constexpr double kNaN = __builtin_nan("");
};

// c[0] + c[1] x + c[2] x^2 + ... by Horner's rule: the fewest operations. The chain's latency is
// hidden by the other iterations of the caller's loop, which are independent.
template <int i = 0, class T, int count>
MLEXT_INLINE Vec<T> polynomial(Vec<T> x, const T (&c)[count]) {
  if constexpr (i == count - 1) {
    return Vec<T>(c[i]);
  } else {
    return fma(polynomial<i + 1>(x, c), x, Vec<T>(c[i]));
  }
}

// An unevaluated sum hi + lo with |lo| <= ulp(hi) / 2 or so.
template <class T>
struct Pair {
  Vec<T> hi, lo;
};

// a + b exactly, for |a| >= |b| or a = 0.
template <class T>
MLEXT_INLINE Pair<T> fast_two_sum(Vec<T> a, Vec<T> b) {
  const Vec<T> s = a + b;
  return {s, (a - s) + b};
}

template <class T>
MLEXT_INLINE Pair<T> two_sum(Vec<T> a, Vec<T> b) {
  const Vec<T> s = a + b;
  const Vec<T> t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}

// a * b exactly; without fma by Dekker's splitting into half-length factors (|a|, |b| below 2^100
// there).
template <class T>
MLEXT_INLINE Pair<T> two_product(Vec<T> a, Vec<T> b) {
  const Vec<T> p = a * b;
  if constexpr (kFma<T>) {
    return {p, fma(a, b, -p)};
  } else {
    const Vec<T> splitter(sizeof(T) == 4 ? T(0x1p12 + 1) : T(0x1p27 + 1));
    const Vec<T> ca = splitter * a, cb = splitter * b;
    const Vec<T> ah = ca - (ca - a), bh = cb - (cb - b);
    const Vec<T> al = a - ah, bl = b - bh;
    return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
  }
}

}  // namespace mlext::MLEXT_LEVEL
