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

template <>
struct Vec<HalfPair> : Vec<float> {
  using Base = Vec<float>;
  using Base::load;
  Vec() = default;
  MLEXT_INLINE Vec(Base sums) : Base(sums) {}
  MLEXT_INLINE Vec(float x) : Base(x) {}
  MLEXT_INLINE Vec(HalfPair x) : Base(x.sum) {}
  static MLEXT_INLINE Vec zero() { return Base::zero(); }
  static MLEXT_INLINE Vec load(const HalfPair* p) { return Base::load(&p->sum); }
  static MLEXT_INLINE Vec load(const HalfPair* p, index n) { return Base::load(&p->sum, n); }
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

// n of the pairs whose first steps are neighbours at `first`; the second ones are `step` behind.
MLEXT_INLINE Vec<float> pairs_of(const bf16* first, index step, index n) {
  const __mmask16 lanes = Vec<float>::I::mask_first(n);
  const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, first));
  const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, first + step));
  return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

// dst[i, j] = the pair at src[i * src_row + j * src_col], whose steps are `step` apart; neighbours in a row are neighbours
// in memory.
void pack_rows_of_pairs(const bf16* src, index src_row, index step, index rows, index cols, float* dst, index dst_row) {
  constexpr index N = Vec<float>::N;
  for (index i = 0; i < rows; ++i) {
    for (index j = 0; j < cols; j += N) {
      const index n = cols - j < N ? cols - j : N;
      pairs_of(src + i * src_row + j, step, n).store(dst + i * dst_row + j, n);
    }
  }
}

// The same where neighbours in a column are.
void pack_columns_of_pairs(const bf16* src, index src_col, index step, index rows, index cols, float* dst,
                           index dst_row) {
  constexpr index N = Vec<float>::N;
  for (index j = 0; j < cols; j += N) {
    const index width = cols - j < N ? cols - j : N;
    for (index i = 0; i < rows; i += N) {
      const index height = rows - i < N ? rows - i : N;
      Vec<float> x[N];
      for (index c = 0; c < N; ++c)
        x[c] = c < width ? pairs_of(src + i + (j + c) * src_col, step, height) : Vec<float>::zero();
      transpose(x);
      for (index r = 0; r < height; ++r) x[r].store(dst + (i + r) * dst_row + j, width);
    }
  }
}

void pack_pairs(const bf16* src, index src_row, index src_col, index step, index rows, index cols, float* dst,
                index dst_row) {
  if (src_col == 1) return pack_rows_of_pairs(src, src_row, step, rows, cols, dst, dst_row);
  if (src_row == 1) return pack_columns_of_pairs(src, src_col, step, rows, cols, dst, dst_row);
  for (index i = 0; i < rows; ++i) {
    for (index j = 0; j < cols; ++j) pairs_of(src + i * src_row + j * src_col, step, 1).store(dst + i * dst_row + j, 1);
  }
}

// A column of a is a pair. Pairs that lie as such are copied like float32.
void pack_a(DType, const void* src, index src_row, index src_col, index rows, index cols, HalfPair* dst,
            index dst_row) {
  const auto* from = static_cast<const bf16*>(src);
  if (src_col != 2) return pack_pairs(from, src_row, src_col, src_col / 2, rows, cols, &dst->sum, dst_row);
  for (index i = 0; i < rows; ++i)
    pack_rows(reinterpret_cast<const float*>(from + i * src_row), 0, 1, cols, &dst->sum + i * dst_row, 0);
}

// A row of b is a pair. Those that lie as such are transposed like float32.
void pack_b(DType, const void* src, index src_row, index src_col, index rows, index cols, HalfPair* dst,
            index dst_row) {
  if (src_row == 2 && src_col % 2 == 0) {
    pack_columns(static_cast<const float*>(src), src_col / 2, rows, cols, &dst->sum, dst_row);
  } else {
    pack_pairs(static_cast<const bf16*>(src), src_row, src_col, src_row / 2, rows, cols, &dst->sum, dst_row);
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
