// The walk over one product: tasks, blocks of k, chunks of rows, panels, micro-kernel calls.
//
// A task is some rows times some panels (a panel is as many columns as one micro-kernel call covers). Within a task, for
// each block of k and each chunk of rows: A stays in L2 (packed only if its layout would thrash the L1 cache) while one
// panel of B after the other passes all rows. Panels are packed for the first chunk and reused for the others, or read in
// place. Tasks share nothing, so there is no barrier.
#pragma once

#include <algorithm>
#include <limits>

#include "core/dtype.h"
#include "core/launch.h"
#include "core/scratch.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/plan.h"

namespace mlext::gemm_detail {

// Workspace slots of core/scratch.h. The last ones, so that drivers that call gemm() can use the first.
enum Slot { kSlotBias = kScratchSlots - 4, kSlotA, kSlotB, kSlotSums };

inline const void* at(const void* base, DType dtype, index elements) {
  return static_cast<const char*>(base) + elements * item_size(dtype);
}
inline void* at(void* base, DType dtype, index elements) {
  return static_cast<char*>(base) + elements * item_size(dtype);
}

// What to bring near during one micro-kernel call (Ahead), as a list that packed_tile() runs down.
class AheadList {
 public:
  void add(const void* begin, index step, index count) {
    if (count > 0) items_[size_++] = {begin, step, count};
  }
  // Kernels ask for something until the end of k; `near` is in use anyway.
  const Ahead* end(const void* near) {
    items_[size_] = {near, 0, std::numeric_limits<index>::max()};
    return items_;
  }

 private:
  Ahead items_[4];
  int size_ = 0;
};

// The next panel of B, packed in slices between the micro-kernel calls of the panel before: while one call computes, the
// memory of the next slice is on its way. Otherwise the arithmetic units would wait for L3 or memory.
template <class T>
struct NextPanel {
  const GemmTypeKernels<T>* kernels;
  const GemmArgs* args;
  const void* from;
  T* to;
  index width, k, cols, slice;
  bool packed;  // by an earlier chunk of rows: only bring it near
  index done = 0;

  const void* source() const { return at(from, args->dtype, done * args->b_row); }
  index next() const { return std::min(slice, k - done); }
  void announce(AheadList& list) const {
    const index size = item_size(args->dtype);
    list.add(to + done * width, width * static_cast<index>(sizeof(T)), next());
    if (packed) return;
    if (args->b_col == 1) list.add(source(), args->b_row * size, next());
    if (args->b_row == 1) list.add(source(), args->b_col * size, cols);
  }
  void pack() {
    if (done == k) return;
    if (!packed) kernels->pack(args->dtype, source(), args->b_row, args->b_col, next(), cols, to + done * width, width);
    done += next();
  }
};

// One product, and the walk over one task of it.
template <class T>
struct Product {
  const GemmTypeKernels<T>& kernels;
  const GemmArgs& g;
  const GemmPlan& plan;
  T alpha, beta;
  const T* bias_n;
  const T* bias_m;
  const void* a;
  const void* b;
  void* c;
  void* pre;

  struct Rows {  // of A for one chunk and one block of k
    Split blocks;
    index begin, count;
    index k0, k;
    const T* a;
    index step, col;  // row stride between blocks, and column stride within one
  };

  struct Task {
    index m0, m1, p0, p1;
    T* sums;      // one dense block per panel, unless micro-kernels write C
    T* packed_b;  // panel after panel; two of them in turn if there is only one chunk
    index packed_panels;
  };

  index column(index panel) const { return std::min(plan.panels.begin(panel) * plan.unit, g.n); }

  void run_task(index m0, index m1, index p0, index p1) const {
    const index rows = m1 - m0, columns = (plan.panels.begin(p1) - plan.panels.begin(p0)) * plan.unit;
    Task task{m0, m1, p0, p1, nullptr, nullptr, rows > plan.chunk ? p1 - p0 : 2};
    if (!plan.direct) task.sums = scratch<T>(kSlotSums, rows * columns);
    if (plan.pack_b) task.packed_b = scratch<T>(kSlotB, task.packed_panels * plan.block_k * plan.panel_width());
    const Split chunks = Split::of(rows, plan.chunk);
    index k0 = 0;
    do {  // at least once: k may be 0
      const index k = std::min(plan.block_k, g.k - k0);
      for (index i = 0; i < chunks.count; ++i) run_chunk(task, k0, k, m0 + chunks.begin(i), chunks.size(i));
      k0 += k;
    } while (k0 < g.k);
  }

  void run_chunk(const Task& task, index k0, index k, index m0, index count) const {
    Rows rows{Split::of(count, plan.block_m), m0, count, k0, k, nullptr, 0, 0};
    set_a(rows);
    NextPanel<T> next = next_panel(task, task.p0, rows);
    for (index p = task.p0; p < task.p1; ++p) {
      poll_interrupt();
      while (next.done < next.k) next.pack();
      TileArgs<T> tile;
      const index n0 = column(p);
      tile.k = k;
      tile.cols = column(p + 1) - n0;
      T* sums = task.sums + (n0 - column(task.p0)) * (task.m1 - task.m0) + (m0 - task.m0) * tile.cols;
      set_b(tile, next, k0, n0);
      set_out(tile, sums, k0 == 0, m0, n0);
      next = next_panel(task, p + 1, rows);
      run_panel(tile, rows, next);
      if (!plan.direct && k0 + k == g.k) finish(sums, rows, n0, tile.cols);
    }
  }

