// How a correlation is cut into tasks and tiles.
#pragma once

#include <algorithm>

#include "core/parallel.h"
#include "kernels/conv/correlate.h"
#include "kernels/conv/depthwise.h"
#include "kernels/gemm/rules.h"

namespace mlext::conv_detail {

using gemm_detail::ceil_div;
using gemm_detail::kNearPanel;
using gemm_detail::Split;

// A band of x stays in L2 together with a panel of the weight.
constexpr index kBandBytes = 256 << 10;
// A panel of one block of k: two of them fit into L2 beside a band.
constexpr index kPanelBytes = 200 << 10;

struct ConvPlan {
  bool copies = false;  // bands of x are copied: padding, or another dtype
  bool joins = false;   // the taps of a row of the filter are neighbours in memory: one run
  bool direct = false;  // tiles write y
  bool streams = false;
  Split panels;     // of the outputs of a group, in vectors
  index lanes = 1;  // of a vector
  index run = 0;    // steps of k in a run
  index runs = 0;
  index block = 1;   // runs in a block of k
  index images = 1;  // of a band
  index rows = 1;    // of y in a band; all if there are several images
  index group = 1;   // panels of a task

  index column(index panel) const { return panels.begin(panel) * lanes; }
  index columns() const { return column(panels.count); }  // idle lanes included
  index row_bands(const Correlation& c) const { return ceil_div(c.rows.out, rows); }
  index bands(const Correlation& c) const { return ceil_div(c.images, images) * row_bands(c); }
  index panel_tasks() const { return ceil_div(panels.count, group); }
};

inline bool is_padded(const Axis& axis) { return axis.before > 0 || axis.reach(axis.out) - axis.before > axis.in; }

// A filter of one pixel over all of x: a product of matrices.
inline bool is_product(const Correlation& c) {
  const auto whole = [](const Axis& a) { return a.taps == 1 && a.stride == 1 && a.before == 0 && a.in == a.out; };
  return c.groups == 1 && c.product.k > 0 && whole(c.rows) && whole(c.cols) &&
         c.rows.x_step == c.cols.in * c.cols.x_step && c.x_image == c.rows.in * c.rows.x_step &&
         c.rows.y_step == c.cols.out * c.product.c_row && c.y_image == c.rows.out * c.rows.y_step;
}

// A filter of one pixel that meets so few pixels of a row that tiles would be low, and read the weight again for each row: x
// without the pixels between is a product too (16 pixels of 2048 channels to 512: 0.3 of the time).
constexpr index kLowTile = 12;
inline bool is_sparse_product(const Correlation& c) {
  return c.groups == 1 && c.product.k > 0 && c.rows.taps == 1 && c.cols.taps == 1 && c.cols.out < kLowTile &&
         c.images * c.rows.out > 1 && c.rows.y_step == c.cols.out * c.product.c_row &&
         c.y_image == c.rows.out * c.rows.y_step;
}

// Pixels of y whose tap s is inside of x.
inline PixelRange under_tap(const Axis& a, index s) {
  const index first = a.before - s * a.dilation, last = a.in - 1 + first;
  const index begin = std::min(first > 0 ? ceil_div(first, a.stride) : 0, a.out);
  return {begin, std::clamp(last >= 0 ? last / a.stride + 1 : 0, begin, a.out)};
}

template <class T>
ConvPlan make_plan(const GemmTypeKernels<T>& kernels, const Correlation& c) {
  const GemmArgs& g = c.product;
  ConvPlan plan;
  plan.copies = gemm_detail::is_converted(g.dtype) || is_padded(c.rows) || is_padded(c.cols);
  const index pixel = plan.copies ? c.channels : c.cols.x_step;
  plan.joins = pixel == c.channels && (c.cols.dilation == 1 || c.cols.taps == 1);
  plan.run = plan.joins ? c.cols.taps * c.channels : c.channels;
  plan.runs = c.rows.taps * (plan.joins ? 1 : c.cols.taps);
  plan.direct = gemm_detail::is_direct(g);
  plan.lanes = kernels.lanes;
  plan.panels = Split::of(ceil_div(g.n, kernels.lanes), kernels.stream_vectors);
  const index width = plan.panels.size(0) * kernels.lanes * static_cast<index>(sizeof(T));
  plan.block = plan.runs;
  if (plan.direct)
    plan.block = Split::of(plan.runs, std::max<index>(kPanelBytes / (width * std::max<index>(plan.run, 1)), 1)).size(0);
  plan.streams = plan.block * plan.run * width > kNearPanel;

  const index row = c.cols.reach(c.cols.out) * c.channels * static_cast<index>(sizeof(T));
  const index fit = kBandBytes / std::max<index>(row, 1);  // rows of x
  if (fit >= c.rows.reach(c.rows.out)) {
    plan.rows = c.rows.out;
    plan.images = std::clamp<index>(fit / c.rows.reach(c.rows.out), 1, c.images);
  } else {
    const index beside = c.rows.reach(1);
    plan.rows = Split::of(c.rows.out, std::max<index>((fit - beside) / c.rows.stride + 1, 1)).size(0);
  }
  plan.group = plan.panels.count;
  return plan;
}

inline double flops(const Correlation& c) {
  return 2.0 * static_cast<double>(c.product.n * c.product.k * c.groups) *
         static_cast<double>(c.images * c.rows.out * c.cols.out);
}

// Halves bands, and then divides panels, until there are about four tasks per thread. No bit of y depends on it.
inline void spread_over_threads(ConvPlan& plan, const Correlation& c) {
  const index threads = num_threads(), wanted = 4 * threads;
  if (threads == 1 || flops(c) < gemm_detail::kParallelFlops) return;
  constexpr index kFewRows = 4;
  while (c.groups * plan.bands(c) < wanted && (plan.images > 1 || plan.rows > kFewRows)) {
    index& larger = plan.images > 1 ? plan.images : plan.rows;
    larger = ceil_div(larger, 2);
  }
  const index bands = c.groups * plan.bands(c);
  if (bands < wanted) plan.group = ceil_div(plan.panels.count, std::min(plan.panels.count, ceil_div(wanted, bands)));
}

}  // namespace mlext::conv_detail
