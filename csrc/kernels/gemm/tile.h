// Micro-kernels: one register tile of C, the dot-product tile and the one-row kernel.
#pragma once

#include "kernels/gemm/gemm.h"
#include "simd/pinned.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

// The register file decides the tiles. AVX-512 (32 registers): 9x3 = 27 sums + 3 of B + 1 of A, 14x2, 16x1, and 6x4, whose
// 34 instructions per step leave most room for what else there is to do between 12 cycles of fma, if B is in L1; from L2,
// 4 lines in 12 cycles are too many. 16 registers: 6x2 = 12 sums + 2 of B + 1 of A (4x3 needs half as much again of B per
// fma), 8x1.
template <class T>
struct TileShape {
  static constexpr bool kWide = Vec<T>::N * sizeof(T) == 64;
  static constexpr int kVectors = kWide ? 4 : 2;
  static constexpr int kStreamVectors = kWide ? 3 : 2;
  static constexpr int rows(int vectors) {
    return kWide ? (vectors == 1 ? 16 : vectors == 2 ? 14 : vectors == 3 ? 9 : 6) : (vectors == 1 ? 8 : 6);
  }
};

// Groups are always packed before a tile reads them (qgemm.h, bgemm.h), in rows of whole vectors.
template <class T>
inline constexpr bool kReadsInPlace = false;
template <>
inline constexpr bool kReadsInPlace<float> = true;
template <>
inline constexpr bool kReadsInPlace<double> = true;

// Sums of bytes have more to go through (qgemm.h) than a tile can do.
template <class T>
inline constexpr bool kHasRelu = true;
template <>
inline constexpr bool kHasRelu<std::int32_t> = false;

// The second of max where they are equal or there is a NaN: -0 and NaN stay.
template <class T>
MLEXT_INLINE Vec<T> relu(Vec<T> x) {
  return max(Vec<T>::zero(), x);
}
template <class T>
MLEXT_INLINE Vec<T> relu_to(Vec<T> x, Vec<T> top) {
  return min(top, relu(x));
}

// Cache lines of a row of V vectors.
inline constexpr index kLine = 64;
template <class T, int V>
inline constexpr int kRowLines = (V * Vec<T>::N * sizeof(T) + kLine - 1) / kLine;

// How many rows of B, the last ones, may only be read with a mask in the last vector: behind the others lies more of B. A mask
// takes a port that the fmas need (127 cubed: 4 per cent).
template <class T, int V>
MLEXT_INLINE index masked_rows(const TileArgs<T>& g) {
  const index idle = V * Vec<T>::N - g.cols;
  return !kReadsInPlace<T> || idle == 0 ? 0 : g.b_row >= idle && g.k > 0 ? 1 : g.k;
}

// acc = alpha * acc + bias + beta * in, or 0 if that is less. Most products have alpha 1 and nothing to add.
template <class T, int R, int V, bool kMasked>
MLEXT_INLINE void scale_and_add(const TileArgs<T>& g, Vec<T> (&acc)[R][V]) {
  using W = Vec<T>;
  constexpr index N = W::N;
  const index last = g.cols - (V - 1) * N;
  if (g.alpha != 1) {
    const W alpha(g.alpha);
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] *= alpha;
    }
  }
  if (g.bias != nullptr) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const W x = kMasked && v == V - 1 ? W::load(g.bias + v * N, last) : W::load(g.bias + v * N);
#pragma GCC unroll 32
      for (int r = 0; r < R; ++r) acc[r][v] += x;
    }
  }
  if (g.beta != 0) {
    const W beta(g.beta);
    const T* in = g.in;
    const index in_row = g.in_row;
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r, in += in_row) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        const W x = kMasked && v == V - 1 ? W::load(in + v * N, last) : W::load(in + v * N);
        acc[r][v] = fma(beta, x, acc[r][v]);
      }
    }
  }
  if constexpr (kHasRelu<T>) {
    if (g.top != 0) {
      const W top(g.top);
#pragma GCC unroll 32
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[r][v] = relu_to(acc[r][v], top);
      }
    }
  }
}

template <class T, int R, int V>
MLEXT_INLINE void clear(Vec<T> (&acc)[R][V]) {
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[r][v] = zero_pinned<T>();
  }
}

