// log, log2, log1p, softplus.
#pragma once

#include "simd/math_exp.h"

namespace mlext::MLEXT_LEVEL {

// log(1 + f) - f on [sqrt(1/2) - 1, sqrt(2) - 1]. float: f^2 (f p(f) - 1/2), relative error of the
// logarithm 2^-27.3 and no division. double would need 20 coefficients that way; with s = f / (2 +
// f) it needs 7 (2^-59.5), in the form of Tang's and fdlibm's: f^2/2 is exact enough to carry the
// large part.
template <class T>
struct LogData;
template <>
struct LogData<float> {
  static constexpr float kSqrtHalf = 0x1.6a09e6p-1f, kRescale = 0x1p24f, kRescaleLog2 = 24.0f;
  static constexpr float kLog[] = {0x1.555554p-2f, -0x1.00022ap-2f, 0x1.999ff4p-3f, -0x1.547170p-3f,
                                   0x1.22dd5ep-3f, -0x1.0d9114p-3f, 0x1.05435ep-3f, -0x1.38331cp-4f};
};
template <>
struct LogData<double> {
  static constexpr double kSqrtHalf = 0x1.6a09e667f3bcdp-1, kRescale = 0x1p54, kRescaleLog2 = 54.0;
  static constexpr double kLog[] = {0x1.5555555555593p-1, 0x1.999999997f9a9p-2, 0x1.2492494231f3ap-2,
                                    0x1.c71c51cf7b1f3p-3, 0x1.74664bc011fb9p-3, 0x1.39a058380c915p-3,
                                    0x1.2f143312fe6f9p-3};
};

MLEXT_INLINE Vec<float> log1p_tail(Vec<float> f) {
  return (f * f) * fma(f, polynomial(f, LogData<float>::kLog), Vec<float>(-0.5f));
}
MLEXT_INLINE Vec<double> log1p_tail(Vec<double> f) {
  const Vec<double> s = f / (f + Vec<double>(2.0)), z = s * s;
  const Vec<double> half_square = f * f * Vec<double>(0.5);
  return fma(s, fma(z, polynomial(z, LogData<double>::kLog), half_square), -half_square);
}

// x = 2^e m with m in [sqrt(1/2), sqrt(2)) for positive finite x, subnormal too; anything at all
// for other x.
template <class T>
struct Split {
  Vec<T> e, m;
};
template <class T>
MLEXT_INLINE Split<T> split(Vec<T> x) {
  using D = LogData<T>;
#if defined(__AVX512F__)
  const Split<T> s = {Vec<T>(Isa<T>::exponent(x.v)), Vec<T>(Isa<T>::mantissa(x.v))};  // m in [1, 2)
  const Mask<T> large = s.m >= Vec<T>(T(2) * D::kSqrtHalf);
  return {select(large, s.e + Vec<T>(T(1)), s.e), select(large, s.m * Vec<T>(T(0.5)), s.m)};
#else
  const Mask<T> tiny = x < Vec<T>(Limits<T>::kMinNormal);
  x = select(tiny, x * Vec<T>(D::kRescale), x);
  // Subtracting the bits of sqrt(1/2) moves the exponent's step there.
  const IVec<T> i = bits(x) - bits(Vec<T>(D::kSqrtHalf));
  const IVec<T> e = i >> Limits<T>::kMantissa;
  const Vec<T> m = from_bits(bits(x) - (e << Limits<T>::kMantissa));
  return {to_float(e) - select(tiny, Vec<T>(D::kRescaleLog2), Vec<T>::zero()), m};
#endif
}

// Infinity and NaN for themselves, -infinity at zero, NaN below.
template <class T>
MLEXT_INLINE Vec<T> log_special(Vec<T> x, Vec<T> result) {
  const Vec<T> zero = Vec<T>::zero(), infinity(Limits<T>::kInfinity);
  result = select(x < infinity, result, x);
  return select(x > zero, result, select(x == zero, -infinity, Vec<T>(Limits<T>::kNaN)));
}

// e ln 2 + f + tail, the sum of the two large parts kept exactly: e * kLn2Hi is exact.
template <class T>
MLEXT_INLINE Vec<T> log_sum(Vec<T> e, Vec<T> f, Vec<T> tail) {
  const auto [hi, lo] = fast_two_sum(e * Vec<T>(ExpData<T>::kLn2Hi), f);
  return hi + (lo + fma(e, Vec<T>(ExpData<T>::kLn2Lo), tail));
}

template <class T>
MLEXT_INLINE Vec<T> log(Vec<T> x) {
  const auto [e, m] = split(x);
  const Vec<T> f = m - Vec<T>(T(1));
  return log_special(x, log_sum(e, f, log1p_tail(f)));
}

// log2(1 + f) = u log2(e) with u = f + tail as a pair; log2(e) = 1 + 0.44..., so that the large
// part of the product is u.
template <class T>
MLEXT_INLINE Vec<T> log2(Vec<T> x) {
  const auto [e, m] = split(x);
  const Vec<T> f = m - Vec<T>(T(1));
  const auto [u, u_lo] = fast_two_sum(f, log1p_tail(f));
  const Vec<T> small = fma(u, Vec<T>(T(0.44269504088896340736)), u_lo * Vec<T>(ExpData<T>::kLog2e));
  const auto [hi, lo] = fast_two_sum(e, u);
  return log_special(x, hi + (lo + small));
}

// log(1 + x): the rounding error c of u = 1 + x is added back as c / u. c is at most half an ulp,
// so a linear approximation of 1 / m (within 0.18) costs less than 0.1 ulp.
template <class T>
MLEXT_INLINE Vec<T> log1p(Vec<T> x) {
  const Vec<T> one(T(1)), zero = Vec<T>::zero();
  const Vec<T> u = x + one;
  const auto [e, m] = split(u);
  const Vec<T> c = select(x > one, one - (u - x), x - (u - one));
  const Mask<T> exact = e == zero;
  const Vec<T> f = select(exact, x, m - one);
  const Vec<T> inverse = fma(f, Vec<T>(T(-0.83)), one);
  const Mask<T> negligible = x > Vec<T>(T(0x1p100));
  const Vec<T> correction = select(exact | negligible, zero, c * inverse * power_of_two(Vec<T>(Vec<T>::kMagic) - e));
  const Vec<T> y = log_sum(e, f, log1p_tail(f) + correction);
  return log_special(u, select(x == zero, x, y));
}

// max(x, 0) + log(1 + z) with z = e^-|x|: log1p as above for 0 <= z <= 1, where only two exponents
// of 1 + z and no special values occur.
template <class T>
MLEXT_INLINE Vec<T> softplus(Vec<T> x) {
  const Vec<T> one(T(1)), half(T(0.5)), zero = Vec<T>::zero();
  const Vec<T> z = exp(-abs(x)), u = one + z, c = z - (u - one);
  const Mask<T> large = u >= Vec<T>(T(2) * LogData<T>::kSqrtHalf);
  const Vec<T> f = select(large, u * half - one, z);
  const Vec<T> correction = select(large, c * half * fma(f, Vec<T>(T(-0.83)), one), zero);
  const Vec<T> y = log_sum(select(large, one, zero), f, log1p_tail(f) + correction);
  return select(is_nan(x), x, max(x, zero) + y);
}

}  // namespace mlext::MLEXT_LEVEL
