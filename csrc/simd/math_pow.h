// pow(x, y) with C's special cases.
#pragma once

#include "simd/math_log.h"

namespace mlext::MLEXT_LEVEL {

// log((1 + s) / (1 - s)) = 2 s + s^3 (2/3 + s^2 q(s^2)), |s| <= 0.1716: relative errors 2^-36.8,
// 2^-66.3. The products with 2/3 and below are pairs, so log2 is good to 2^-31 (2^-62): y log2(x)
// may be as large as the exponent range, and its absolute error is the relative error of the
// result.
template <class T>
struct PowData;
template <>
struct PowData<float> {
  static constexpr float kQ[] = {0x1.999a00p-2f, 0x1.245272p-2f, 0x1.dfa590p-3f};
  static constexpr float kTwoThirdsHi = 0x1.555556p-1f, kTwoThirdsLo = -0x1.555556p-26f;
  static constexpr float kLog2eHi = 0x1.715476p+0f, kLog2eLo = 0x1.4ae0cp-26f;
  static constexpr float kMaxY = 0x1p60f;  // from here on only whether |x| is above, at or below 1 counts
};
template <>
struct PowData<double> {
  static constexpr double kQ[] = {0x1.9999999999b37p-2, 0x1.249249245700fp-2, 0x1.c71c722e96466p-3,
                                  0x1.745ce978f5e6bp-3, 0x1.3b1effa17a9c8p-3, 0x1.0f7e17adffa0fp-3,
                                  0x1.0e53e6a01bd08p-3};
  static constexpr double kTwoThirdsHi = 0x1.5555555555555p-1, kTwoThirdsLo = 0x1.5555555555555p-55;
  static constexpr double kLog2eHi = 0x1.71547652b82fep+0, kLog2eLo = 0x1.777d0ffda0d24p-56;
  static constexpr double kMaxY = 0x1p90;
};

// (a.hi + a.lo) * (b.hi + b.lo)
template <class T>
MLEXT_INLINE Pair<T> multiply(Pair<T> a, Pair<T> b) {
  const auto [hi, lo] = two_product(a.hi, b.hi);
  return {hi, lo + fma(a.hi, b.lo, a.lo * b.hi)};
}

// log2(x) as a pair, x positive and finite.
template <class T>
MLEXT_INLINE Pair<T> log2_pair(Vec<T> x) {
  using V = Vec<T>;
  using D = PowData<T>;
  const V one(T(1));
  const auto [e, m] = split(x);
  const V f = m - one, d = m + one;
  const V inverse = one / d, s_hi = f * inverse;
  // f - s d, where the rounding error of d = m + 1 counts too.
  const auto sd = two_product(s_hi, d);
  const V rest = ((f - sd.hi) - sd.lo) - s_hi * (m - (d - one));
  const Pair<T> s = {s_hi, rest * inverse};
  const Pair<T> z = multiply(s, s);
  const auto u = fast_two_sum(V(D::kTwoThirdsHi), z.hi * polynomial(z.hi, D::kQ));
  const Pair<T> w = multiply(s, multiply(z, Pair<T>{u.hi, u.lo + V(D::kTwoThirdsLo)}));
  const auto h = fast_two_sum(s.hi + s.hi, w.hi);
  const Pair<T> log_m = {h.hi, h.lo + (s.lo + s.lo + w.lo)};
  const Pair<T> p = multiply(log_m, Pair<T>{V(D::kLog2eHi), V(D::kLog2eLo)});
  const auto sum = fast_two_sum(e, p.hi);
  return fast_two_sum(sum.hi, sum.lo + p.lo);
}

// 2^(g.hi + g.lo), saturating.
template <class T>
MLEXT_INLINE Vec<T> exp2_pair(Pair<T> g) {
  using D = ExpData<T>;
  const Vec<T> hi = max(Vec<T>(D::kMin2), min(Vec<T>(D::kMax2), g.hi));
  const Vec<T> lo = select(hi == g.hi, g.lo, Vec<T>::zero());
  const Vec<T> n = (hi + Vec<T>(Vec<T>::kMagic)) - Vec<T>(Vec<T>::kMagic);
  const Vec<T> r = (hi - n) + lo;
  return scale(fma(polynomial(r, D::kExp2), r, Vec<T>(T(1))), n);
}

template <class T>
inline Vec<T> pow(Vec<T> x, Vec<T> y) {
  using V = Vec<T>;
  const V zero = V::zero(), one(T(1)), infinity(Limits<T>::kInfinity);
  const V a = abs(x), max_y(PowData<T>::kMaxY);
  const V bounded_y = max(-max_y, min(max_y, y));
  V result = exp2_pair(multiply(Pair<T>{bounded_y, zero}, log2_pair(a)));

  // |x| = 0, infinity or 1, |y| infinite: the limit is 0, 1 or infinity by the sign of y log|x|.
  const V direction = select(a < one, -y, y);
  const V limit = select(a == one, one, select(direction > zero, infinity, zero));
  result = select((a == zero) | (a == infinity) | (abs(y) == infinity), limit, result);

  // Negative x: odd integers keep the sign, other integers lose it, the rest has no real result.
  const V half_y = y * V(T(0.5));
  const Mask<T> integer = floor(y) == y;
  const Mask<T> odd = integer & (floor(half_y) != half_y);
  result = select(odd, xorsign(result, x), result);
  result = select((x < zero) & (a < infinity) & !integer, V(Limits<T>::kNaN), result);

  result = select(is_nan(x) | is_nan(y), x + y, result);
  return select((y == zero) | (x == one), one, result);
}

}  // namespace mlext::MLEXT_LEVEL
