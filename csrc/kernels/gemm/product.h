// The walk over one product: tasks, blocks of k, chunks of rows, panels, micro-kernel calls.
//
// A task is some rows times some panels (a panel is as many columns as one micro-kernel call covers). Within a task, for
// each block of k and each chunk of rows: A stays in L2 (packed only if its layout would thrash the L1 cache) while one
// panel of B after the other passes all rows. Panels are packed for the first chunk and reused for the others, or read in
// place. Tasks share nothing, so there is no barrier.
#pragma once

#include <algorithm>

#include "core/dtype.h"
#include "core/launch.h"
#include "core/scratch.h"
#include "kernels/gemm/ahead.h"
#include "kernels/gemm/compact.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/kept.h"
#include "kernels/gemm/plan.h"
#include "kernels/gemm/walk.h"

namespace mlext::gemm_detail {

// One product, and the walk over one task of it.
template <class T>
struct Product {
  const GemmTypeKernels<T>& kernels;
  const GemmArgs& g;
  const GemmPlan& plan;
  Scalar<T> alpha, beta;
  const T* bias_n;
  const T* bias_m;
  const T* kept_b;  // all panels of B (kept.h), or null
  const void* a;
  const void* b;
  Outputs outputs;

  struct Task {
    index m0, m1, p0, p1;
    Split blocks, chunks;  // of the rows in blocks, of the blocks in chunks
    T* sums;               // one dense block per panel, or one for all in turn; null if micro-kernels write C
    T* packed_b;           // panels in turn, as many as are read again and the one being packed; null with kept_b
    index slots;
    T* packed_a;  // two chunks in turn
    index packed_row, packed_chunk;
  };

  // One panel of B against one chunk of A for one block of k.
  struct Step {
    index k0, k;
    index chunk;
    index panel;  // p1 after the last step
    index slot;   // of packed_b
    index turn;   // of packed_a
  };

  index column(index panel) const { return std::min(plan.column(panel), g.n); }

  void run(index m0, index m1, index p0, index p1) const {
    if (!plan.compact) return run_task(m0, m1, p0, p1);
    const auto* x = static_cast<const T*>(a);
    const auto* y = static_cast<const T*>(b);
    CompactProduct<T>{kernels, g, x, y, kept_b, outputs, plan.panels}.run(m0, m1, p0, p1);
  }

  void run_task(index m0, index m1, index p0, index p1) const {
    const index height = m1 - m0, columns = plan.column(p1) - plan.column(p0);
    const Split blocks = Split::of(height, plan.block_m), chunks = Split::of(blocks.count, plan.chunk);
    Task task{m0, m1, p0, p1, blocks, chunks, nullptr, nullptr, (chunks.count > 1 ? p1 - p0 : 1) + 1, nullptr, 0, 0};
    if (!plan.direct)
      task.sums = scratch<T>(kSlotSums, plan.sums_wait(g) ? height * columns : chunk_height(task) * plan.panel_width());
    if (plan.pack_b && kept_b == nullptr)
      task.packed_b = scratch<T>(kSlotB, task.slots * plan.block_k * plan.panel_width());
    if (plan.pack_a) {
      // Rows end in a gap, so that those of 512 floats do not fall into few cache sets.
      task.packed_row = (plan.block_k + 15) / 16 * 16 + 16;
      task.packed_chunk = chunk_height(task) * task.packed_row;
      task.packed_a = scratch<T>(kSlotA, 2 * task.packed_chunk);
    }
    Step step{0, std::min(plan.block_k, g.k), 0, p0, 0, 0};
    ChunkRows<T> rows, next_rows = chunk_rows(task, step, 0);
    NextPanel<T> next = next_panel(task, step, 1);
    do {  // at least once: k may be 0
      poll_interrupt();
      if (step.panel == p0) {
        rows = next_rows;
        rows.finish();
        Step later = step;
        later.panel = p1 - 1;
        next_rows = chunk_rows(task, after(task, later), chunks.size(step.chunk) * (p1 - p0));
      }
      while (next.done < next.k) next.pack();
      const Step following = after(task, step);
      run_step(task, step, following, rows, next, next_rows);
      step = following;
    } while (step.panel < p1);
  }

