// The normal distribution (Box and Muller 1958), bit for bit the same at every ISA level.
//
// IEEE 754 fixes the result of + - * / sqrt; levels could only differ by which products the compiler fuses into an
// addition. So here no product is fused: each goes through `mul`, which hides it from the compiler. That costs a second
// instruction per term against fma, and nothing against doing the work in double.
#pragma once

#include "simd/math_log.h"
#include "simd/math_trig.h"

namespace mlext::MLEXT_LEVEL {

template <class T>
MLEXT_INLINE Vec<T> mul(Vec<T> a, Vec<T> b) {
  Vec<T> p = a * b;
#if defined(__x86_64__) || defined(__i386__)
  asm("" : "+v"(p.v));
#elif defined(__aarch64__)
  asm("" : "+w"(p.v));
#else
  asm("" : "+m"(p.v));
#endif
  return p;
}

template <int i = 0, class T, int count>
MLEXT_INLINE Vec<T> unfused(Vec<T> x, const T (&c)[count]) {
  if constexpr (i == count - 1) {
    return Vec<T>(c[i]);
  } else {
    return mul(unfused<i + 1>(x, c), x) + Vec<T>(c[i]);
  }
}

// log(1 + f) - f, in the forms of simd/math_log.h.
MLEXT_INLINE Vec<float> unfused_log_tail(Vec<float> f) {
  return mul(mul(f, f), mul(f, unfused(f, LogData<float>::kLog)) + Vec<float>(-0.5f));
}
MLEXT_INLINE Vec<double> unfused_log_tail(Vec<double> f) {
  const Vec<double> s = f / (f + Vec<double>(2.0)), z = mul(s, s);
  const Vec<double> half_square = mul(mul(f, f), Vec<double>(0.5));
  return mul(s, mul(z, unfused(z, LogData<double>::kLog)) + half_square) - half_square;
}

// sqrt(-2 log u) for normal u in (0, 1].
template <class T>
MLEXT_INLINE Vec<T> radius(Vec<T> u) {
  const IVec<T> base = bits(Vec<T>(LogData<T>::kSqrtHalf));
  const IVec<T> e = (bits(u) - base) >> Limits<T>::kMantissa;
  const Vec<T> f = from_bits(bits(u) - (e << Limits<T>::kMantissa)) - Vec<T>(T(1));
  const Vec<T> log_u = mul(to_float(e), Vec<T>(T(0.69314718055994530942))) + (f + unfused_log_tail(f));
  // log u may round to a tiny positive number next to u = 1: max keeps sqrt from NaN.
  return sqrt(max(mul(log_u, Vec<T>(T(-2))), Vec<T>::zero()));
}

// cos and sin of 2 pi turn for turn in [0, 1); the reduction to a quarter is exact.
template <class T>
MLEXT_INLINE void cos_sin(Vec<T> turn, Vec<T>& c, Vec<T>& s) {
  const Vec<T> quarter = round(mul(turn, Vec<T>(T(4))));
  const Vec<T> r = mul(turn - mul(quarter, Vec<T>(T(0.25))), Vec<T>(T(6.28318530717958647693)));
  const Vec<T> z = mul(r, r);
  const Vec<T> sine = mul(mul(r, z), unfused(z, TrigData<T>::kSin)) + r;
  const Vec<T> cosine = mul(mul(z, z), unfused(z, TrigData<T>::kCos)) + (Vec<T>(T(1)) - mul(z, Vec<T>(T(0.5))));
  using Int = typename IntOf<T>::Int;
  const IVec<T> q = to_int(quarter), one(Int(1)), two(Int(2));
  const Mask<T> odd = (q & one) == one;
  constexpr int kSign = sizeof(T) * 8 - 2;  // moves bit 1 to the sign bit
  c = from_bits(bits(select(odd, sine, cosine)) ^ (((q + one) & two) << kSign));
  s = from_bits(bits(select(odd, cosine, sine)) ^ ((q & two) << kSign));
}

// u in (0, 1] from a lane of random bits, with as much resolution near 0 as the type has: the tail reaches 6.6 sigma in
// float32 and 8.6 in float64.
MLEXT_INLINE Vec<float> open_unit(IVec<float> w) {
  const Vec<float> i = __builtin_convertvector(shift_right(w, 1).v, typename Isa<float>::Native);
  return mul(i + Vec<float>(0.5f), Vec<float>(0x1p-31f));
}
// u in [0, 1): 24 or 52 bits.
MLEXT_INLINE Vec<float> unit(IVec<float> w) {
  const Vec<float> i = __builtin_convertvector(shift_right(w, 8).v, typename Isa<float>::Native);
  return mul(i, Vec<float>(0x1p-24f));
}
MLEXT_INLINE Vec<double> unit(IVec<double> w) {
  return from_bits(shift_right(w, 12) | bits(Vec<double>(1.0))) - Vec<double>(1.0);
}
MLEXT_INLINE Vec<double> open_unit(IVec<double> w) { return unit(w) + Vec<double>(0x1p-53); }

template <int odd, class I, int... i>
MLEXT_INLINE I every_second(I a, I b, Lanes<i...>) {
  return __builtin_shufflevector(a, b, (2 * i + odd)...);
}
template <int upper, class I, int... i>
MLEXT_INLINE I interleave(I a, I b, Lanes<i...>) {
  constexpr int n = sizeof...(i);
  return __builtin_shufflevector(a, b, (i % 2 * n + i / 2 + upper * (n / 2))...);
}

// Neighbours 2 k and 2 k + 1 share a radius: two vectors of random bits become two of standard normal numbers.
template <class T>
MLEXT_INLINE void box_muller(IVec<T> first, IVec<T> second, Vec<T>& low, Vec<T>& high) {
  using AllLanes = typename Isa<T>::AllLanes;
  const IVec<T> u = every_second<0>(first.v, second.v, AllLanes{}),
                angle = every_second<1>(first.v, second.v, AllLanes{});
  const Vec<T> r = radius(open_unit(u));
  Vec<T> c, s;
  cos_sin(unit(angle), c, s);
  const Vec<T> a = mul(r, c), b = mul(r, s);
  low = interleave<0>(a.v, b.v, AllLanes{});
  high = interleave<1>(a.v, b.v, AllLanes{});
}

}  // namespace mlext::MLEXT_LEVEL
