// Micro-kernels: one register tile of C, the dot-product tile and the one-row kernel.
#pragma once

#include "kernels/gemm/gemm.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

// acc = alpha * acc + beta * in. Most products have alpha 1 and beta 0 and skip both halves.
template <class T, int R, int V, bool kPartial>
MLEXT_INLINE void scale_and_add(const TileArgs<T>& g, Vec<T> (&acc)[R][V]) {
  using W = Vec<T>;
  constexpr index N = W::N;
  if (g.alpha != 1) {
    const W alpha(g.alpha);
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] *= alpha;
    }
  }
  if (g.beta != 0) {
    const W beta(g.beta);
    const T* in = g.in;
    const index in_row = g.in_row, last = g.cols - (V - 1) * N;
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r, in += in_row) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        const W x = kPartial && v == V - 1 ? W::load(in + v * N, last) : W::load(in + v * N);
        acc[r][v] = fma(beta, x, acc[r][v]);
      }
    }
  }
}

// Every element is one chain of fma over k in ascending order, whatever the tile's shape: that is why blocking and
// threads never change a bit. Independent chains hide the latency of fma (4 cycles on two ports: at least 8 of them), so
// tiles use nearly all registers: 32 with AVX-512, 16 elsewhere. One step of k loads V vectors of B and R scalars of A
// for R * V fmas; 8 x 3 needs 11 loads where 12 cycles of fma have room for 24.
template <class T, int R, int V, bool kPartial>
void tile(const TileArgs<T>& g) {
  using W = Vec<T>;
  constexpr index N = W::N;
  const index last = g.cols - (V - 1) * N;  // lanes of the last vector
  W acc[R][V];
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[r][v] = W::zero();
  }
  const index row = g.a_row, step = g.a_col, b_row = g.b_row;
  // A base pointer for every eight rows; x86 addresses the rows between as base + {0, 1, 2, 4} * {row, 3 row, 5 row, 7 row}.
  const T* a[(R + 7) / 8];
#pragma GCC unroll 4
  for (int i = 0; i < (R + 7) / 8; ++i) a[i] = g.a + 8 * i * row;
  const T* b = g.b;
  for (index k = g.k; k > 0; --k) {
    W y[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) y[v] = kPartial && v == V - 1 ? W::load(b + v * N, last) : W::load(b + v * N);
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
      const W x(a[r / 8][(r % 8) * row]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = fma(x, y[v], acc[r][v]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < (R + 7) / 8; ++i) a[i] += step;
    b += b_row;
  }
  scale_and_add<T, R, V, kPartial>(g, acc);
  T* out = g.out;
  const index out_row = g.out_row;
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r, out += out_row) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      if (kPartial && v == V - 1) {
        acc[r][v].store(out + v * N, last);
      } else {
        acc[r][v].store(out + v * N);
      }
    }
  }
}

// One row of A against B in place: eight rows of B stream by at once and the sums wait in L1. The order of additions is
// that of tile().
template <class T>
void gemv(const TileArgs<T>& g) {
  using W = Vec<T>;
  constexpr index N = W::N;
  constexpr int kRows = 8;
  alignas(64) T sum[kGemvCols];
  const index n = g.cols;
  for (index j = 0; j < n; j += N) W::zero().store(sum + j);
  const T* b = g.b;
  index k = 0;
  for (; k + kRows <= g.k; k += kRows, b += kRows * g.b_row) {
    W x[kRows];
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) x[i] = W(g.a[(k + i) * g.a_col]);
    index j = 0;
    for (; j + N <= n; j += N) {
      W acc = W::load(sum + j);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) acc = fma(x[i], W::load(b + i * g.b_row + j), acc);
      acc.store(sum + j);
    }
    if (j < n) {
      W acc = W::load(sum + j);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) acc = fma(x[i], W::load(b + i * g.b_row + j, n - j), acc);
      acc.store(sum + j);
    }
  }
  for (; k < g.k; ++k, b += g.b_row) {
    const W x(g.a[k * g.a_col]);
    index j = 0;
    for (; j + N <= n; j += N) fma(x, W::load(b + j), W::load(sum + j)).store(sum + j);
    if (j < n) fma(x, W::load(b + j, n - j), W::load(sum + j)).store(sum + j);
  }
  const W alpha(g.alpha), beta(g.beta);
  const bool add = g.beta != 0;
  for (index j = 0; j < n; j += N) {
    const index lanes = n - j < N ? n - j : N;
    W value = alpha * W::load(sum + j);
    if (add) value = fma(beta, W::load(g.in + j, lanes), value);
    value.store(g.out + j, lanes);
  }
}

}  // namespace mlext::MLEXT_LEVEL
