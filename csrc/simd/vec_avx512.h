// AVX-512 F, BW, DQ, VL: 64-byte vectors, comparisons into mask registers, masked loads and stores
// of every width (a masked-off element is not touched), vscalef. Not for use where a CPU has it: vcvtne2ps2bf16, which
// flushes subnormals and so gives other results than the other levels.
#pragma once

#include "simd/vec_portable.h"

namespace mlext::MLEXT_LEVEL {

template <>
struct Isa<float> : Portable<float, 64> {
  using Base = Portable<float, 64>;
  using Base::load;
  using Base::store;
  using MNative = __mmask16;
  static MLEXT_INLINE __m512i raw(INative a) { return reinterpret_cast<__m512i>(a); }
  static MLEXT_INLINE INative ints(__m512i a) { return reinterpret_cast<INative>(a); }

  static MLEXT_INLINE Native broadcast(float x) { return _mm512_set1_ps(x); }
  static MLEXT_INLINE Native load(const float* p) { return _mm512_loadu_ps(p); }
  static MLEXT_INLINE Native load(const float* p, index n) { return _mm512_maskz_loadu_ps(mask_first(n), p); }
  static MLEXT_INLINE void store(float* p, Native v) { _mm512_storeu_ps(p, v); }
  static MLEXT_INLINE void store(float* p, Native v, index n) { _mm512_mask_storeu_ps(p, mask_first(n), v); }
  static MLEXT_INLINE void stream(float* p, Native v) { _mm512_stream_ps(p, v); }

