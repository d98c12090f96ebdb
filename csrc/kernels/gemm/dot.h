// The dot-product tile, for A and B^T that are both contiguous along k: x W^T with few rows in x, matrix times vector.
// Nothing is packed and B streams by in long runs.
#pragma once

#include "kernels/gemm/gemm.h"
#include "simd/pinned.h"
#include "simd/shuffle.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

// 16 chains of fma need 8 loads per 8 cycles; more columns would save loads but not divide into whole vectors of sums.
template <class T>
inline constexpr int kDotRows = Vec<T>::N * sizeof(T) == 64 ? 4 : 2;
inline constexpr int kDotCols = 4;

// Rows i to i + rows of A, R or fewer: the others repeat the last one and are dropped, which costs nothing that B does not.
// A vector of B is loaded once, not by each fma anew: loads are what comes from L2 waits for (2 rows: 0.7 of the time).
template <class S, class T, int R, int C>
void dot_tile(const TileArgs<T>& g, index i, index rows, index j) {
  using W = Vec<T>;
  constexpr index N = W::N;
  W acc[R * C];
#pragma GCC unroll 16
  for (int q = 0; q < R * C; ++q) acc[q] = W::zero();
  const T* a[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) a[r] = g.a + (i + (r < rows ? r : rows - 1)) * g.a_row;
  const S* b = reinterpret_cast<const S*>(g.b) + j * g.b_col;
  const auto step = [&](auto load, index k) __attribute__((always_inline)) {
    W x[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) x[r] = load(a[r] + k);
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      W y = load(b + c * g.b_col + k);
      if (R > 1) hold(y);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) acc[r * C + c] = fma(x[r], y, acc[r * C + c]);
    }
  };
  index k = 0;
  for (; k + N <= g.k; k += N) step([](const auto* p) { return W::load(p); }, k);
  if (k < g.k) step([n = (g.k - k) & (N - 1)](const auto* p) { return W::load(p, n); }, k);

  T sum[R * C];
  if constexpr (R * C % N == 0) {
#pragma GCC unroll 16
    for (int q = 0; q < R * C; q += N) reduce_each(acc + q).store(sum + q);
  } else {
#pragma GCC unroll 16
    for (int q = 0; q < R * C; ++q) sum[q] = reduce_add(acc[q]);
  }
  for (index r = 0; r < rows; ++r) {
    const T* in = g.in + (i + r) * g.in_row + j;
    T* out = g.out + (i + r) * g.out_row + j;
    for (int c = 0; c < C; ++c) {
      T value = g.alpha * sum[r * C + c];
      if (g.bias != nullptr) value += g.bias[j + c];
      if (g.beta != 0) value += g.beta * in[c];
      if (g.top != 0) value = value < 0 ? T(0) : value > g.top ? g.top : value;
      out[c] = value;
    }
  }
}

template <class S, class T, int R>
void dot_rows(const TileArgs<T>& g, index i, index rows, index j) {
  switch (g.cols - j) {
    case 1:
      return dot_tile<S, T, R, 1>(g, i, rows, j);
    case 2:
      return dot_tile<S, T, R, 2>(g, i, rows, j);
    case 3:
      return dot_tile<S, T, R, 3>(g, i, rows, j);
    default:
      return dot_tile<S, T, R, 4>(g, i, rows, j);
  }
}

// Four columns of B stay in L1 while all rows of A pass.
template <class S, class T>
void dot_from(const TileArgs<T>& g) {
  constexpr index R = kDotRows<T>;
  for (index j = 0; j < g.cols; j += kDotCols) {
    for (index i = 0; i < g.rows; i += R) {
      const index rows = g.rows - i < R ? g.rows - i : R;
      rows == 1            ? dot_rows<S, T, 1>(g, i, rows, j)
      : R > 2 && rows == 2 ? dot_rows<S, T, 2>(g, i, rows, j)
                           : dot_rows<S, T, R>(g, i, rows, j);
    }
  }
}

inline void dot(DType b_dtype, const TileArgs<float>& g) {
  switch (b_dtype) {
    case DType::bfloat16:
      return dot_from<bf16>(g);
    case DType::float16:
      return dot_from<f16>(g);
    default:
      return dot_from<float>(g);
  }
}
inline void dot(DType, const TileArgs<double>& g) { dot_from<double>(g); }

}  // namespace mlext::MLEXT_LEVEL