// One step of k: acc += a's column times b's row, where a(r) is the address of row r.
template <class T, int R, int V, bool kMasked, class A>
MLEXT_INLINE void add_step(Vec<T> (&acc)[R][V], A a, const T* b, index last) {
  using W = Vec<T>;
  W y[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) y[v] = kMasked && v == V - 1 ? W::load(b + v * W::N, last) : W::load(b + v * W::N);
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r) {
    const W x(*a(r));
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) add_product(acc[r][v], x, y[v]);
  }
}

template <class T, int R, int V, bool kMasked>
MLEXT_INLINE void finish_vectors(const TileArgs<T>& g, Vec<T> (&acc)[R][V]) {
  constexpr index N = Vec<T>::N;
  scale_and_add<T, R, V, kMasked>(g, acc);
  T* out = g.out;
  const index out_row = g.out_row, last = g.cols - (V - 1) * N;
#pragma GCC unroll 32
  for (int r = 0; r < R; ++r, out += out_row) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      if (kMasked && v == V - 1) {
        acc[r][v].store(out + v * N, last);
      } else {
        acc[r][v].store(out + v * N);
      }
    }
  }
}

// AVX-512 stores with a mask as fast as without; elsewhere it is slow or a loop.
template <class T, int R, int V>
MLEXT_INLINE void finish_tile(const TileArgs<T>& g, Vec<T> (&acc)[R][V]) {
  if (TileShape<T>::kWide || g.cols < V * Vec<T>::N) {
    finish_vectors<T, R, V, true>(g, acc);
  } else {
    finish_vectors<T, R, V, false>(g, acc);
  }
}

// Every element is one chain of fma over k in ascending order, whatever the tile's shape: that is why blocking and
// threads never change a bit. Independent chains hide the latency of fma (4 cycles on two ports: at least 8 of them), so
// tiles use nearly all registers: 32 with AVX-512, 16 elsewhere. One step of k loads V vectors of B and R scalars of A
// for R * V fmas; 9 x 3 needs 12 loads where 13.5 cycles of fma have room for 27.
template <class T, int R, int V>
void tile(const TileArgs<T>& g) {
  const index row = g.a_row, step = g.a_col, b_row = g.b_row, masked = masked_rows<T, V>(g);
  const index last = g.cols - (V - 1) * Vec<T>::N;  // lanes of the last vector
  Vec<T> acc[R][V];
  clear(acc);
  // A base pointer for every eight rows; x86 addresses the rows between as base + {0, 1, 2, 4} * {row, 3 row, 5 row, 7 row}.
  const T* a[(R + 7) / 8];
#pragma GCC unroll 4
  for (int i = 0; i < (R + 7) / 8; ++i) a[i] = g.a + 8 * i * row;
  const T* b = g.b;
  const auto at = [&](int r) { return a[r / 8] + (r % 8) * row; };
  const auto advance = [&] {
#pragma GCC unroll 4
    for (int i = 0; i < (R + 7) / 8; ++i) a[i] += step;
    b += b_row;
  };
  for (index run = 0;;) {
    index k = g.k;
    for (; k > masked; --k, advance()) add_step<T, R, V, false>(acc, at, b, last);
    for (; k > 0; --k, advance()) add_step<T, R, V, true>(acc, at, b, last);
    if (++run == g.runs) break;
#pragma GCC unroll 4
    for (int i = 0; i < (R + 7) / 8; ++i) a[i] += g.a_jumps[run - 1];
    if (g.b_jumps != nullptr) b += g.b_jumps[run - 1];
  }
  finish_tile<T, R, V>(g, acc);
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
  for (index j = 0; j < n; j += N) {
    const index lanes = n - j < N ? n - j : N;
    W value = alpha * W::load(sum + j);
    if (g.bias != nullptr) value += W::load(g.bias + j, lanes);
    if (g.beta != 0) value = fma(beta, W::load(g.in + j, lanes), value);
    (g.top != 0 ? relu_to(value, W(g.top)) : value).store(g.out + j, lanes);
  }
}

}  // namespace mlext::MLEXT_LEVEL
