// Which way a product is computed: a function of its shape, strides and dtype.
#pragma once

#include <algorithm>

#include "core/parallel.h"
#include "kernels/gemm/rules.h"

namespace mlext::gemm_detail {

// How m, n and k are walked. Depends on the shape, the strides and the dtype; only `rows`, `group` and the columns of a
// gemv, which cannot change a bit of the result, also depend on the number of threads.
struct GemmPlan {
  enum Kernel { kTile, kGemv, kDot } kernel = kTile;
  bool pack_a = false;
  bool pack_b = false;
  bool compact = false;  // compact.h takes the tasks, not product.h
  bool streams = false;  // B is packed, its panels do not stay in L1, and A has contiguous rows: what stream_tile takes
  bool direct = false;   // micro-kernels write C, where an epilogue finds it in L1; otherwise sums wait elsewhere
  bool finish = false;   // there is an epilogue
  index block_k = 0;
  index block_m = 1;  // rows of the tallest micro-kernel call
  Split panels;       // of n, in units of `unit` columns
  index unit = 1;
  index chunk = 1;  // blocks of rows whose A stays in L2
  index rows = 1;   // of a task
  index group = 1;  // panels of a task

  index panel_width() const { return panels.size(0) * unit; }
  index column(index panel) const { return panels.begin(panel) * unit; }  // of all, idle lanes included
  // Whether sums of more than one block of k wait for the epilogue.
  bool sums_wait(const GemmArgs& g) const { return !direct && g.k > block_k; }
  index row_tasks(const GemmArgs& g) const { return ceil_div(g.m, rows); }
  index panel_tasks() const { return ceil_div(panels.count, group); }
};

// Columns of a piece of B for one row of A: few enough for each thread to get one.
inline index gemv_columns(const GemmArgs& g, index batches) {
  if (work_of(g, batches) < kParallelFlops) return kGemvCols;
  constexpr index kLeast = 64;
  return std::min(ceil_div(ceil_div(g.n, num_threads()), kLeast) * kLeast, kGemvCols);
}

// Panels of a task at least. Rows of a large B in place are read in runs that memory likes.
inline index least_panels(const GemmPlan& plan, const GemmArgs& g) {
  const index size = item_size(g.dtype), least = plan.pack_a ? 4 : 1;
  const bool far = plan.kernel == GemmPlan::kTile && !plan.pack_b && g.k * g.n * size > kNearBytes;
  return far ? std::max(ceil_div(kRunBytes, plan.panel_width() * size), least) : least;
}

// Halves the longer side of the tasks until there are about four per thread, which even out a late one. A row task
// packs its B and a panel task reads its A anew, so neither gets too thin.
inline void split_over_threads(GemmPlan& plan, const GemmArgs& g, index batches) {
  const index threads = num_threads();
  const double work = work_of(g, batches) / kParallelFlops;
  if (threads == 1 || work < 1) return;
  const index wanted = std::min(4 * threads, static_cast<index>(4 * work) + 1);
  const index least_rows = plan.block_m * (plan.pack_b ? 8 : 1), least_group = least_panels(plan, g);
  index tasks = batches * plan.row_tasks(g) * plan.panel_tasks();
  while (tasks < wanted) {
    const bool rows = plan.rows >= 2 * least_rows, panels = plan.group >= 2 * least_group - 1 && plan.group > 1;
    if (!rows && !panels) return;
    if (rows && (!panels || plan.rows > plan.group * plan.panel_width())) {
      plan.rows = ceil_div(ceil_div(plan.rows, 2), plan.block_m) * plan.block_m;
    } else {
      plan.group = ceil_div(plan.group, 2);
    }
    tasks = batches * plan.row_tasks(g) * plan.panel_tasks();
  }
}

template <class T>
GemmPlan make_plan(const GemmTypeKernels<T>& kernels, const GemmArgs& g, index batches) {
  GemmPlan plan;
  plan.direct = is_direct(g);
  plan.finish = has_epilogue(g);
  constexpr index kLongest = kBlockKBytes / sizeof(T);
  plan.block_k = Split::of(g.k, std::clamp(divide(kPackedBBytes / sizeof(T), g.n), kBlockK, kLongest)).size(0);
  if (prefers_dot(g)) {
    plan.kernel = GemmPlan::kDot;
    plan.block_k = Split::of(g.k, kDotBlockK).size(0);
    plan.pack_a = is_converted(g.dtype) || (g.m > 1 && g.m <= kDotRows && at_page_distance(g.a_row, g));
    plan.block_m = 4;
    plan.unit = 32;
    plan.panels = {ceil_div(g.n, plan.unit), 1, 0};
  } else if (g.m == 1 && g.b_col == 1 && !is_converted(g.dtype) && g.n > kernels.max_vectors * kernels.lanes) {
    plan.kernel = GemmPlan::kGemv;
    plan.unit = gemv_columns(g, batches);
    plan.panels = {ceil_div(g.n, plan.unit), 1, 0};
  } else if (is_compact(g, compact_rows(g))) {
    plan.compact = true;
    plan.unit = kernels.lanes;
    plan.panels = compact_panels(kernels, g);
    plan.block_m = kernels.max_rows[plan.panels.size(0) - 1];
    plan.block_k = g.k;
    plan.pack_b = g.b_col != 1 || compact_packs(g, ceil_div(g.m, plan.block_m));
  } else {
    plan.unit = kernels.lanes;
    plan.pack_b = packs_b(kernels, g);
    plan.panels = Split::of(ceil_div(g.n, kernels.lanes),
                            plan.pack_b ? streamed_vectors(kernels, g) : vectors_in_place(kernels, g));
    plan.block_m = kernels.max_rows[plan.panels.size(0) - 1];
    plan.pack_a = packs_a(g, plan.panels.count);
    const index panel = std::min(plan.block_k, g.k) * plan.panel_width() * static_cast<index>(sizeof(T));
    plan.streams = plan.pack_b && (plan.pack_a || g.a_col == 1) && panel > kNearPanel;
    if (!plan.pack_b) plan.block_k = std::min(plan.block_k, block_in_place(g));
  }
  const index k = std::max<index>(plan.block_k, 1);
  plan.chunk = g.k <= kFewSteps ? divide(kFewStepsRows, plan.block_m)
                                : std::max<index>(divide(kBlockABytes / sizeof(T), k * plan.block_m), 4);
  plan.rows = plan.compact ? compact_rows(g) : g.m;
  plan.group = plan.panels.count;
  if (plan.pack_b) plan.group = std::min(plan.group, divide(kPackedBBytes / sizeof(T), k * plan.panel_width()));
  if (plan.sums_wait(g)) {
    plan.rows = std::min(plan.rows, plan.chunk * plan.block_m * 4);
    plan.group = std::min<index>(plan.group, 8);
  }
  split_over_threads(plan, g, batches);
  return plan;
}

}  // namespace mlext::gemm_detail