  static MLEXT_INLINE Native load(const bf16* p) {
    return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static MLEXT_INLINE Native load(const bf16* p, index n) {
    return widen_bf16(_mm256_maskz_loadu_epi16(mask_first(n), p));
  }
  static MLEXT_INLINE Native load(const f16* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static MLEXT_INLINE Native load(const f16* p, index n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask_first(n), p));
  }
  static MLEXT_INLINE Native load(const std::int8_t* p) {
    return widen_i8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static MLEXT_INLINE Native load(const std::int8_t* p, index n) {
    return widen_i8(_mm_maskz_loadu_epi8(mask_first(n), p));
  }
  static MLEXT_INLINE Native load(const std::uint8_t* p) {
    return widen_u8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static MLEXT_INLINE Native load(const std::uint8_t* p, index n) {
    return widen_u8(_mm_maskz_loadu_epi8(mask_first(n), p));
  }
  static MLEXT_INLINE Native load(const bool* p) { return load(reinterpret_cast<const std::uint8_t*>(p)); }
  static MLEXT_INLINE Native load(const bool* p, index n) { return load(reinterpret_cast<const std::uint8_t*>(p), n); }
  static MLEXT_INLINE Native load(const std::int32_t* p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
  static MLEXT_INLINE Native load(const std::int32_t* p, index n) {
    return _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask_first(n), p));
  }
  static MLEXT_INLINE Native widen_bf16(__m256i h) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
  }
  static MLEXT_INLINE Native widen_i8(__m128i b) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b)); }
  static MLEXT_INLINE Native widen_u8(__m128i b) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b)); }

  static MLEXT_INLINE __m256i narrow_bf16(Native v) { return _mm512_cvtepi32_epi16(raw(float_to_bf16(v))); }
  static MLEXT_INLINE __m256i narrow_f16(Native v) { return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT); }
  static MLEXT_INLINE void store(bf16* p, Native v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_bf16(v));
  }
  static MLEXT_INLINE void store(bf16* p, Native v, index n) {
    _mm256_mask_storeu_epi16(p, mask_first(n), narrow_bf16(v));
  }
  static MLEXT_INLINE void store(f16* p, Native v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_f16(v));
  }
  static MLEXT_INLINE void store(f16* p, Native v, index n) {
    _mm256_mask_storeu_epi16(p, mask_first(n), narrow_f16(v));
  }

  static MLEXT_INLINE Native fma(Native a, Native b, Native c) { return _mm512_fmadd_ps(a, b, c); }
  static MLEXT_INLINE Native min(Native a, Native b) { return _mm512_min_ps(a, b); }
  static MLEXT_INLINE Native max(Native a, Native b) { return _mm512_max_ps(a, b); }
  static MLEXT_INLINE Native sqrt(Native a) { return _mm512_sqrt_ps(a); }
  // An estimate of 14 bits and a Newton step: 4 operations, where a division holds its port for 10 cycles.
  static MLEXT_INLINE Native reciprocal(Native a) {
    const Native r = _mm512_rcp14_ps(a);
    return fma(r, _mm512_fnmadd_ps(a, r, broadcast(1.0f)), r);
  }
  static MLEXT_INLINE Native round(Native a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); }
  static MLEXT_INLINE Native floor(Native a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF); }
  static MLEXT_INLINE Native scale(Native a, Native n) { return _mm512_scalef_ps(a, n); }
  static MLEXT_INLINE Native scale_where(MNative m, Native a, Native n) { return _mm512_maskz_scalef_ps(m, a, n); }
  static MLEXT_INLINE Native exponent(Native a) { return _mm512_getexp_ps(a); }
  static MLEXT_INLINE Native mantissa(Native a) { return _mm512_getmant_ps(a, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero); }

  static MLEXT_INLINE MNative lt(Native a, Native b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static MLEXT_INLINE MNative le(Native a, Native b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
  static MLEXT_INLINE MNative not_lt(Native a, Native b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ); }
  static MLEXT_INLINE MNative eq(Native a, Native b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
  static MLEXT_INLINE MNative ne(Native a, Native b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
  static MLEXT_INLINE MNative ieq(INative a, INative b) { return _mm512_cmpeq_epi32_mask(raw(a), raw(b)); }
  static MLEXT_INLINE MNative igt(INative a, INative b) { return _mm512_cmpgt_epi32_mask(raw(a), raw(b)); }
  static MLEXT_INLINE Native select(MNative m, Native a, Native b) { return _mm512_mask_blend_ps(m, b, a); }
  static MLEXT_INLINE MNative mask_and(MNative a, MNative b) { return _kand_mask16(a, b); }
  static MLEXT_INLINE MNative mask_or(MNative a, MNative b) { return _kor_mask16(a, b); }
  static MLEXT_INLINE MNative mask_xor(MNative a, MNative b) { return _kxor_mask16(a, b); }
  static MLEXT_INLINE MNative mask_not(MNative a) { return _knot_mask16(a); }
  static MLEXT_INLINE MNative mask_first(index n) {
    return static_cast<MNative>(_bzhi_u32(0xffff, static_cast<unsigned>(n)));
  }
  static MLEXT_INLINE unsigned mask_bits(MNative m) { return m; }
};

template <>
struct Isa<double> : Portable<double, 64> {
  using Base = Portable<double, 64>;
  using Base::load;
  using Base::store;
  using MNative = __mmask8;
  static MLEXT_INLINE __m512i raw(INative a) { return reinterpret_cast<__m512i>(a); }
  static MLEXT_INLINE INative ints(__m512i a) { return reinterpret_cast<INative>(a); }

  static MLEXT_INLINE Native broadcast(double x) { return _mm512_set1_pd(x); }
  static MLEXT_INLINE Native load(const double* p) { return _mm512_loadu_pd(p); }
  static MLEXT_INLINE Native load(const double* p, index n) { return _mm512_maskz_loadu_pd(mask_first(n), p); }
  static MLEXT_INLINE void store(double* p, Native v) { _mm512_storeu_pd(p, v); }
  static MLEXT_INLINE void store(double* p, Native v, index n) { _mm512_mask_storeu_pd(p, mask_first(n), v); }
  static MLEXT_INLINE void stream(double* p, Native v) { _mm512_stream_pd(p, v); }
  static MLEXT_INLINE Native load(const float* p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
  static MLEXT_INLINE Native load(const float* p, index n) {
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask_first(n), p));
  }
  static MLEXT_INLINE void store(float* p, Native v) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(v)); }
  static MLEXT_INLINE void store(float* p, Native v, index n) {
    _mm256_mask_storeu_ps(p, mask_first(n), _mm512_cvtpd_ps(v));
  }
  static MLEXT_INLINE Native load(const std::int32_t* p) {
    return _mm512_cvtepi32_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static MLEXT_INLINE Native load(const std::int32_t* p, index n) {
    return _mm512_cvtepi32_pd(_mm256_maskz_loadu_epi32(mask_first(n), p));
  }
  static MLEXT_INLINE Native load(const std::int64_t* p) { return _mm512_cvtepi64_pd(_mm512_loadu_si512(p)); }
  static MLEXT_INLINE Native load(const std::int64_t* p, index n) {
    return _mm512_cvtepi64_pd(_mm512_maskz_loadu_epi64(mask_first(n), p));
  }

  static MLEXT_INLINE Native fma(Native a, Native b, Native c) { return _mm512_fmadd_pd(a, b, c); }
  static MLEXT_INLINE Native min(Native a, Native b) { return _mm512_min_pd(a, b); }
  static MLEXT_INLINE Native max(Native a, Native b) { return _mm512_max_pd(a, b); }
  static MLEXT_INLINE Native sqrt(Native a) { return _mm512_sqrt_pd(a); }
  static MLEXT_INLINE Native round(Native a) { return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT); }
  static MLEXT_INLINE Native floor(Native a) { return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEG_INF); }
  static MLEXT_INLINE Native scale(Native a, Native n) { return _mm512_scalef_pd(a, n); }
  static MLEXT_INLINE Native scale_where(MNative m, Native a, Native n) { return _mm512_maskz_scalef_pd(m, a, n); }
  static MLEXT_INLINE Native exponent(Native a) { return _mm512_getexp_pd(a); }
  static MLEXT_INLINE Native mantissa(Native a) { return _mm512_getmant_pd(a, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero); }
  static MLEXT_INLINE INative shift_right_arithmetic(INative a, int n) {
    return ints(_mm512_srai_epi64(raw(a), static_cast<unsigned>(n)));
  }

  static MLEXT_INLINE MNative lt(Native a, Native b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
  static MLEXT_INLINE MNative le(Native a, Native b) { return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ); }
  static MLEXT_INLINE MNative not_lt(Native a, Native b) { return _mm512_cmp_pd_mask(a, b, _CMP_NLT_UQ); }
  static MLEXT_INLINE MNative eq(Native a, Native b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
  static MLEXT_INLINE MNative ne(Native a, Native b) { return _mm512_cmp_pd_mask(a, b, _CMP_NEQ_UQ); }
  static MLEXT_INLINE MNative ieq(INative a, INative b) { return _mm512_cmpeq_epi64_mask(raw(a), raw(b)); }
  static MLEXT_INLINE MNative igt(INative a, INative b) { return _mm512_cmpgt_epi64_mask(raw(a), raw(b)); }
  static MLEXT_INLINE Native select(MNative m, Native a, Native b) { return _mm512_mask_blend_pd(m, b, a); }
  static MLEXT_INLINE MNative mask_and(MNative a, MNative b) { return _kand_mask8(a, b); }
  static MLEXT_INLINE MNative mask_or(MNative a, MNative b) { return _kor_mask8(a, b); }
  static MLEXT_INLINE MNative mask_xor(MNative a, MNative b) { return _kxor_mask8(a, b); }
  static MLEXT_INLINE MNative mask_not(MNative a) { return _knot_mask8(a); }
  static MLEXT_INLINE MNative mask_first(index n) {
    return static_cast<MNative>(_bzhi_u32(0xff, static_cast<unsigned>(n)));
  }
  static MLEXT_INLINE unsigned mask_bits(MNative m) { return m; }
};

MLEXT_INLINE void fence() { portable_fence(); }

}  // namespace mlext::MLEXT_LEVEL
