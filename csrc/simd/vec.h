// Vec<float> and Vec<double>: one register of the ISA level being compiled, and the operations
// kernels are written in.
//
// Everything lives in namespace mlext::MLEXT_LEVEL, so the symbols of two levels never meet in the
// linker. A level provides Isa<float> and Isa<double> (vec_<level>.h); this file puts the same face
// on all of them.
//
// clang-format off
// Vec<T>, N lanes:
//   Vec(x), Vec::zero()       broadcast
//   load(p)  load(p, n)  load(p, n, fill)    the first n lanes (0 <= n <= N), the others 0 or fill;
//   store(p)  store(p, n)     no byte past n is touched, p needs no alignment
//   stream(p)                 non-temporal, p aligned to sizeof(Vec); fence() after the last one
//       Vec<float> also loads bf16 f16 int8 uint8 bool int32 and stores bf16 f16 (round to nearest
//       even, NaN stays NaN); Vec<double> also loads float int32 int64 and stores float.
//   + - * / unary-  += -= *= /=
//   fma(a, b, c)              a * b + c, with one rounding where kFma<T>, else with two
//   min(a, b)  max(a, b)      a < b ? a : b and a > b ? a : b, so b where either is NaN
//   min_nan  max_nan          the same, but NaN where either is NaN
//   reciprocal(x)             1 / x to 1 ulp for 1 <= |x| <= 2^126; NaN stays NaN
//   abs  sqrt  round (to nearest even)  floor  copysign(magnitude, sign)
//   scale(x, n)               x * 2^n rounded once, for integral |n| <= 160 (double: 1100) and
//                             2^-20 <= |x| <= 2^20, or any x where n = 0
//   scale(mask, x, n)         the same where set, else 0 at no cost: a result that underflows takes a CPU 150 cycles
//   < <= > >= == !=  is_nan  not_less(a, b) (true where either is NaN)   give Mask<T>; select(mask, a, b): a where set, else b
//   reduce_add  reduce_max  reduce_min       a fixed tree: lanes i and i ^ N/2 first, then i ^ N/4
//                             and so on; the last two give NaN where any lane is NaN
// Mask<T>: & | ^ !  Mask::first(n)  bits() (lane 0 is bit 0)  any(m)  all(m)
// IVec<T>, signed lanes of T's width (int32 for float, int64 for double):
//   + - & | ^ ~  << n  >> n (arithmetic)  shift_right(i, n) (logical)  == > <  select
//   bits(x)  from_bits(i)     reinterpret
//   to_int(x)  to_float(i)    convert integral values below 2^22 (double: 2^51) in magnitude
// clang-format on
#pragma once

#include "core/types.h"

#ifndef MLEXT_LEVEL
#error "csrc/simd is for *.simd.cpp: compile with -DMLEXT_LEVEL=<level>"
#endif

#define MLEXT_INLINE inline __attribute__((always_inline))

#include "simd/vec_portable.h"
#if defined(__AVX512F__)
#include "simd/vec_avx512.h"
#elif defined(__AVX2__)
#include "simd/vec_avx2.h"
#else
namespace mlext::MLEXT_LEVEL {
template <>
struct Isa<float> : Portable<float, 16> {};
template <>
struct Isa<double> : Portable<double, 16> {};
MLEXT_INLINE void fence() { portable_fence(); }
}  // namespace mlext::MLEXT_LEVEL
#endif

namespace mlext::MLEXT_LEVEL {

template <class T>
inline constexpr bool kFma = Isa<T>::kFma;

template <class T>
struct Mask {
  using I = Isa<T>;
  typename I::MNative m;

  static MLEXT_INLINE Mask first(index n) { return {I::mask_first(n)}; }
  MLEXT_INLINE unsigned bits() const { return I::mask_bits(m); }

  friend MLEXT_INLINE Mask operator&(Mask a, Mask b) { return {I::mask_and(a.m, b.m)}; }
  friend MLEXT_INLINE Mask operator|(Mask a, Mask b) { return {I::mask_or(a.m, b.m)}; }
  friend MLEXT_INLINE Mask operator^(Mask a, Mask b) { return {I::mask_xor(a.m, b.m)}; }
  friend MLEXT_INLINE Mask operator!(Mask a) { return {I::mask_not(a.m)}; }
  friend MLEXT_INLINE bool any(Mask a) { return a.bits() != 0; }
  friend MLEXT_INLINE bool all(Mask a) { return a.bits() == (1u << I::N) - 1; }
};

template <class T>
struct Vec;

template <class T>
struct IVec {
  using I = Isa<T>;
  using Int = typename I::Int;
  static constexpr index N = I::N;
  typename I::INative v;

