// The micro-kernel for rows of A that are contiguous along k: what large products spend their time in.
#pragma once

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/tile.h"
#include "simd/pinned.h"

namespace mlext::MLEXT_LEVEL {

// Row r of a block: a base for every three rows, and 0, 1 or 2 strides, so that nine rows take four registers and four
// steps of k lie at constant offsets.
template <class T, int R>
struct RowPointers {
  static constexpr int kBases = (R + 2) / 3;
  const char* base[kBases];
  index stride;

  MLEXT_INLINE RowPointers(const T* a, index row) : stride(row * static_cast<index>(sizeof(T))) {
#pragma GCC unroll 8
    for (int i = 0; i < kBases; ++i) base[i] = reinterpret_cast<const char*>(a) + 3 * i * stride;
  }
  MLEXT_INLINE void advance(index steps) {
#pragma GCC unroll 8
    for (int i = 0; i < kBases; ++i) {
      base[i] += steps * static_cast<index>(sizeof(T));
      pin(base[i]);
    }
  }
};

// Step kStep of k after the position of `a`, with the row of B at `b`.
template <class T, int kStep, bool kPartial, int R, int V, int... r>
MLEXT_INLINE void add_rows(Vec<T> (&acc)[R][V], const RowPointers<T, R>& a, const T* b, index last, Lanes<r...>) {
  using W = Vec<T>;
  W y[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    y[v] = kPartial && v == V - 1 ? W::load(b + v * W::N, last) : load_pinned(b + v * W::N);
  }
  // Narrow tiles need nearly all the instructions that a CPU decodes (13 x 2: 42 in 13 cycles), while loads have room: their
  // rows without a stride go into the fma, two instructions instead of three (64 cubed: 2 per cent).
  const auto add_row = [&]<int kRow>(Lanes<kRow>) __attribute__((always_inline)) {
    constexpr int kOffset = kStep * sizeof(T), kStrides = kRow % 3;
    const char* base = a.base[kRow / 3];
    if constexpr (V < 3 && kStrides == 0) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) add_product_from<T, kOffset>(acc[kRow][v], base, y[v]);
    } else {
      const W x = broadcast_pinned<T, kOffset, kStrides>(base, a.stride);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) add_product(acc[kRow][v], x, y[v]);
    }
  };
  (add_row(Lanes<r>{}), ...);
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) keep(y[v]);
}

// As many steps as kSteps lists. A streamed B is eight rows ahead on its way from L2 to L1: the CPU's own prefetching sees
// a dozen loads in a loop and keeps up only in part (float32, 9 x 3: 93 to 96 per cent of the peak without, 96 to 98 with).
template <class T, bool kPartial, bool kStream, int R, int V, int... kSteps>
MLEXT_INLINE void add_steps(Vec<T> (&acc)[R][V], RowPointers<T, R>& a, const T*& b, index b_row, index last,
                            Lanes<kSteps...>) {
  const auto step = [&]<int kStep>(Lanes<kStep>) __attribute__((always_inline)) {
    if constexpr (kStream) {
      const char* ahead = reinterpret_cast<const char*>(b) + 8 * b_row;
#pragma GCC unroll 4
      for (int i = 0; i < kRowLines<T, V>; ++i) __builtin_prefetch(ahead + kLine * i);
    }
    add_rows<T, kStep, kPartial>(acc, a, b, last, typename MakeLanes<R>::Type{});
    b = reinterpret_cast<const T*>(reinterpret_cast<const char*>(b) + b_row);
    pin(b);
  };
  (step(Lanes<kSteps>{}), ...);
  a.advance(sizeof...(kSteps));
}

// tile() for a_col 1. With kStream, which is for packed B, it also asks for memory that is wanted soon: a bit with every
// four steps, since a burst would take all line fill buffers from the streams; and only as near as L2, since L1 is full
// of the streams (into L1 it costs 3 per cent, not at all 10).
template <class T, int R, int V, bool kPartial, bool kStream>
void row_tile(const TileArgs<T>& g) {
  using Group = typename MakeLanes<4>::Type;
  const index b_row = g.b_row * static_cast<index>(sizeof(T)), last = g.cols - (V - 1) * Vec<T>::N;
  Vec<T> acc[R][V];
  clear(acc);
  RowPointers<T, R> a(g.a, g.a_row);
  const T* b = g.b;
  index left = g.k;
  if constexpr (kStream) {
    for (const Ahead* ahead = g.ahead; left >= 4; ++ahead) {
      const char* line = static_cast<const char*>(ahead->begin);
      const index step = ahead->step, all = left / 4;
      index groups = ahead->count < all ? ahead->count : all;
      left -= 4 * groups;
      for (; groups > 0; --groups, line += step) {
#pragma GCC unroll 4
        for (int i = 0; i < kRowLines<T, V>; ++i) __builtin_prefetch(line + kLine * i, 0, 2);
        add_steps<T, kPartial, true>(acc, a, b, b_row, last, Group{});
      }
    }
  } else {
    for (; left >= 4; left -= 4) add_steps<T, kPartial, false>(acc, a, b, b_row, last, Group{});
  }
  for (; left > 0; --left) add_steps<T, kPartial, false>(acc, a, b, b_row, last, Lanes<0>{});
  finish_tile<T, R, V, kPartial>(g, acc);
}

}  // namespace mlext::MLEXT_LEVEL
