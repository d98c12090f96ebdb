// One row times packed tiles, of numbers or of bytes with scales.
#pragma once

#include "kernels/rnn/rnn.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

// Columns in a vector of a tile.
template <class W>
MLEXT_INLINE index lanes_of(index cols, int vector) {
  const index left = cols - vector * W::N;
  return left < W::N ? left : W::N;
}

// One tile has three sums at most, of which each waits four cycles for itself: with several, memory is what is waited for.
template <class T, class B, int S, int V>
void row_tiles(const RowArgs<T, B>& args) {
  using W = Vec<T>;
  constexpr bool kOfBytes = sizeof(B) == 1;
  W sums[S][V], scales[S][V];
#pragma GCC unroll 12
  for (int i = 0; i < S * V; ++i) {
    sums[i / V][i % V] = W::zero();
    if constexpr (kOfBytes) {
      const auto& tile = args.tile[i / V];
      scales[i / V][i % V] = W::load(tile.scale + i % V * W::N, lanes_of<W>(tile.cols, i % V));
    }
  }
  for (index k = 0; k < args.k; ++k) {
    const W x(args.a[k]);
#pragma GCC unroll 12
    for (int i = 0; i < S * V; ++i) {
      W& sum = sums[i / V][i % V];
      W b = W::load(args.tile[i / V].b + (k * V + i % V) * W::N);
      if constexpr (kOfBytes) b = b * scales[i / V][i % V];
      sum = fma(x, b, sum);
    }
  }
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s) {
    const auto& tile = args.tile[s];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      const index first = v * W::N, lanes = lanes_of<W>(tile.cols, v);
      W sum = sums[s][v];
      if (tile.bias != nullptr) sum += W::load(tile.bias + first, lanes);
      if (args.adds) sum += W::load(tile.out + first, lanes);
      sum.store(tile.out + first, lanes);
    }
  }
}
template <class T, class B, int S, int... v>
constexpr void add_rows(RowTable<T, B>& table, Lanes<v...>) {
  ((table[S - 1][v] = row_tiles<T, B, S, v + 1>), ...);
}
template <class T, class B>
constexpr void add_all_rows(RowTable<T, B>& table) {
  using Vectors = typename MakeLanes<kRowVectors>::Type;
  add_rows<T, B, 1>(table, Vectors{});
  add_rows<T, B, 2>(table, Vectors{});
  add_rows<T, B, 3>(table, Vectors{});
  add_rows<T, B, 4>(table, Vectors{});
}

}  // namespace mlext::MLEXT_LEVEL
