// The micro-kernel for rows of A that are contiguous along k: what large products spend their time in.
#pragma once

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/tile.h"
#include "simd/pinned.h"

namespace mlext::MLEXT_LEVEL {

// Row r of a block: a base for every three rows, and 0, 1 or 2 strides, so that nine rows take four registers.
template <class T, int R>
struct RowPointers {
  static constexpr int kBases = (R + 2) / 3;
  const char* base[kBases];
  index stride;

  MLEXT_INLINE RowPointers(const T* a, index row) : stride(row * static_cast<index>(sizeof(T))) {
#pragma GCC unroll 8
    for (int i = 0; i < kBases; ++i) base[i] = reinterpret_cast<const char*>(a) + 3 * i * stride;
  }
  MLEXT_INLINE void advance(index bytes) {
#pragma GCC unroll 8
    for (int i = 0; i < kBases; ++i) {
      base[i] += bytes;
      pin(base[i]);
    }
  }
};

// Of k in one go. A sanitizer, which gets plain code, would compile for minutes more.
inline constexpr int kSteps = MLEXT_PINNED ? 4 : 1;

// How a panel of B is read: at hand means in L1, or soon there by the CPU's own prefetching; streamed means packed, in L2 or
// L3; packed_here means at hand, in place, and this call leaves it packed. The stores cost the arithmetic nothing, while a
// copy before the first call takes 5 per cent of 128 cubed; but every load of a panel in L3 would be waited for, so those
// are copied between calls, from memory that was asked for in time (512 cubed: 2 per cent).
enum class Panel { at_hand, packed_here, streamed };

// What follows knows as little of the tile as it can, so that tiles share it: each instance costs compile time.

template <class T, int kVector, int kStep, bool kMasked>
MLEXT_INLINE Vec<T> load_b(const char* base, index stride, index last) {
  constexpr int kOffset = kVector * sizeof(Vec<T>), kStrides = kStep % 3;
  if constexpr (kMasked) {
    static_assert(kStep == 0);
    return load_pinned<T, kOffset>(base, last);
  } else {
    return load_pinned<T, kOffset, kStrides>(base, stride);
  }
}

// Narrow tiles need nearly all the instructions that a CPU decodes (13 x 2: 42 in 13 cycles), while loads have room: their
// rows without a stride go into the fma, two instructions instead of three (64 cubed: 2 per cent). Of bytes, an
// instruction takes only the signed factor from memory, which is B.
template <class T, int kStrides, int kStep, int V, int... v>
MLEXT_INLINE void add_row(Vec<T> (&sums)[V], const char* a, index stride, const Vec<T> (&y)[V], Lanes<v...>) {
  constexpr int kOffset = kStep * sizeof(T);
  if constexpr (kReadsInPlace<T> && TileShape<T>::kWide && V < 3 && kStrides == 0) {
    (add_product_from<T, kOffset>(sums[v], a, y[v]), ...);
  } else {
    const Vec<T> x = broadcast_pinned<T, kOffset, kStrides>(a, stride);
    (add_product(sums[v], x, y[v]), ...);
  }
}

// A streamed B is eight rows ahead on its way from L2 to L1: the CPU's own prefetching sees a dozen loads in a loop and
// keeps up only in part (float32, 9 x 3: 93 to 96 per cent of the peak without, 96 to 98 with).
template <class T, int V, int kStep>
MLEXT_INLINE void ask_for_b(const char* b) {
#pragma GCC unroll 4
  for (int line = 0; line < kRowLines<T, V>; ++line) {
    __builtin_prefetch(b + (8 + kStep) * V * sizeof(Vec<T>) + line * kLine);
  }
}

// Step kStep of k.
template <class T, int kStep, bool kMasked, Panel kPanel, int R, int V, int... r, int... v>
MLEXT_INLINE void add_rows(Vec<T> (&acc)[R][V], const RowPointers<T, R>& a, const RowPointers<T, kSteps>& b, index last,
                           char* packed, Lanes<r...>, Lanes<v...>) {
  if constexpr (kPanel == Panel::streamed) ask_for_b<T, V, kStep>(b.base[0]);
  Vec<T> y[V];
  ((y[v] = load_b < T, v, kStep, kMasked && v == V - 1 > (b.base[kStep / 3], b.stride, last)), ...);
  if constexpr (kPanel == Panel::packed_here) {
    (store_pinned<T, (kStep * V + v) * int{sizeof(Vec<T>)}>(packed, y[v]), ...);
  }
  (add_row<T, r % 3, kStep>(acc[r], a.base[r / 3], a.stride, y, Lanes<v...>{}), ...);
  (keep(y[v]), ...);
}

// The steps of a list.
template <class T, bool kMasked, Panel kPanel, int R, int V, int... kStep>
MLEXT_INLINE void add_steps(Vec<T> (&acc)[R][V], RowPointers<T, R>& a, RowPointers<T, kSteps>& b, index last,
                            char*& packed, Lanes<kStep...>) {
  using Rows = typename MakeLanes<R>::Type;
  using Vectors = typename MakeLanes<V>::Type;
  (add_rows<T, kStep, kMasked, kPanel>(acc, a, b, last, packed, Rows{}, Vectors{}), ...);
  constexpr index kCount = sizeof...(kStep);
  a.advance(kCount * static_cast<index>(sizeof(T)));
  b.advance(kCount * b.stride);
  if constexpr (kPanel == Panel::packed_here) {
    packed += kCount * V * static_cast<index>(sizeof(Vec<T>));
    pin(packed);
  }
}

// tile() for a_col 1. With a streamed panel it also asks for memory that is wanted soon: a bit with every four steps, since a
// burst would take all line fill buffers from the streams; and only as near as L2, since L1 is full of the streams (into L1
// it costs 3 per cent, not at all 10).
template <class T, int R, int V, Panel kPanel>
void row_tile(const TileArgs<T>& g) {
  using Group = typename MakeLanes<kSteps>::Type;
  const index last = g.cols - (V - 1) * Vec<T>::N;
  const index all_groups = (g.k - masked_rows<T, V>(g)) / kSteps;
  Vec<T> acc[R][V];
  clear(acc);
  RowPointers<T, R> a(g.a, g.a_row);
  RowPointers<T, kSteps> b(g.b, g.b_row);
  char* packed = nullptr;
  if constexpr (kPanel == Panel::packed_here) packed = reinterpret_cast<char*>(g.packed);
  const Ahead* ahead = kPanel == Panel::streamed ? g.ahead : nullptr;
  for (index run = 0;;) {
    index groups = all_groups, left = g.k - kSteps * groups;
    if constexpr (kPanel == Panel::streamed) {
      while (groups > 0) {
        const char* line = static_cast<const char*>(ahead->begin);
        const index step = ahead->step;
        index some = ahead->count < groups ? ahead->count : groups;
        groups -= some;
        for (; some > 0; --some, line += step) {
#pragma GCC unroll 4
          for (int i = 0; i < kRowLines<T, V>; ++i) __builtin_prefetch(line + kLine * i, 0, 2);
          add_steps<T, false, kPanel>(acc, a, b, last, packed, Group{});
        }
        if (groups > 0) ++ahead;
      }
    } else {
      for (; groups > 0; --groups) add_steps<T, false, kPanel>(acc, a, b, last, packed, Group{});
    }
    constexpr Panel kRest = kPanel == Panel::streamed ? Panel::at_hand : kPanel;
    for (; left > 0; --left) add_steps<T, kReadsInPlace<T>, kRest>(acc, a, b, last, packed, Lanes<0>{});
    if (++run == g.runs) break;
    a.advance(g.a_jumps[run - 1] * static_cast<index>(sizeof(T)));
    if (g.b_jumps != nullptr) b.advance(g.b_jumps[run - 1] * static_cast<index>(sizeof(T)));
  }
  finish_tile<T, R, V>(g, acc);
}

}  // namespace mlext::MLEXT_LEVEL
