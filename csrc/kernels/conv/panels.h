// The panels of a filter: for each group, block of k and panel, its rows in the order in which a tile wants them.
#pragma once

#include "core/packs.h"
#include "core/parallel.h"
#include "kernels/conv/band.h"
#include "kernels/gemm/kept.h"

namespace mlext::conv_detail {

template <class T>
struct Panels {
  const GemmTypeKernels<T>& kernels;
  const Correlation& c;
  const ConvPlan& plan;

  index size() const { return c.groups * c.product.k * plan.columns(); }
  // Where the panel of a block that begins with `run` begins.
  index offset(index group, index run, index runs, index panel) const {
    return group * c.product.k * plan.columns() + plan.run * (run * plan.columns() + runs * plan.column(panel));
  }

  void pack(T* to) const {
    if (c.product.k == 0) return;
    const index parts = c.groups * plan.panels.count;
    parallel_for(parts, 1, [&](index begin, index end) {
      for (index part = begin; part < end; ++part) {
        const index group = part / plan.panels.count, panel = part % plan.panels.count;
        for (index run = 0; run < plan.runs; run += plan.block)
          pack_block(group, run, std::min(plan.block, plan.runs - run), panel, to);
      }
    });
  }

 private:
  void pack_block(index group, index run, index runs, index panel, T* to) const {
    const GemmArgs& g = c.product;
    const index n0 = plan.column(panel), width = plan.column(panel + 1) - n0, cols = std::min(width, g.n - n0);
    T* block = to + offset(group, run, runs, panel);
    const index taps = plan.joins ? c.cols.taps : 1;
    // Neighbouring taps follow each other as channels do, in most layouts.
    const bool follow = c.cols.w_step == c.channels * g.b_row || taps == 1;
    const index rows = follow ? plan.run : c.channels;
    for (index i = 0; i < runs; ++i) {
      const index first = (run + i) * taps;  // tap
      for (index tap = 0; tap < taps; tap += rows / c.channels, block += rows * width) {
        const index y = (first + tap) / c.cols.taps, x = (first + tap) % c.cols.taps;
        const index from = group * c.w_group + y * c.rows.w_step + x * c.cols.w_step + n0 * g.b_col;
        kernels.pack_b(g.dtype, gemm_detail::at(g.b, g.dtype, from), g.b_row, g.b_col, rows, cols, block, width);
      }
    }
  }
};

template <class T>
const T* panels_of(const Panels<T>& panels, BufferRef& kept) {
  const Correlation& c = panels.c;
  const GemmArgs& g = c.product;
  constexpr index kMostTaps = 1 << 11;
  const int layout = (static_cast<int>(g.dtype) * 4096 + static_cast<int>(panels.kernels.lanes) * 16 +
                      static_cast<int>(panels.plan.panels.size(0))) +
                     (static_cast<int>(c.cols.taps) << 19);
  const PackKey key{PackKind::correlation, g.b, g.k, g.n * c.groups, g.b_row, g.b_col, layout};
  return gemm_detail::kept_or_made<T>(c.cols.taps < kMostTaps ? g.b_home : nullptr, key, panels.size(), kSlotPanels,
                                      kept, [&](T* to) { panels.pack(to); });
}

// The bias as the compute type, or null.
template <class T>
const T* bias_of(const GemmTypeKernels<T>& kernels, const Correlation& c) {
  const GemmArgs& g = c.product;
  if (g.bias_n == nullptr || !gemm_detail::is_converted(g.dtype)) return static_cast<const T*>(g.bias_n);
  const index n = g.n * c.groups;
  T* wide = scratch<T>(gemm_detail::kSlotBias, ceil_div(n, kernels.lanes) * kernels.lanes);
  kernels.pack_b(g.dtype, g.bias_n, 0, 1, 1, n, wide, 0);
  return wide;
}

}  // namespace mlext::conv_detail
