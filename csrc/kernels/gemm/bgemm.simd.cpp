// The tiles of pairs, where a level has the instruction: how bfloat16 gets into pairs, and how sums leave.
#include "kernels/gemm/bgemm.h"

#if defined(__AVX512BF16__)
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/table.h"
#include "simd/pinned.h"
#endif

namespace mlext::MLEXT_LEVEL {

#if defined(__AVX512BF16__)

// Pairs whose first steps are neighbours from `first` on; the second ones lie `step` behind.
struct Pairs {
  const bf16* first;
  index step;

  MLEXT_INLINE Pairs operator+(index i) const { return {first + i, step}; }
  MLEXT_INLINE Pairs& operator+=(index i) { return *this = *this + i; }
};

template <>
struct Vec<HalfPair> : Vec<float> {
  using Base = Vec<float>;
  using Base::Base;
  Vec() = default;
  MLEXT_INLINE Vec(Base sums) : Base(sums) {}
  MLEXT_INLINE Vec(HalfPair x) : Base(x.sum) {}
  static MLEXT_INLINE Vec zero() { return Base::zero(); }
  static MLEXT_INLINE Vec load(const HalfPair* p) { return Base::load(&p->sum); }
  static MLEXT_INLINE Vec load(const HalfPair* p, index n) { return Base::load(&p->sum, n); }
  static MLEXT_INLINE Vec load(Pairs p, index n = N) {
    const __mmask16 lanes = I::mask_first(n);
    const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, p.first));
    const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, p.first + p.step));
    return Vec(_mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16))));
  }
  MLEXT_INLINE void store(HalfPair* p) const { Base::store(&p->sum); }
  MLEXT_INLINE void store(HalfPair* p, index n) const { Base::store(&p->sum, n); }
};

MLEXT_INLINE void add_product(Vec<HalfPair>& sum, Vec<HalfPair> a, Vec<HalfPair> b) {
#if MLEXT_PINNED
  asm volatile("vdpbf16ps %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
#else
  sum.v = _mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v));
#endif
}

namespace {

// A column of a is a pair. Pairs that lie as such are copied like float32.
void pack_a(DType, const void* src, index src_row, index src_col, index rows, index cols, HalfPair* dst,
            index dst_row) {
  const auto* from = static_cast<const bf16*>(src);
  if (src_col != 2) return pack_from(Pairs{from, src_col / 2}, src_row, src_col, rows, cols, dst, dst_row);
  for (index i = 0; i < rows; ++i)
    pack_rows(reinterpret_cast<const float*>(from + i * src_row), 0, 1, cols, &dst->sum + i * dst_row, 0);
}

// A row of b is a pair. Those that lie as such are transposed like float32.
void pack_b(DType, const void* src, index src_row, index src_col, index rows, index cols, HalfPair* dst,
            index dst_row) {
  if (src_row == 2 && src_col % 2 == 0) {
    pack_columns(static_cast<const float*>(src), src_col / 2, rows, cols, &dst->sum, dst_row);
  } else {
    pack_from(Pairs{static_cast<const bf16*>(src), src_row / 2}, src_row, src_col, rows, cols, dst, dst_row);
  }
}

void finish_sums(const FinishArgs<HalfPair>& g) { finish(__builtin_bit_cast(FinishArgs<float>, g)); }

constexpr BgemmKernels kernels() {
  BgemmKernels table = tile_kernels<HalfPair>();
  table.group = 2;
  table.pack_a = pack_a;
  table.pack_b = pack_b;
  table.finish = finish_sums;
  return table;
}

}  // namespace

#else

static constexpr BgemmKernels kernels() { return {}; }

#endif

extern const BgemmKernels bgemm_kernels;
const BgemmKernels bgemm_kernels = kernels();

}  // namespace mlext::MLEXT_LEVEL
