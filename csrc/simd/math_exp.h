// exp, exp2, expm1, and what is one exponential away: tanh, sigmoid.
#pragma once

#include "simd/math_common.h"

namespace mlext::MLEXT_LEVEL {

// e^r = 1 + r + r^2 q(r) for |r| <= ln(2)/2; 2^r = 1 + r q2(r) for |r| <= 1/2; relative errors
// 2^-28.1 and 2^-28.3 (float), 2^-57.7 (double). kExpm1: the same form as q, for the relative error
// of e^r - 1 (2^-26, 2^-61.5). kLn2Hi has so few bits that n * kLn2Hi is exact for every exponent
// n, so the reduction needs no fma.
template <class T>
struct ExpData;
template <>
struct ExpData<float> {
  static constexpr float kMax = 89.0f, kMin = -104.0f, kMax2 = 129.0f, kMin2 = -152.0f, kMinExpm1 = -18.0f;
  static constexpr float kLog2e = 0x1.715476p+0f, kLn2Hi = 0x1.62e4p-1f, kLn2Lo = 0x1.7f7d1cp-20f;
  static constexpr float kExp[] = {0x1.fffffcp-2f, 0x1.55548ap-3f, 0x1.5558a8p-5f, 0x1.123f76p-7f, 0x1.6a5fb2p-10f};
  static constexpr float kExp2[] = {0x1.62e430p-1f, 0x1.ebfbdcp-3f,  0x1.c6af78p-5f,
                                    0x1.3b2dd4p-7f, 0x1.5f0ac2p-10f, 0x1.417a1cp-13f};
  static constexpr float kExpm1[] = {0x1.fffffep-2f, 0x1.5554a8p-3f, 0x1.555710p-5f, 0x1.122decp-7f, 0x1.6b8158p-10f};
};
template <>
struct ExpData<double> {
  static constexpr double kMax = 710.0, kMin = -746.0, kMax2 = 1025.0, kMin2 = -1080.0, kMinExpm1 = -40.0;
  static constexpr double kLog2e = 0x1.71547652b82fep+0, kLn2Hi = 0x1.62e42fefa38p-1, kLn2Lo = 0x1.ef35793c76730p-45;
  static constexpr double kExp[] = {0x1.000000000000bp-1,  0x1.55555555554f9p-3,  0x1.5555555550078p-5,
                                    0x1.1111111127923p-7,  0x1.6c16c185ea547p-10, 0x1.a01a012d98c2ap-13,
                                    0x1.a01995427aec3p-16, 0x1.71df187e31b8fp-19, 0x1.28b1ece05b28cp-22,
                                    0x1.ad9cd04928304p-26};
  static constexpr double kExp2[] = {0x1.62e42fefa39efp-1,  0x1.ebfbdff82c59ep-3,  0x1.c6b08d704a0d7p-5,
                                     0x1.3b2ab6fba0d5ap-7,  0x1.5d87fe78b29a4p-10, 0x1.4309130cdd2d8p-13,
                                     0x1.ffcbfc004331fp-17, 0x1.62bfcbcdf65d3p-20, 0x1.b525fa93d9cc2p-24,
                                     0x1.e61514e74d525p-28, 0x1.e82fe6451fb47p-32};
  static constexpr double kExpm1[] = {0x1.0000000000000p-1,  0x1.5555555555559p-3,  0x1.5555555555549p-5,
                                      0x1.111111110f5b3p-7,  0x1.6c16c16c1c818p-10, 0x1.a01a01b07282ap-13,
                                      0x1.a01a01852589cp-16, 0x1.71ddf6995b7bep-19, 0x1.27e52518a1f9ap-22,
                                      0x1.af62428efebbbp-26, 0x1.1f0112acd52bep-29};
};

// x = n ln 2 + r with |r| <= ln(2)/2. Rounding by adding a magic number costs two cheap operations
// where vrndscale costs two on one port, and leaves n in the low bits of t, which power_of_two
// shifts into the exponent.
template <class T>
struct ExpReduced {
  Vec<T> t, n, r;
};
template <class T>
MLEXT_INLINE ExpReduced<T> reduce_exp(Vec<T> x) {
  using D = ExpData<T>;
  const Vec<T> t = fma(x, Vec<T>(D::kLog2e), Vec<T>(Vec<T>::kMagic));
  const Vec<T> n = t - Vec<T>(Vec<T>::kMagic);
  return {t, n, fma(n, Vec<T>(-D::kLn2Lo), fma(n, Vec<T>(-D::kLn2Hi), x))};
}
// 2^n from t = n + kMagic, for results in the normal range.
template <class T>
MLEXT_INLINE Vec<T> power_of_two(Vec<T> t) {
  return from_bits((bits(t) << Limits<T>::kMantissa) + bits(Vec<T>(T(1))));
}
template <class T>
MLEXT_INLINE Vec<T> exp_polynomial(Vec<T> r) {
  const Vec<T> one(T(1)), q = polynomial(r, ExpData<T>::kExp);
  if constexpr (kFma<T>) {
    return fma(fma(q, r, one), r, one);
  } else {
    // One operation more, 0.2 ulp better where each product is rounded.
    return one + (r + r * r * q);
  }
}

template <class T>
MLEXT_INLINE Vec<T> exp(Vec<T> x) {
  using D = ExpData<T>;
  // Beyond the bounds the result is 0 or infinity anyway. x is the second operand, and the
  // comparison is the other way round, so that NaN passes.
  const auto [t, n, r] = reduce_exp(min(Vec<T>(D::kMax), x));
  return scale(not_less(x, Vec<T>(D::kMin)), exp_polynomial(r), n);
}

template <class T>
MLEXT_INLINE Vec<T> exp2(Vec<T> x) {
  using D = ExpData<T>;
  x = min(Vec<T>(D::kMax2), x);
  const Vec<T> n = (x + Vec<T>(Vec<T>::kMagic)) - Vec<T>(Vec<T>::kMagic);
  const Vec<T> r = x - n;
  return scale(not_less(x, Vec<T>(D::kMin2)), fma(polynomial(r, D::kExp2), r, Vec<T>(T(1))), n);
}

// e^x - 1 = 2^n (e^r - 1) + (2^n - 1). The reduction keeps the rounding error of r, which would
// otherwise be doubled at n = 1; and works with 2^(n-1) because 2^128 overflows where the result
// does not.
template <class T>
MLEXT_INLINE Vec<T> expm1(Vec<T> x) {
  using D = ExpData<T>;
  const Vec<T> half(T(0.5));
  const Vec<T> clamped = max(Vec<T>(D::kMinExpm1), min(Vec<T>(D::kMax), x));
  const Vec<T> t = fma(clamped, Vec<T>(D::kLog2e), Vec<T>(Vec<T>::kMagic));
  const Vec<T> n = t - Vec<T>(Vec<T>::kMagic);
  const Vec<T> a = fma(n, Vec<T>(-D::kLn2Hi), clamped), b = n * Vec<T>(D::kLn2Lo);
  const Vec<T> r = a - b, r_lo = (a - r) - b;
  const Vec<T> p = r + fma(r * r, polynomial(r, D::kExpm1), r_lo);
  const Vec<T> s = power_of_two(t - Vec<T>(T(1)));
  const Vec<T> scaled = fma(p, s, s - half);
  return copysign(select(n == Vec<T>::zero(), p, scaled + scaled), x);
}

// tanh x = x + x^3 p(x^2) below 0.55 (relative error 2^-29.7, 2^-60.3); above, 1 - 2 / (e^2x + 1),
// where the error of the quotient counts half or less. One exponential and one reciprocal.
template <class T>
struct TanhData;
template <>
struct TanhData<float> {
  static constexpr float kOne = 10.0f;  // tanh is 1 from 9.02 on
  static constexpr float kSmall[] = {-0x1.55554ap-2f, 0x1.110cf4p-3f, -0x1.b9202ap-5f, 0x1.58f740p-6f, -0x1.999caap-8f};
};
template <>
struct TanhData<double> {
  static constexpr double kOne = 20.0;  // from 19.07 on
  static constexpr double kSmall[] = {-0x1.555555555554ep-2,  0x1.111111111065fp-3,  -0x1.ba1ba1b96c48ap-5,
                                      0x1.664f4855aebb6p-6,   -0x1.226e2e9af901ep-7, 0x1.d6d28882f4c3ap-9,
                                      -0x1.7d8eddfd2e91ap-10, 0x1.347bc1cd78727p-11, -0x1.e91ea41953645p-13,
                                      0x1.5c8a05e39280cp-14,  -0x1.44c95dfcd79d2p-16};
};

template <class T>
MLEXT_INLINE Vec<T> tanh(Vec<T> x) {
  using D = TanhData<T>;
  const Vec<T> one(T(1));
  const Vec<T> a = abs(x), z = x * x;
  const Vec<T> clamped = min(Vec<T>(D::kOne), a);
  const auto [t, n, r] = reduce_exp(clamped + clamped);
  const Vec<T> large = fma(Vec<T>(T(-2)), reciprocal(fma(power_of_two(t), exp_polynomial(r), one)), one);
  const Vec<T> small = fma(z * a, polynomial(z, D::kSmall), a);
  return xorsign(select(a < Vec<T>(T(0.55)), small, large), x);
}

// With z = e^-|x|, which cannot overflow, and q = z / (1 + z): 1 - q for x >= 0 and z (1 - q)
// below. The error of q counts in proportion to z, where z / (1 + z) itself would carry it whole;
// gradual underflow is that of z.
template <class T>
MLEXT_INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> one(T(1));
  const Vec<T> a = -abs(x);
  const auto [t, n, r] = reduce_exp(a);
  const Vec<T> z = scale(not_less(a, Vec<T>(ExpData<T>::kMin)), exp_polynomial(r), n);
  const Vec<T> limit = select(x < Vec<T>::zero(), z, one);
  return fma(-limit, z * reciprocal(one + z), limit);
}

}  // namespace mlext::MLEXT_LEVEL
