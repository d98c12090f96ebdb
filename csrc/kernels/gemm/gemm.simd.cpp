// The micro-kernel tables of one ISA level.
#include "kernels/gemm/gemm.h"

#include "kernels/gemm/dot.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/tile.h"

namespace mlext::MLEXT_LEVEL {

// The register file decides the tiles. AVX-512 (32 registers): 9x3 = 27 sums + 3 of B + 1 of A, 14x2, 16x1.
// 16 registers: 6x2 = 12 sums + 2 of B + 1 of A (4x3 needs half as much again of B per fma), 8x1.
template <class T>
struct TileShape {
  static constexpr bool kWide = Vec<T>::N * sizeof(T) == 64;
  static constexpr int kVectors = kWide ? 3 : 2;
  static constexpr int rows(int vectors) {
    return kWide ? (vectors == 1 ? 16 : vectors == 2 ? 14 : 9) : (vectors == 1 ? 8 : 6);
  }
};

template <class T, int V, int... r>
constexpr void add_tiles(GemmTypeKernels<T>& table, Lanes<r...>) {
  ((table.tile[0][V - 1][r] = tile<T, r + 1, V, false>), ...);
  ((table.tile[1][V - 1][r] = tile<T, r + 1, V, true>), ...);
  table.max_rows[V - 1] = sizeof...(r);
}

template <class T, int V = 1>
constexpr void add_all_tiles(GemmTypeKernels<T>& table) {
  add_tiles<T, V>(table, typename MakeLanes<TileShape<T>::rows(V)>::Type{});
  if constexpr (V < TileShape<T>::kVectors) add_all_tiles<T, V + 1>(table);
}

template <class T>
constexpr GemmTypeKernels<T> type_kernels() {
  GemmTypeKernels<T> table{};
  table.lanes = Vec<T>::N;
  table.max_vectors = TileShape<T>::kVectors;
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
