// Packing: a strided block becomes a dense one in the compute type, so that micro-kernels read consecutive memory. The source
// is a pointer, or what is counted up and loaded like one (bgemm.simd.cpp).
//
// Rows of the result have room for whole vectors, and zeros in the lanes behind `cols`. Tiles compute on those lanes too: of
// what happened to lie there, a subnormal number would cost 150 cycles in each fma.
#pragma once

#include "simd/shuffle.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

template <class T, class From>
void pack_rows(From src, index src_row, index rows, index cols, T* dst, index dst_row) {
  using W = Vec<T>;
  constexpr index N = W::N;
  for (index i = 0; i < rows; ++i, src += src_row, dst += dst_row) {
    index j = 0;
    for (; j + N <= cols; j += N) W::load(src + j).store(dst + j);
    if (j < cols) W::load(src + j, cols - j).store(dst + j);
  }
}

// The source is contiguous down its columns: N x N blocks are transposed in registers.
template <class T, class From>
void pack_columns(From src, index src_col, index rows, index cols, T* dst, index dst_row) {
  using W = Vec<T>;
  constexpr index N = W::N;
  for (index j = 0; j < cols; j += N) {
    const index width = cols - j < N ? cols - j : N;
    for (index i = 0; i < rows; i += N) {
      const index height = rows - i < N ? rows - i : N;
      const From from = src + (j * src_col + i);
      T* to = dst + i * dst_row + j;
      W x[N];
      if (width == N && height == N) {
#pragma GCC unroll 16
        for (int c = 0; c < N; ++c) x[c] = W::load(from + c * src_col);
        transpose(x);
#pragma GCC unroll 16
        for (int r = 0; r < N; ++r) x[r].store(to + r * dst_row);
      } else {
        for (int c = 0; c < N; ++c) x[c] = c < width ? W::load(from + c * src_col, height) : W::zero();
        transpose(x);
        for (int r = 0; r < height; ++r) x[r].store(to + r * dst_row);
      }
    }
  }
}

template <class T, class From>
void pack_any(From src, index src_row, index src_col, index rows, index cols, T* dst, index dst_row) {
  for (index i = 0; i < rows; ++i) {
    for (index j = 0; j < cols; ++j) {
      Vec<T>::load(src + (i * src_row + j * src_col), 1).store(dst + i * dst_row + j, 1);
    }
    for (index j = cols; j % Vec<T>::N != 0; ++j) dst[i * dst_row + j] = T{};
  }
}

template <class T, class From>
void pack_from(From src, index src_row, index src_col, index rows, index cols, T* dst, index dst_row) {
  if (src_col == 1) return pack_rows(src, src_row, rows, cols, dst, dst_row);
  if (src_row == 1) return pack_columns(src, src_col, rows, cols, dst, dst_row);
  pack_any(src, src_row, src_col, rows, cols, dst, dst_row);
}

inline void pack(DType dtype, const void* src, index src_row, index src_col, index rows, index cols, float* dst,
                 index dst_row) {
  switch (dtype) {
    case DType::bfloat16:
      return pack_from(static_cast<const bf16*>(src), src_row, src_col, rows, cols, dst, dst_row);
    case DType::float16:
      return pack_from(static_cast<const f16*>(src), src_row, src_col, rows, cols, dst, dst_row);
    default:
      return pack_from(static_cast<const float*>(src), src_row, src_col, rows, cols, dst, dst_row);
  }
}

inline void pack(DType, const void* src, index src_row, index src_col, index rows, index cols, double* dst,
                 index dst_row) {
  pack_from(static_cast<const double*>(src), src_row, src_col, rows, cols, dst, dst_row);
}

}  // namespace mlext::MLEXT_LEVEL