  NextPanel<T> next_panel(const Task& task, index p, const Rows& rows) const {
    if (!plan.pack_b || p == task.p1) return {&kernels, &g, nullptr, nullptr, 0, 0, 0, 1, false};
    const index width = plan.panels.size(p) * plan.unit, n0 = column(p), number = p - task.p0;
    T* to = task.packed_b + (task.packed_panels == 2 ? number & 1 : number) * plan.block_k * plan.panel_width();
    const index slice = (ceil_div(rows.k, rows.blocks.count) + 15) / 16 * 16;  // whole cache lines if k is contiguous
    const void* from = at(b, g.dtype, rows.k0 * g.b_row + n0 * g.b_col);
    return {&kernels, &g, from, to, width, rows.k, column(p + 1) - n0, slice, rows.begin != task.m0};
  }

  void run_panel(TileArgs<T>& tile, const Rows& rows, NextPanel<T>& next) const {
    tile.a = rows.a;
    tile.a_row = rows.step;
    tile.a_col = rows.col;
    if (plan.kernel == GemmPlan::kDot) {
      tile.rows = rows.count;
      return kernels.dot(tile);
    }
    if (plan.kernel == GemmPlan::kGemv) return kernels.gemv(tile);
    const index vectors = ceil_div(tile.cols, kernels.lanes);
    const bool partial = tile.cols != vectors * kernels.lanes;
    const index tall = kernels.max_rows[kernels.max_vectors - 1];
    for (index i = 0; i < rows.blocks.count; ++i) {
      tile.rows = rows.blocks.size(i);
      // The packed micro-kernels exist in two heights, those into which many rows split; odd blocks go to the others.
      if (plan.packed && (tile.rows == tall || tile.rows == tall - 1)) {
        AheadList list;
        list.add(tile.out, tile.out_row * static_cast<index>(sizeof(T)), tile.rows);
        next.announce(list);
        tile.ahead = list.end(tile.a);
        kernels.packed[partial][vectors - 1][tile.rows == tall](tile);
      } else {
        kernels.tile[partial][vectors - 1][tile.rows - 1](tile);
      }
      next.pack();
      tile.a += tile.rows * rows.step;
      tile.in += tile.rows * tile.in_row;
      tile.out += tile.rows * tile.out_row;
    }
  }

  // A of one chunk, in place or packed as rows. These end in a gap, so that rows of 512 floats do not fall into few cache
  // sets.
  void set_a(Rows& rows) const {
    const void* from = at(a, g.dtype, rows.begin * g.a_row + rows.k0 * g.a_col);
    rows.a = static_cast<const T*>(from);
    rows.step = g.a_row;
    rows.col = g.a_col;
    if (!plan.pack_a) return;
    const index row = (rows.k + 15) / 16 * 16 + 16;
    T* to = scratch<T>(kSlotA, rows.count * row);
    rows.a = to;
    rows.step = row;
    rows.col = 1;
    kernels.pack(g.dtype, from, g.a_row, g.a_col, rows.count, rows.k, to, row);
  }

  void set_b(TileArgs<T>& tile, const NextPanel<T>& packed, index k0, index n0) const {
    tile.b = plan.pack_b ? packed.to : static_cast<const T*>(b) + k0 * g.b_row + n0 * g.b_col;
    tile.b_row = plan.pack_b ? packed.width : g.b_row;
    tile.b_col = plan.pack_b ? 1 : g.b_col;
  }

  // Where sums go and what they are added to: C (or the bias, as one row for all) in the first block of k, and
  // themselves afterwards. The bias comes first on both ways out, so that fusing an activation does not change a bit.
  void set_out(TileArgs<T>& tile, T* sums, bool first, index m0, index n0) const {
    tile.out = plan.direct ? static_cast<T*>(c) + m0 * g.c_row + n0 : sums;
    tile.out_row = plan.direct ? g.c_row : tile.cols;
    tile.in = tile.out;
    tile.in_row = tile.out_row;
    tile.alpha = alpha;
    tile.beta = first ? (plan.direct ? beta : T(0)) : T(1);
    if (first && bias_n != nullptr && beta == 0) {
      tile.in = bias_n + n0;
      tile.in_row = 0;
      tile.beta = T(1);
    }
  }

  void finish(const T* sums, const Rows& rows, index n0, index cols) const {
    FinishArgs<T> f;
    f.rows = rows.count;
    f.cols = cols;
    f.tile = sums;
    f.tile_row = cols;
    f.out_dtype = g.out_dtype;
    const index offset = rows.begin * g.c_row + n0 * g.c_col;
    f.c = at(c, g.out_dtype, offset);
    f.pre = pre != nullptr ? at(pre, g.out_dtype, offset) : nullptr;
    f.c_row = g.c_row;
    f.c_col = g.c_col;
    f.beta = beta;
    f.bias_n = bias_n != nullptr && beta != 0 ? bias_n + n0 : nullptr;
    f.bias_m = bias_m != nullptr ? bias_m + rows.begin : nullptr;
    f.activation = g.activation;
    kernels.finish(f);
  }
};

}  // namespace mlext::gemm_detail