  IVec() = default;
  MLEXT_INLINE IVec(typename I::INative native) : v(native) {}
  MLEXT_INLINE IVec(Int x) : v(x - typename I::INative{}) {}
  MLEXT_INLINE IVec(typename I::UNative wrapped) : v(reinterpret_cast<typename I::INative>(wrapped)) {}
  MLEXT_INLINE typename I::UNative wrapping() const { return I::as_unsigned(v); }

  // Sums and left shifts wrap, as the hardware does.
  friend MLEXT_INLINE IVec operator+(IVec a, IVec b) { return a.wrapping() + b.wrapping(); }
  friend MLEXT_INLINE IVec operator-(IVec a, IVec b) { return a.wrapping() - b.wrapping(); }
  friend MLEXT_INLINE IVec operator&(IVec a, IVec b) { return a.v & b.v; }
  friend MLEXT_INLINE IVec operator|(IVec a, IVec b) { return a.v | b.v; }
  friend MLEXT_INLINE IVec operator^(IVec a, IVec b) { return a.v ^ b.v; }
  friend MLEXT_INLINE IVec operator~(IVec a) { return ~a.v; }
  friend MLEXT_INLINE IVec operator<<(IVec a, int n) { return a.wrapping() << n; }
  friend MLEXT_INLINE IVec operator>>(IVec a, int n) { return I::shift_right_arithmetic(a.v, n); }
  friend MLEXT_INLINE IVec shift_right(IVec a, int n) { return a.wrapping() >> n; }
  friend MLEXT_INLINE Mask<T> operator==(IVec a, IVec b) { return {I::ieq(a.v, b.v)}; }
  friend MLEXT_INLINE Mask<T> operator>(IVec a, IVec b) { return {I::igt(a.v, b.v)}; }
  friend MLEXT_INLINE Mask<T> operator<(IVec a, IVec b) { return {I::igt(b.v, a.v)}; }
  friend MLEXT_INLINE IVec select(Mask<T> m, IVec a, IVec b) {
    return reinterpret_cast<typename I::INative>(
        I::select(m.m, reinterpret_cast<typename I::Native>(a.v), reinterpret_cast<typename I::Native>(b.v)));
  }
  friend MLEXT_INLINE Vec<T> from_bits(IVec a) { return reinterpret_cast<typename I::Native>(a.v); }
  friend MLEXT_INLINE Vec<T> to_float(IVec a) {
    const Vec<T> magic(Vec<T>::kMagic);
    return from_bits(a + bits(magic)) - magic;
  }
};

template <class T>
struct Vec {
  using Scalar = T;
  using I = Isa<T>;
  static constexpr index N = I::N;
  typename I::Native v;

  Vec() = default;
  MLEXT_INLINE Vec(typename I::Native native) : v(native) {}
  MLEXT_INLINE Vec(T x) : v(I::broadcast(x)) {}

  static MLEXT_INLINE Vec zero() { return typename I::Native{}; }
  template <class S>
  static MLEXT_INLINE Vec load(const S* p) {
    return I::load(p);
  }
  template <class S>
  static MLEXT_INLINE Vec load(const S* p, index n) {
    return I::load(p, n);
  }
  template <class S>
  static MLEXT_INLINE Vec load(const S* p, index n, T fill) {
    return I::select(I::mask_first(n), I::load(p, n), I::broadcast(fill));
  }
  template <class S>
  MLEXT_INLINE void store(S* p) const {
    I::store(p, v);
  }
  template <class S>
  MLEXT_INLINE void store(S* p, index n) const {
    I::store(p, v, n);
  }
  MLEXT_INLINE void stream(T* p) const { I::stream(p, v); }

  friend MLEXT_INLINE Vec operator+(Vec a, Vec b) { return a.v + b.v; }
  friend MLEXT_INLINE Vec operator-(Vec a, Vec b) { return a.v - b.v; }
  friend MLEXT_INLINE Vec operator*(Vec a, Vec b) { return a.v * b.v; }
  friend MLEXT_INLINE Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  friend MLEXT_INLINE Vec operator-(Vec a) { return -a.v; }
  MLEXT_INLINE Vec& operator+=(Vec b) { return *this = *this + b; }
  MLEXT_INLINE Vec& operator-=(Vec b) { return *this = *this - b; }
  MLEXT_INLINE Vec& operator*=(Vec b) { return *this = *this * b; }
  MLEXT_INLINE Vec& operator/=(Vec b) { return *this = *this / b; }
  friend MLEXT_INLINE Vec fma(Vec a, Vec b, Vec c) { return I::fma(a.v, b.v, c.v); }

