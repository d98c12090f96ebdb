// The dot-product tile, for A and B^T that are both contiguous along k: x W^T with few rows in x, matrix times vector.
// Nothing is packed and B streams by in long runs.
#pragma once

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/shuffle.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

// 16 chains of fma need 8 loads per 8 cycles; more columns would save loads but not divide into whole vectors of sums.
template <class T>
inline constexpr int kDotRows = Vec<T>::N * sizeof(T) == 64 ? 4 : 2;
inline constexpr int kDotCols = 4;

template <class T, int R, int C>
void dot_tile(const TileArgs<T>& g, index i, index j) {
  using W = Vec<T>;
  constexpr index N = W::N;
  W acc[R * C];
#pragma GCC unroll 16
  for (int q = 0; q < R * C; ++q) acc[q] = W::zero();
  const T* a = g.a + i * g.a_row;
  const T* b = g.b + j * g.b_col;
  const auto step = [&](auto load, index k) __attribute__((always_inline)) {
    W x[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) x[r] = load(a + r * g.a_row + k);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const W y = load(b + c * g.b_col + k);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) acc[r * C + c] = fma(x[r], y, acc[r * C + c]);
    }
  };
  index k = 0;
  for (; k + N <= g.k; k += N) step([](const T* p) { return W::load(p); }, k);
  if (k < g.k) step([n = (g.k - k) & (N - 1)](const T* p) { return W::load(p, n); }, k);

  T sum[R * C];
  if constexpr (R * C % N == 0) {
#pragma GCC unroll 16
    for (int q = 0; q < R * C; q += N) reduce_each(acc + q).store(sum + q);
  } else {
#pragma GCC unroll 16
    for (int q = 0; q < R * C; ++q) sum[q] = reduce_add(acc[q]);
  }
  for (int r = 0; r < R; ++r) {
    const T* in = g.in + (i + r) * g.in_row + j;
    T* out = g.out + (i + r) * g.out_row + j;
    for (int c = 0; c < C; ++c)
      out[c] = g.beta != 0 ? g.alpha * sum[r * C + c] + g.beta * in[c] : g.alpha * sum[r * C + c];
  }
}

template <class T, int R>
void dot_row_block(const TileArgs<T>& g, index i, index j, index cols) {
  switch (cols) {
    case 1:
      return dot_tile<T, R, 1>(g, i, j);
    case 2:
      return dot_tile<T, R, 2>(g, i, j);
    case 3:
      return dot_tile<T, R, 3>(g, i, j);
    default:
      return dot_tile<T, R, 4>(g, i, j);
  }
}

// Four columns of B stay in L1 while all rows of A pass.
template <class T>
void dot(const TileArgs<T>& g) {
  constexpr int R = kDotRows<T>;
  for (index j = 0; j < g.cols; j += kDotCols) {
    const index cols = g.cols - j;
    index i = 0;
    for (; i + R <= g.rows; i += R) dot_row_block<T, R>(g, i, j, cols);
    for (; i < g.rows; ++i) dot_row_block<T, 1>(g, i, j, cols);
  }
}

}  // namespace mlext::MLEXT_LEVEL