  // Panel after panel, chunk after chunk, block of k after block of k.
  Step after(const Task& task, Step step) const {
    const index panels = task.p1 - task.p0;
    const bool again = step.panel + 1 == task.p1 && step.chunk + 1 < task.chunks.count;
    step.slot += again ? task.slots - (panels - 1) : 1;  // back to where this block of k began
    if (step.slot >= task.slots) step.slot -= task.slots;
    if (++step.panel < task.p1) return step;
    if (!again && step.k0 + step.k == g.k) return step;
    step.panel = task.p0;
    step.turn ^= 1;
    if (again) return ++step.chunk, step;
    step.chunk = 0;
    step.k0 += step.k;
    step.k = std::min(plan.block_k, g.k - step.k0);
    return step;
  }

  // Rows of the highest chunk.
  static index chunk_height(const Task& task) { return task.blocks.begin(task.chunks.begin(1)); }

  index row(const Task& task, index chunk) const { return task.m0 + task.blocks.begin(task.chunks.begin(chunk)); }

  ChunkRows<T> chunk_rows(const Task& task, const Step& step, index calls) const {
    if (step.panel == task.p1) return {};
    const index begin = row(task, step.chunk), count = row(task, step.chunk + 1) - begin;
    const void* from = at(a, g.dtype, begin * g.a_row + step.k0 * g.a_col);
    T* to = plan.pack_a ? task.packed_a + step.turn * task.packed_chunk : nullptr;
    return {&kernels, &g, from, to, task.packed_row, begin, count, step.k, calls};
  }

  NextPanel<T> next_panel(const Task& task, const Step& step, index calls) const {
    if (!plan.pack_b || step.panel == task.p1) return {&kernels, &g, nullptr, nullptr, nullptr, 0, 0, 0, 1};
    const index width = plan.panels.size(step.panel) * plan.unit, n0 = column(step.panel);
    const index cols = column(step.panel + 1) - n0;
    const index slice = (ceil_div(step.k, calls) + 15) / 16 * 16;  // whole cache lines if k is contiguous
    const void* from = at(b, g.dtype, step.k0 * g.b_row + n0 * g.b_col);
    T* slot = kept_b == nullptr ? task.packed_b + step.slot * plan.block_k * plan.panel_width() : nullptr;
    const T* panel = kept_b == nullptr ? slot : kept_b + kept_panel(plan, step.k0, step.k, step.panel);
    return {&kernels, &g, from, panel, step.chunk > 0 ? nullptr : slot, width, step.k, cols, slice};
  }

  void run_step(const Task& task, const Step& step, const Step& following, const ChunkRows<T>& rows, NextPanel<T>& next,
                ChunkRows<T>& next_rows) const {
    TileArgs<T> tile;
    const index n0 = column(step.panel);
    tile.k = step.k;
    tile.cols = column(step.panel + 1) - n0;
    T* sums = task.sums;
    if (plan.sums_wait(g)) sums += (n0 - column(task.p0)) * (task.m1 - task.m0) + (rows.begin - task.m0) * tile.cols;
    set_b(tile, next, step.k0, n0);
    set_out(tile, sums, rows.begin, n0);
    set_added(tile, step, rows.begin, n0);
    const bool tiles = plan.kernel == GemmPlan::kTile;
    const Split blocks = Split::of(rows.count, tiles ? kernels.max_rows[plan.panels.size(step.panel) - 1] : rows.count);
    next = next_panel(task, following, blocks.count);
    const bool finishes = plan.finish && step.k0 + step.k == g.k;
    run_panel(tile, rows, blocks, next, next_rows, n0, finishes && plan.direct);
    if (finishes && !plan.direct) finish(sums, tile.cols, rows.begin, rows.count, n0, tile.cols);
  }

