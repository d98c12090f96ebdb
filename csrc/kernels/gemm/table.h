// The register tiles of one compute type at one ISA level.
#pragma once

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/row_tile.h"
#include "kernels/gemm/tile.h"

namespace mlext::MLEXT_LEVEL {

template <class T>
inline constexpr int kWidest = kReadsInPlace<T> ? TileShape<T>::kVectors : TileShape<T>::kStreamVectors;

// Only its pinned instructions set row_tile apart.
#if defined(__AVX2__)
inline constexpr bool kHasRowTiles = true;
#else
inline constexpr bool kHasRowTiles = false;
#endif

template <class T, int R, int V, Panel kPanel>
constexpr auto row_tile_or_tile() {
  if constexpr (kHasRowTiles) {
    return row_tile<T, R, V, kPanel>;
  } else {
    return tile<T, R, V>;
  }
}

template <class T, int V, int... r>
constexpr void add_tiles(GemmTypeKernels<T>& table, Lanes<r...>) {
  if constexpr (kReadsInPlace<T>) {
    ((table.tile[V - 1][r] = tile<T, r + 1, V>), ...);
  }
  ((table.row_tile[V - 1][r] = row_tile_or_tile<T, r + 1, V, Panel::at_hand>()), ...);
}

template <class T, int V, int... missing>
constexpr void add_streams(GemmTypeKernels<T>& table, Lanes<missing...>) {
  constexpr int kRows = TileShape<T>::rows(V);
  ((table.stream_tile[V - 1][missing] = row_tile_or_tile<T, kRows - missing, V, Panel::streamed>()), ...);
}

template <class T, int V, int... missing>
constexpr void add_packing(GemmTypeKernels<T>& table, Lanes<missing...>) {
  constexpr int kRows = TileShape<T>::rows(V);
  ((table.pack_tile[V - 1][missing] = row_tile<T, kRows - missing, V, Panel::packed_here>), ...);
}

template <class T, int V = 1>
constexpr void add_all_tiles(GemmTypeKernels<T>& table) {
  constexpr int kRows = TileShape<T>::rows(V);
  table.max_rows[V - 1] = kRows;
  add_tiles<T, V>(table, typename MakeLanes<kRows>::Type{});
  constexpr int kStreams = V == 3 && kRows < kStreamHeights ? kRows : V == 3 ? kStreamHeights : kTallHeights;
  if constexpr (V <= TileShape<T>::kStreamVectors) add_streams<T, V>(table, typename MakeLanes<kStreams>::Type{});
  // Packing pays from three blocks of rows on, which differ by one, and for more columns than one vector.
  if constexpr (kHasRowTiles && kReadsInPlace<T> && V > 1) {
    constexpr int kLowest = (2 * kRows + 3) / 3;
    add_packing<T, V>(table, typename MakeLanes<kRows - kLowest + 1>::Type{});
  }
  if constexpr (V < kWidest<T>) add_all_tiles<T, V + 1>(table);
}

template <class T>
constexpr GemmTypeKernels<T> tile_kernels() {
  GemmTypeKernels<T> table{};
  table.lanes = Vec<T>::N;
  table.group = 1;
  table.max_vectors = kWidest<T>;
  table.stream_vectors = TileShape<T>::kStreamVectors;
  add_all_tiles(table);
  return table;
}

}  // namespace mlext::MLEXT_LEVEL