  friend MLEXT_INLINE Mask<T> operator<(Vec a, Vec b) { return {I::lt(a.v, b.v)}; }
  friend MLEXT_INLINE Mask<T> operator<=(Vec a, Vec b) { return {I::le(a.v, b.v)}; }
  friend MLEXT_INLINE Mask<T> operator>(Vec a, Vec b) { return {I::lt(b.v, a.v)}; }
  friend MLEXT_INLINE Mask<T> operator>=(Vec a, Vec b) { return {I::le(b.v, a.v)}; }
  friend MLEXT_INLINE Mask<T> operator==(Vec a, Vec b) { return {I::eq(a.v, b.v)}; }
  friend MLEXT_INLINE Mask<T> operator!=(Vec a, Vec b) { return {I::ne(a.v, b.v)}; }
  friend MLEXT_INLINE Mask<T> not_less(Vec a, Vec b) { return {I::not_lt(a.v, b.v)}; }
  friend MLEXT_INLINE Mask<T> is_nan(Vec a) { return {I::ne(a.v, a.v)}; }
  friend MLEXT_INLINE Vec select(Mask<T> m, Vec a, Vec b) { return I::select(m.m, a.v, b.v); }

  friend MLEXT_INLINE Vec min(Vec a, Vec b) { return I::min(a.v, b.v); }
  friend MLEXT_INLINE Vec max(Vec a, Vec b) { return I::max(a.v, b.v); }
  friend MLEXT_INLINE Vec min_nan(Vec a, Vec b) { return select(is_nan(a), a, min(a, b)); }
  friend MLEXT_INLINE Vec max_nan(Vec a, Vec b) { return select(is_nan(a), a, max(a, b)); }
  friend MLEXT_INLINE Vec sqrt(Vec a) { return I::sqrt(a.v); }
  friend MLEXT_INLINE Vec reciprocal(Vec a) { return I::reciprocal(a.v); }
  friend MLEXT_INLINE Vec round(Vec a) { return I::round(a.v); }
  friend MLEXT_INLINE Vec floor(Vec a) { return I::floor(a.v); }
  friend MLEXT_INLINE Vec scale(Vec a, Vec n) { return I::scale(a.v, n.v); }
  friend MLEXT_INLINE Vec scale(Mask<T> m, Vec a, Vec n) { return I::scale_where(m.m, a.v, n.v); }

  friend MLEXT_INLINE IVec<T> bits(Vec a) { return reinterpret_cast<typename I::INative>(a.v); }
  friend MLEXT_INLINE Vec abs(Vec a) { return from_bits(bits(a) & ~bits(Vec(T(-0.0)))); }
  friend MLEXT_INLINE Vec sign_of(Vec a) { return from_bits(bits(a) & bits(Vec(T(-0.0)))); }
  friend MLEXT_INLINE Vec copysign(Vec a, Vec s) { return from_bits(bits(abs(a)) | bits(sign_of(s))); }
  // The bits of a with sign's sign bit flipped in: a * +-1 without the multiplication.
  friend MLEXT_INLINE Vec xorsign(Vec a, Vec sign) { return from_bits(bits(a) ^ bits(sign_of(sign))); }

  // Adding 1.5 * 2^mantissa leaves the integer in the low bits; exact in the stated range at every
  // level (AVX2 has no int64 <-> double instruction).
  static constexpr T kMagic = sizeof(T) == 4 ? T(12582912.0) : T(6755399441055744.0);
  friend MLEXT_INLINE IVec<T> to_int(Vec a) { return bits(a + Vec(kMagic)) - bits(Vec(kMagic)); }

  friend MLEXT_INLINE T reduce_add(Vec a) {
    return I::fold(a.v, [](auto x, auto y) { return x + y; });
  }
  friend MLEXT_INLINE T reduce_max(Vec a) {
    return I::fold(a.v, [](auto x, auto y) { return max_nan(Vec(x), Vec(y)).v; });
  }
  friend MLEXT_INLINE T reduce_min(Vec a) {
    return I::fold(a.v, [](auto x, auto y) { return min_nan(Vec(x), Vec(y)).v; });
  }
};

}  // namespace mlext::MLEXT_LEVEL
