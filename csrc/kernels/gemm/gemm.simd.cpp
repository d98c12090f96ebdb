// The micro-kernel tables of one ISA level.
#include "kernels/gemm/gemm.h"

#include "kernels/gemm/dot.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/row_tile.h"
#include "kernels/gemm/tile.h"

namespace mlext::MLEXT_LEVEL {

template <class T, int V, int... r>
constexpr void add_tiles(GemmTypeKernels<T>& table, Lanes<r...>) {
  ((table.tile[0][V - 1][r] = tile<T, r + 1, V, false>), ...);
  ((table.tile[1][V - 1][r] = tile<T, r + 1, V, true>), ...);
  ((table.row_tile[0][V - 1][r] = row_tile<T, r + 1, V, false, Panel::at_hand>), ...);
  ((table.row_tile[1][V - 1][r] = row_tile<T, r + 1, V, true, Panel::at_hand>), ...);
  table.max_rows[V - 1] = sizeof...(r);
}

template <class T, int V, bool kPartial, int... missing>
constexpr void add_streams(GemmTypeKernels<T>& table, Lanes<missing...>) {
  constexpr int kRows = TileShape<T>::rows(V);
  ((table.stream_tile[kPartial][V - 1][missing] = row_tile<T, kRows - missing, V, kPartial, Panel::streamed>), ...);
}

template <class T, int V, bool kPartial, int... missing>
constexpr void add_packing(GemmTypeKernels<T>& table, Lanes<missing...>) {
  constexpr int kRows = TileShape<T>::rows(V);
  ((table.pack_tile[kPartial][V - 1][missing] = row_tile<T, kRows - missing, V, kPartial, Panel::packed_here>), ...);
}

template <class T, int V, bool kPartial>
constexpr void add_tall_tiles(GemmTypeKernels<T>& table) {
  if constexpr (V <= TileShape<T>::kStreamVectors) {
    add_streams<T, V, kPartial>(table, typename MakeLanes<kTallHeights>::Type{});
  }
  // Packing pays from three blocks of rows on, which differ by one, and for more columns than one vector. 16 registers have no
  // room for a mask beside the sums: gcc 12 would copy those.
  if constexpr (V > 1 && (TileShape<T>::kWide || !kPartial)) {
    constexpr int kRows = TileShape<T>::rows(V), kLowest = (2 * kRows + 3) / 3;
    add_packing<T, V, kPartial>(table, typename MakeLanes<kRows - kLowest + 1>::Type{});
  }
}

template <class T, int V = 1>
constexpr void add_all_tiles(GemmTypeKernels<T>& table) {
  add_tiles<T, V>(table, typename MakeLanes<TileShape<T>::rows(V)>::Type{});
  add_tall_tiles<T, V, false>(table);
  add_tall_tiles<T, V, true>(table);
  if constexpr (V < TileShape<T>::kVectors) add_all_tiles<T, V + 1>(table);
}

template <class T>
constexpr GemmTypeKernels<T> type_kernels() {
  GemmTypeKernels<T> table{};
  table.lanes = Vec<T>::N;
  table.max_vectors = TileShape<T>::kVectors;
  table.stream_vectors = TileShape<T>::kStreamVectors;
  add_all_tiles(table);
  table.gemv = gemv<T>;
  table.dot = dot<T>;
  table.pack = pack;
  table.finish = finish;
  return table;
}

extern const GemmKernels gemm_kernels;
const GemmKernels gemm_kernels = {type_kernels<float>(), type_kernels<double>()};

}  // namespace mlext::MLEXT_LEVEL
