// One panel of a packed B times rows of A that are contiguous along k: for drivers that walk in their own way.
#pragma once

#include "kernels/gemm/ahead.h"
#include "kernels/gemm/rules.h"
#include "kernels/gemm/split.h"

namespace mlext::gemm_detail {

// tile: all of TileArgs but rows, ahead and what follows from the panel; a_row, in_row and out_row given. While it computes, it
// asks for `next`, what will be the next panel, and for so many elements of `coming`.
template <class T>
struct PanelProduct {
  TileArgs<T> tile;
  index rows, vectors;
  const T* next = nullptr;
  const T* coming = nullptr;
  index share = 0;
  bool far = false;  // B comes from L3, and few rows would wait for it
};

template <class T>
void multiply_panel(const GemmTypeKernels<T>& kernels, const PanelProduct<T>& product) {
  TileArgs<T> tile = product.tile;
  const index vectors = product.vectors, width = vectors * kernels.lanes, bytes = width * static_cast<index>(sizeof(T));
  const index highest = kernels.max_rows[vectors - 1];
  const Split heights = Split::of(product.rows, highest);
  tile.a_col = tile.b_col = 1;
  tile.b_row = width;
  tile.alpha = 1;
  const index missing = highest - heights.size(heights.count - 1);
  const bool few = product.far && missing < kStreamHeights && kernels.stream_tile[vectors - 1][missing] != nullptr;
  const bool streams = tile.k * bytes > kNearPanel && (missing < kTallHeights || few);
  const index slice = ceil_div(tile.k, heights.count), piece = ceil_div(product.share, heights.count * width);
  for (index part = 0; part < heights.count; ++part) {
    tile.rows = heights.size(part);
    if (streams) {
      AheadList list;
      if (product.next != nullptr) list.add(product.next + part * slice * width, bytes, slice);
      if (product.coming != nullptr) list.add(product.coming + part * piece * width, bytes, piece);
      tile.ahead = list.end(tile.a);
      kernels.stream_tile[vectors - 1][highest - tile.rows](tile);
    } else {
      kernels.row_tile[vectors - 1][tile.rows - 1](tile);
    }
    tile.a += tile.rows * tile.a_row;
    tile.in += tile.rows * tile.in_row;
    tile.out += tile.rows * tile.out_row;
  }
}

}  // namespace mlext::gemm_detail
