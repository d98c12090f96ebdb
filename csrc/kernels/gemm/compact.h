// The walk over a product that lies in L2 with both factors and the result: everything in place, no copies, nothing to bring
// near. Panel after panel of B passes all rows; a panel that many rows read is packed by its first micro-kernel call, and one
// whose rows are not contiguous before. The order of additions is that of product.h.
#pragma once

#include <algorithm>

#include "core/scratch.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/plan.h"
#include "kernels/gemm/walk.h"

namespace mlext::gemm_detail {

template <class T>
struct CompactProduct {
  const GemmTypeKernels<T>& kernels;
  const GemmArgs& g;
  const T* a;
  const T* b;
  const T* kept_b;  // all panels of B (kept.h), or null
  Outputs outputs;
  const Split& panels;  // of n, in vectors

  // Rows m0 to m1 and panels p0 to p1.
  void run(index m0, index m1, index p0, index p1) const {
    TileArgs<T> tile;
    tile.k = g.k;
    tile.a_row = g.a_row;
    tile.a_col = g.a_col;
    tile.b_col = 1;
    tile.out_row = g.c_row;
    tile.in_row = g.c_row;
    tile.alpha = static_cast<Scalar<T>>(g.alpha);
    tile.beta = static_cast<Scalar<T>>(g.beta);
    tile.top = tile_top<T>(g);
    const bool packs = compact_packs(g, ceil_div(m1 - m0, kernels.max_rows[panels.size(p0) - 1]));
    if (packs || (g.b_col != 1 && kept_b == nullptr))
      tile.packed = scratch<T>(kSlotB, g.k * panels.size(p0) * kernels.lanes);
    for (index p = p0; p < p1; ++p) {
      const index n0 = panels.begin(p) * kernels.lanes;
      tile.cols = std::min(panels.size(p) * kernels.lanes, g.n - n0);
      tile.a = a + m0 * g.a_row;
      set_b(tile, panels.size(p) * kernels.lanes, n0);
      tile.out = static_cast<T*>(outputs.c) + m0 * g.c_row + n0;
      tile.in = static_cast<const T*>(outputs.in) + m0 * g.c_row + n0;
      tile.bias = g.bias_n != nullptr ? static_cast<const T*>(g.bias_n) + n0 : nullptr;
      run_panel(tile, panels.size(p), packs, m0, m1, n0);
    }
  }

 private:
  void set_b(TileArgs<T>& tile, index width, index n0) const {
    tile.b = b + n0 * g.b_col;
    tile.b_row = g.b_row;
    if (g.b_col == 1) return;
    if (kept_b == nullptr) kernels.pack_b(g.dtype, tile.b, g.b_row, g.b_col, g.k, tile.cols, tile.packed, width);
    tile.b = kept_b != nullptr ? kept_b + g.k * n0 : tile.packed;
    tile.b_row = width;
  }

  void run_panel(TileArgs<T>& tile, index vectors, bool packs, index m0, index m1, index n0) const {
    const index highest = kernels.max_rows[vectors - 1];
    const Split blocks = Split::of(m1 - m0, highest);
    const bool finishes = has_epilogue(g);
    const auto& tiles = (g.a_col == 1 ? kernels.row_tile : kernels.tile)[vectors - 1];
    for (index i = 0; i < blocks.count; ++i) {
      tile.rows = blocks.size(i);
      const index missing = highest - tile.rows;
      const auto pack_tile =
          packs && i == 0 && missing < kTallHeights ? kernels.pack_tile[vectors - 1][missing] : nullptr;
      if (pack_tile != nullptr) {
        pack_tile(tile);
        tile.b = tile.packed;
        tile.b_row = vectors * kernels.lanes;
      } else {
        tiles[tile.rows - 1](tile);
      }
      if (finishes) finish(tile, m0 + blocks.begin(i), n0);
      tile.a += tile.rows * tile.a_row;
      tile.in += tile.rows * tile.in_row;
      tile.out += tile.rows * tile.out_row;
    }
  }

  void finish(const TileArgs<T>& tile, index row, index column) const {
    FinishArgs<T> f = finish_args<T>(g, outputs, static_cast<const T*>(g.bias_m), row, column);
    f.rows = tile.rows;
    f.cols = tile.cols;
    f.tile = tile.out;
    f.tile_row = tile.out_row;
    kernels.finish(f);
  }
};

}  // namespace mlext::gemm_detail
