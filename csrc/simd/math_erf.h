// erf, the normal distribution function and gelu.
#pragma once

#include "simd/math_exp.h"

namespace mlext::MLEXT_LEVEL {

// erf x = x + x p(x^2) for |x| < 1 (relative error 2^-29.3, 2^-56); above, 1 - exp(-g(x)) with g(x)
// = -log erfc(x) fitted for the absolute error of erf (2^-29.8, 2^-57). erfc(1) = 0.16 already, so
// g need not be accurate beyond T.
template <class T>
struct ErfData;
template <>
struct ErfData<float> {
  static constexpr float kOne = 4.0f;  // erf is 1 from 3.92 on
  static constexpr float kP[] = {0x1.06eba8p-3f, -0x1.81273ep-2f,  0x1.ce2cf0p-4f, -0x1.b7f858p-6f,
                                 0x1.53ff94p-8f, -0x1.a3c980p-11f, 0x1.48ee8ep-14f};
  static constexpr float kG[] = {0x1.65b430p-12f, 0x1.20890ap+0f, 0x1.46ba72p-1f,  0x1.a6571cp-4f,
                                 -0x1.65d3fep-6f, 0x1.826e84p-9f, -0x1.87019cp-13f};
};
template <>
struct ErfData<double> {
  static constexpr double kOne = 6.0;  // from 5.92 on
  static constexpr double kP[] = {0x1.06eba8214db68p-3,   -0x1.812746b0379b1p-2,  0x1.ce2f21a040837p-4,
                                  -0x1.b82ce311ebe05p-6,  0x1.565bccf7a2552p-8,   -0x1.c02db00bd4561p-11,
                                  0x1.f9a2b693549cfp-14,  -0x1.f4ca157af903fp-17, 0x1.b97de03a5aa12p-20,
                                  -0x1.5bfc360eed001p-23, 0x1.d6d52359e26c9p-27,  -0x1.aaebffa8b07f0p-31};
  static constexpr double kG[] = {0x1.0e3e08eac74e8p-21,  0x1.20dd1fbf53338p+0,   0x1.45f62805afcd0p-1,
                                  0x1.a4ac4ddc76b66p-4,   -0x1.37222970d0d56p-6,  -0x1.aeb70ea1b89c1p-12,
                                  0x1.f649d9c848f3dp-10,  -0x1.941819e86f304p-11, 0x1.1b5af0a6b2569p-13,
                                  0x1.5381c5afc16b6p-16,  -0x1.7eb50e4df32fbp-16, 0x1.22b60534b9ad7p-17,
                                  -0x1.1e8c12dd58f91p-19, 0x1.90b304f8af9cep-22,  -0x1.8ea48bfd5a1eap-25,
                                  0x1.0e47102bc6d6bp-28,  -0x1.c1900c070b3c7p-33, 0x1.5abb04e1158b7p-38};
};

template <class T>
MLEXT_INLINE Vec<T> erf(Vec<T> x) {
  using D = ErfData<T>;
  const Vec<T> one(T(1));
  const Vec<T> a = min(Vec<T>(D::kOne), abs(x));
  const Vec<T> small = fma(a, polynomial(a * a, D::kP), a);
  const auto [t, n, r] = reduce_exp(-polynomial(a, D::kG));
  const Vec<T> large = fma(-power_of_two(t), exp_polynomial(r), one);
  return xorsign(select(a < one, small, large), x);
}

// The standard normal distribution. |x| < 1: P(X < x) = 1/2 + x q(x^2), relative errors 2^-28.3 and
// 2^-58.3. The lower tail P(X < -a) = exp(-a^2/2) p(t) / (a + c) with t = (a - c) / (a + c),
// kCenter = c: 2^-27.4 on [1, 14.5] and 2^-54.1 on [1, 39], where x P underflows. A larger c would
// need fewer coefficients but count the quotient's rounding errors up to twice; float's is one
// whose first coefficient happens to be nearly a float. The square is kept as a pair: its rounding
// error would be multiplied by up to 100 (750). From kOne on P and its approximation by tanh round
// to 1; x above it is taken for it, since a tail that underflows would cost more than all the rest.
template <class T>
struct NormalData;
template <>
struct NormalData<float> {
  static constexpr float kMax = 14.5f, kMaxTanh = 11.5f, kOne = 6.0f;
  static constexpr float kQ[] = {0x1.988454p-2f,   -0x1.10585ep-4f, 0x1.46d462p-7f,
                                 -0x1.375a98p-10f, 0x1.e11138p-14f, -0x1.0df4bap-17f};
  static constexpr float kCenter = 2.78125f;
  static constexpr float kP[] = {0x1.70d2e0p-1f, -0x1.ea83cep-2f, 0x1.81f5aap-3f,   -0x1.4aa2a0p-6f, -0x1.067b1ep-6f,
                                 0x1.f01442p-9f, 0x1.351a94p-9f,  -0x1.dd5318p-12f, -0x1.7a400ap-12f};
  // 2 sqrt(2/pi) and that times 0.044715
  static constexpr float kC0 = 0x1.988454p+0f, kC0Lo = -0x1.857936p-25f;
  static constexpr float kC1 = 0x1.2444f2p-4f, kC1Lo = 0x1.49b16ap-29f;
  // the first again, with so few bits that what it is taken from leaves an exact difference
  static constexpr float kC0Short = 0x1.98845p+0f, kC0Rest = 0x1.9ea1b2p-23f;
};
template <>
struct NormalData<double> {
  static constexpr double kMax = 39.0, kMaxTanh = 23.0, kOne = 9.0;
  static constexpr double kQ[] = {0x1.9884533d43651p-2,   -0x1.1058377e2cf48p-4,  0x1.46d042976cc7dp-7,
                                  -0x1.37403f6c9b53dp-10, 0x1.e42b0d9c479c5p-14,  -0x1.3ce9015895d8dp-17,
                                  0x1.658ad95fda6ffp-21,  -0x1.622e564bb6c18p-25, 0x1.38dd5f9fdb0e7p-29,
                                  -0x1.f1aeca2f93093p-34, 0x1.3ecf0149a53a8p-38};
  static constexpr double kCenter = 3.0;
  static constexpr double kP[] = {
      0x1.754a751a56f4ap-1,   -0x1.04c7295a48f33p-1,  0x1.d71387c654a54p-3,  -0x1.832dbf6991f6ap-5,
      -0x1.56d8e3d73599ep-7,  0x1.c8f52c306e9c0p-8,   0x1.0d608bcc8877bp-10, -0x1.12285dbd9b20bp-10,
      -0x1.0d09b97428970p-12, 0x1.43c9194e10550p-13,  0x1.4a89ca2eac2efp-14, -0x1.bbe51125964cap-17,
      -0x1.5aaa59fc13186p-16, -0x1.e6b32ba96dffcp-19, 0x1.e59751185cd13p-19, 0x1.620d1ec752a20p-19,
      -0x1.00c8a0cb2282dp-22, -0x1.4507fbe0135dcp-20, 0x1.5761411420c8cp-21, 0x1.bb11ef4946d87p-24,
      -0x1.bbb02dba43000p-21, 0x1.88acd36ec8c34p-21,  -0x1.af22cacd68cafp-23};
  static constexpr double kC0 = 0x1.9884533d43651p+0, kC0Lo = -0x1.cbc0d30ebfd15p-54;
  static constexpr double kC1 = 0x1.2444f2a4d8b4bp-4, kC1Lo = -0x1.6c843a29d1c70p-61;
  static constexpr double kC0Short = 0x1.9884533d43660p+0, kC0Rest = -0x1.ee5e069875fe9p-49;
};

// f 2^n, with f and n apart so that a factor can come in before the scaling rounds a subnormal.
template <class T>
struct Scaled {
  Vec<T> f, n;
};
// e^-(v.hi + v.lo)
template <class T>
MLEXT_INLINE Scaled<T> exp_minus(Pair<T> v) {
  const auto [t, n, r] = reduce_exp(-v.hi);
  return {exp_polynomial(r - v.lo), n};
}

// -a b = n ln 2 + r. With fma the product needs no pair: it is rounded once, when n ln 2 is off and it is small.
template <class T>
MLEXT_INLINE Scaled<T> reduce_product(Vec<T> a, Vec<T> b) {
  using D = ExpData<T>;
  const Vec<T> magic(Vec<T>::kMagic);
  const Vec<T> n = fma(a * b, Vec<T>(-D::kLog2e), magic) - magic;
  return {fma(n, Vec<T>(-D::kLn2Lo), fma(-a, b, -(n * Vec<T>(D::kLn2Hi)))), n};
}

// e^(-a^2/2)
template <class T>
MLEXT_INLINE Scaled<T> exp_half_square(Vec<T> a) {
  const Vec<T> half(T(0.5));
  if constexpr (kFma<T>) {
    const auto [r, n] = reduce_product(half * a, a);
    return {exp_polynomial(r), n};
  } else {
    const auto square = two_product(a, a);
    return exp_minus(Pair<T>{square.hi * half, square.lo * half});
  }
}
template <class T>
MLEXT_INLINE Vec<T> normal_center(Vec<T> x) {
  return fma(x, polynomial(x * x, NormalData<T>::kQ), Vec<T>(T(0.5)));
}

// |x|, no more than what the lower or the upper tail needs.
template <class T>
MLEXT_INLINE Vec<T> tail_argument(Vec<T> x, T lower) {
  return min(select(x > Vec<T>::zero(), Vec<T>(NormalData<T>::kOne), Vec<T>(lower)), abs(x));
}

// P(X < x).
template <class T>
MLEXT_INLINE Vec<T> normal_cdf(Vec<T> x) {
  using D = NormalData<T>;
  const Vec<T> one(T(1)), center(D::kCenter), a = tail_argument(x, D::kMax);
  const auto [f, n] = exp_half_square(a);
  const Vec<T> inverse = one / (a + center);
  const Vec<T> tail =
      scale(not_less(x, Vec<T>(-D::kMax)), f * (polynomial((a - center) * inverse, D::kP) * inverse), n);
  return select(a < one, normal_center(x), select(x > Vec<T>::zero(), one - tail, tail));
}

// x P(X < x): the upper half from the lower tail, so both keep their relative accuracy; -infinity
// gives -0. The factor a goes into the quotient u = a / (a + c), from which t = 2 u - 1: two
// roundings less than with the function above.
template <class T>
MLEXT_INLINE Vec<T> gelu(Vec<T> x) {
  using D = NormalData<T>;
  const Vec<T> one(T(1)), a = tail_argument(x, D::kMax);
  const auto [f, n] = exp_half_square(a);
  const Vec<T> u = a / (a + Vec<T>(D::kCenter));
  // |x| P(X < -|x|)
  const Vec<T> tail = scale(not_less(x, Vec<T>(-D::kMax)), f * (polynomial(fma(u, Vec<T>(T(2)), -one), D::kP) * u), n);
  return select(a < one, x * normal_center(x), select(x > Vec<T>::zero(), x - tail, -tail));
}

// e^-v for v = 2 sqrt(2/pi) (a + 0.044715 a^3), 0 <= a <= kMaxTanh.
template <class T>
MLEXT_INLINE Scaled<T> exp_minus_cubic(Vec<T> a) {
  using V = Vec<T>;
  using D = NormalData<T>;
  if constexpr (kFma<T>) {
    const V c1(D::kC1), c0(D::kC0Short);
    const V square = a * a, w = fma(c1, square, c0);
    const V lo = fma(c1, fma(a, a, -square), fma(V(D::kC1Lo), square, V(D::kC0Rest) + fma(c1, square, c0 - w)));
    const auto [r, n] = reduce_product(a, w);
    return {exp_polynomial(fma(-a, lo, r)), n};
  }
  const auto square = two_product(a, a);
  const auto cubic = two_product(V(D::kC1), square.hi);
  auto w = two_sum(V(D::kC0), cubic.hi);
  w.lo += cubic.lo + fma(V(D::kC1), square.lo, fma(V(D::kC1Lo), square.hi, V(D::kC0Lo)));
  auto v = two_product(a, w.hi);
  v.lo = fma(a, w.lo, v.lo);
  return exp_minus(v);
}

// x sigmoid(v), with v as a pair or rounded late, for the same reason as the square above.
template <class T>
MLEXT_INLINE Vec<T> gelu_tanh(Vec<T> x) {
  using V = Vec<T>;
  using D = NormalData<T>;
  const V a = tail_argument(x, D::kMaxTanh);
  const auto [f, n] = exp_minus_cubic(a);
  const V q = V(T(1)) + scale(f, max(V(T(-64)), n));
  const V y = scale(not_less(x, V(-D::kMaxTanh)), a * f / q, n);
  return select(x > V::zero(), x - y, copysign(y, x));
}

}  // namespace mlext::MLEXT_LEVEL
