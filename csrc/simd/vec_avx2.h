// AVX2 + FMA + F16C: 32-byte vectors. Masks are vectors; partial loads and stores of float and
// double use vmaskmov, which does not touch masked-off memory; narrower types go through a stack
// buffer (Portable).
#pragma once

#include "simd/vec_portable.h"

namespace mlext::MLEXT_LEVEL {

template <>
struct Isa<float> : Portable<float, 32> {
  using Base = Portable<float, 32>;
  using Base::load;
  using Base::store;
  static MLEXT_INLINE __m256i raw(INative a) { return reinterpret_cast<__m256i>(a); }

  static MLEXT_INLINE Native broadcast(float x) { return _mm256_set1_ps(x); }
  static MLEXT_INLINE Native load(const float* p) { return _mm256_loadu_ps(p); }
  static MLEXT_INLINE Native load(const float* p, index n) { return _mm256_maskload_ps(p, raw(mask_first(n))); }
  static MLEXT_INLINE void store(float* p, Native v) { _mm256_storeu_ps(p, v); }
  static MLEXT_INLINE void store(float* p, Native v, index n) { _mm256_maskstore_ps(p, raw(mask_first(n)), v); }
  static MLEXT_INLINE void stream(float* p, Native v) { _mm256_stream_ps(p, v); }
  static MLEXT_INLINE INative load_u16(const void* p) {
    return reinterpret_cast<INative>(_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
  }
  static MLEXT_INLINE Native load(const std::int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static MLEXT_INLINE Native load(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static MLEXT_INLINE Native load(const bool* p) { return load(reinterpret_cast<const std::uint8_t*>(p)); }
  static MLEXT_INLINE Native load(const f16* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static MLEXT_INLINE void store(f16* p, Native v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }

  static MLEXT_INLINE Native fma(Native a, Native b, Native c) { return _mm256_fmadd_ps(a, b, c); }
  static MLEXT_INLINE Native min(Native a, Native b) { return _mm256_min_ps(a, b); }
  static MLEXT_INLINE Native max(Native a, Native b) { return _mm256_max_ps(a, b); }
  static MLEXT_INLINE Native sqrt(Native a) { return _mm256_sqrt_ps(a); }
  static MLEXT_INLINE Native round(Native a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static MLEXT_INLINE Native floor(Native a) { return _mm256_floor_ps(a); }
  static MLEXT_INLINE Native select(MNative m, Native a, Native b) { return _mm256_blendv_ps(b, a, as_float(m)); }
  static MLEXT_INLINE unsigned mask_bits(MNative m) { return static_cast<unsigned>(_mm256_movemask_ps(as_float(m))); }
};

template <>
struct Isa<double> : Portable<double, 32> {
  using Base = Portable<double, 32>;
  using Base::load;
  using Base::store;
  static MLEXT_INLINE __m256i raw(INative a) { return reinterpret_cast<__m256i>(a); }

  static MLEXT_INLINE Native broadcast(double x) { return _mm256_set1_pd(x); }
  static MLEXT_INLINE Native load(const double* p) { return _mm256_loadu_pd(p); }
  static MLEXT_INLINE Native load(const double* p, index n) { return _mm256_maskload_pd(p, raw(mask_first(n))); }
  static MLEXT_INLINE void store(double* p, Native v) { _mm256_storeu_pd(p, v); }
  static MLEXT_INLINE void store(double* p, Native v, index n) { _mm256_maskstore_pd(p, raw(mask_first(n)), v); }
  static MLEXT_INLINE void stream(double* p, Native v) { _mm256_stream_pd(p, v); }

  static MLEXT_INLINE Native fma(Native a, Native b, Native c) { return _mm256_fmadd_pd(a, b, c); }
  static MLEXT_INLINE Native min(Native a, Native b) { return _mm256_min_pd(a, b); }
  static MLEXT_INLINE Native max(Native a, Native b) { return _mm256_max_pd(a, b); }
  static MLEXT_INLINE Native sqrt(Native a) { return _mm256_sqrt_pd(a); }
  static MLEXT_INLINE Native round(Native a) {
    return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static MLEXT_INLINE Native floor(Native a) { return _mm256_floor_pd(a); }
  static MLEXT_INLINE Native select(MNative m, Native a, Native b) { return _mm256_blendv_pd(b, a, as_float(m)); }
  static MLEXT_INLINE unsigned mask_bits(MNative m) { return static_cast<unsigned>(_mm256_movemask_pd(as_float(m))); }
};

MLEXT_INLINE void fence() { portable_fence(); }

}  // namespace mlext::MLEXT_LEVEL