  void run_panel(TileArgs<T>& tile, const ChunkRows<T>& rows, const Split& blocks, NextPanel<T>& next,
                 ChunkRows<T>& next_rows, index n0, bool finishes) const {
    tile.a = rows.a();
    tile.a_row = rows.a_row();
    tile.a_col = rows.a_col();
    tile.rows = rows.count;
    if (plan.kernel != GemmPlan::kTile) {
      plan.kernel == GemmPlan::kDot ? kernels.dot(g.dtype, tile) : kernels.gemv(tile);
      if (finishes) finish(tile.out, tile.out_row, rows.begin, rows.count, n0, tile.cols);
      return;
    }
    const index vectors = ceil_div(tile.cols, kernels.lanes), row_bytes = vectors * kernels.lanes * index{sizeof(T)};
    for (index i = 0; i < blocks.count; ++i) {
      tile.rows = blocks.size(i);
      // Blocks of few rows, lower than any stream_tile, go to the others.
      const index missing = kernels.max_rows[vectors - 1] - tile.rows;
      if (plan.streams && missing < kTallHeights) {
        AheadList list;
        list.add(tile.out, tile.out_row * static_cast<index>(sizeof(T)), tile.rows);
        next.announce(list);
        next_rows.announce(list, (row_bytes + 63) / 64 * 64);
        tile.ahead = list.end(tile.a);
        kernels.stream_tile[vectors - 1][missing](tile);
      } else {
        (tile.a_col == 1 ? kernels.row_tile : kernels.tile)[vectors - 1][tile.rows - 1](tile);
      }
      if (finishes) finish(tile.out, tile.out_row, rows.begin + blocks.begin(i), tile.rows, n0, tile.cols);
      next.pack();
      next_rows.pack();
      tile.a += tile.rows * tile.a_row;
      tile.in += tile.rows * tile.in_row;
      tile.out += tile.rows * tile.out_row;
    }
  }

  void set_b(TileArgs<T>& tile, const NextPanel<T>& packed, index k0, index n0) const {
    tile.b = plan.pack_b ? packed.b : static_cast<const T*>(at(b, g.dtype, k0 * g.b_row + n0 * g.b_col));
    tile.b_row = plan.pack_b ? packed.width : g.b_row;
    tile.b_col = plan.pack_b ? 1 : g.b_col;
  }

  void set_out(TileArgs<T>& tile, T* sums, index m0, index n0) const {
    tile.out = plan.direct ? static_cast<T*>(outputs.c) + m0 * g.c_row + n0 : sums;
    tile.out_row = plan.direct ? g.c_row : tile.cols;
  }

  // What is added to the sums of a block of k: bias and R to the first ones, and themselves to the others. The bias comes
  // first on both ways out, so that fusing an activation does not change a bit.
  void set_added(TileArgs<T>& tile, const Step& step, index m0, index n0) const {
    const bool first = step.k0 == 0;
    tile.alpha = alpha;
    tile.bias = first && bias_n != nullptr ? bias_n + n0 : nullptr;
    tile.in = first && plan.direct ? static_cast<const T*>(outputs.in) + m0 * g.c_row + n0 : tile.out;
    tile.in_row = tile.out_row;
    tile.beta = first ? (plan.direct ? beta : 0) : 1;
    tile.top = step.k0 + step.k == g.k ? tile_top<T>(g) : 0;
  }

  // The epilogue over rows m0 and columns n0 of C; with plan.direct the sums are there and hold beta * R.
  void finish(const T* sums, index sums_row, index m0, index rows, index n0, index cols) const {
    FinishArgs<T> f = finish_args<T>(g, outputs, bias_m, m0, n0);
    f.rows = rows;
    f.cols = cols;
    f.tile = sums;
    f.tile_row = sums_row;
    if (!plan.direct) f.beta = beta;
    kernels.finish(f);
  }
};

}  // namespace mlext::gemm_detail
