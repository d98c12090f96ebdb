// Vec<int32>: the lanes of Vec<float> as integers that wrap, for sums of small products.
#pragma once

#include "simd/pinned.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

template <>
struct Vec<std::int32_t> {
  using Scalar = std::int32_t;
  using I = Isa<float>;
  static constexpr index N = I::N;
  typename I::INative v;

  Vec() = default;
  MLEXT_INLINE Vec(typename I::INative native) : v(native) {}
  MLEXT_INLINE Vec(typename I::UNative wrapped) : v(reinterpret_cast<typename I::INative>(wrapped)) {}
  MLEXT_INLINE Vec(std::int32_t x) : v(IVec<float>(x).v) {}
  MLEXT_INLINE typename I::UNative wrapping() const { return I::as_unsigned(v); }

  static MLEXT_INLINE Vec zero() { return typename I::INative{}; }
  static MLEXT_INLINE Vec load(const std::int32_t* p) { return bits(Vec<float>::load(floats(p))).v; }
  static MLEXT_INLINE Vec load(const std::int32_t* p, index n) { return bits(Vec<float>::load(floats(p), n)).v; }
  // N bytes, widened. gcc 12 takes a vector conversion of them apart.
  static MLEXT_INLINE Vec load(const std::uint8_t* p) {
#if defined(__AVX512F__)
    return reinterpret_cast<typename I::INative>(
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
    return reinterpret_cast<typename I::INative>(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
    typename I::INative wide;
    for (index i = 0; i < N; ++i) wide[i] = p[i];
    return wide;
#endif
  }
  MLEXT_INLINE void store(std::int32_t* p) const { from_bits(IVec<float>(v)).store(floats(p)); }
  MLEXT_INLINE void store(std::int32_t* p, index n) const { from_bits(IVec<float>(v)).store(floats(p), n); }

  MLEXT_INLINE Vec& operator*=(Vec b) { return *this = wrapping() * b.wrapping(); }
  MLEXT_INLINE Vec& operator+=(Vec b) { return *this = wrapping() + b.wrapping(); }
  friend MLEXT_INLINE Vec fma(Vec a, Vec b, Vec c) { return a.wrapping() * b.wrapping() + c.wrapping(); }

 private:
  static MLEXT_INLINE const float* floats(const std::int32_t* p) { return reinterpret_cast<const float*>(p); }
  static MLEXT_INLINE float* floats(std::int32_t* p) { return reinterpret_cast<float*>(p); }
};

// A lane is a group of kGroup factors: four bytes, unsigned in a and signed in b, or two 16-bit integers each. Sums of their
// products are exact up to 2^31, and wrap.
#if defined(__AVX512VNNI__)
inline constexpr int kGroup = 4;
#else
inline constexpr int kGroup = 2;
#endif

// sum += the products of the factors of a and b; sum stays in its register (pinned.h).
MLEXT_INLINE void add_product(Vec<std::int32_t>& sum, Vec<std::int32_t> a, Vec<std::int32_t> b) {
#if MLEXT_PINNED && defined(__AVX512VNNI__)
  asm volatile("vpdpbusd %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
#elif MLEXT_PINNED
  Vec<std::int32_t> products;
  asm volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+v"(sum.v), "=&v"(products.v) : "v"(a.v), "v"(b.v));
#elif defined(__AVX512VNNI__)
  sum.v = reinterpret_cast<Vec<std::int32_t>::I::INative>(_mm512_dpbusd_epi32(
      reinterpret_cast<__m512i>(sum.v), reinterpret_cast<__m512i>(a.v), reinterpret_cast<__m512i>(b.v)));
#else
  using W = Vec<std::int32_t>;
  const IVec<float> x(a.v), y(b.v);
  sum = fma(W(((x << 16) >> 16).v), W(((y << 16) >> 16).v), fma(W((x >> 16).v), W((y >> 16).v), sum));
#endif
}

}  // namespace mlext::MLEXT_LEVEL
