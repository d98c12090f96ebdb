// Where a tile finds x: in place, or in a band of it that was copied into workspace with its padding around it.
#pragma once

#include "core/scratch.h"
#include "kernels/conv/plan.h"
#include "kernels/gemm/walk.h"

namespace mlext::conv_detail {

enum Slot { kSlotBand, kSlotPanels, kSlotTile, kSlotJumps, kSlotImages };

// The pixel of x under the first tap and the first pixel of y.
template <class T>
struct View {
  const T* data;
  index image, row, pixel;  // elements between neighbours
};

// Some rows of some images, of one group.
struct Band {
  index group, image, images, row, rows;
};

inline Band band_at(const Correlation& c, const ConvPlan& plan, index group, index image, index row) {
  return {group, image, std::min(plan.images, c.images - image), row, std::min(plan.rows, c.rows.out - row)};
}

// From the first tap to the first one of a run.
template <class T>
index run_offset(const Correlation& c, const ConvPlan& plan, const View<T>& view, index run) {
  const index y = plan.joins ? run : run / c.cols.taps, x = plan.joins ? 0 : run % c.cols.taps;
  return y * c.rows.dilation * view.row + x * c.cols.dilation * view.pixel;
}

// n pixels of x as the compute type; they may be converted.
template <class T>
void copy_pixels(const GemmTypeKernels<T>& kernels, const Correlation& c, const void* from, index n, T* to) {
  const index step = c.cols.x_step, channels = c.channels;
  const GemmArgs& g = c.product;
  if (step == channels * g.a_col) return kernels.pack_a(g.dtype, from, 0, g.a_col, 1, n * channels, to, 0);
  kernels.pack_a(g.dtype, from, step, g.a_col, n, channels, to, channels);
}

template <class T>
void copy_row(const GemmTypeKernels<T>& kernels, const Correlation& c, const void* image, index y, T* to) {
  const index width = c.cols.reach(c.cols.out), channels = c.channels;
  const T outside = static_cast<T>(c.outside);
  const index left = std::clamp<index>(c.cols.before, 0, width), first = std::max<index>(-c.cols.before, 0);
  const index inside = std::max<index>(std::min(width - left, c.cols.in - first), 0);
  if (y < 0 || y >= c.rows.in || inside == 0) {
    std::fill(to, to + width * channels, outside);
    return;
  }
  std::fill(to, to + left * channels, outside);
  copy_pixels(kernels, c, gemm_detail::at(image, c.product.dtype, y * c.rows.x_step + first * c.cols.x_step), inside,
              to + left * channels);
  std::fill(to + (left + inside) * channels, to + width * channels, outside);
}

template <class T>
View<T> view_of(const GemmTypeKernels<T>& kernels, const Correlation& c, const ConvPlan& plan, const Band& band) {
  const index origin = band.group * c.x_group + band.image * c.x_image;
  if (!plan.copies) {
    const index row = (band.row * c.rows.stride - c.rows.before) * c.rows.x_step, col = -c.cols.before * c.cols.x_step;
    return {static_cast<const T*>(c.product.a) + origin + row + col, c.x_image, c.rows.x_step, c.cols.x_step};
  }
  const index height = c.rows.reach(band.rows), row = c.cols.reach(c.cols.out) * c.channels;
  // Rows are packed in whole vectors, and what comes behind is overwritten but for the last.
  T* to = scratch<T>(kSlotBand, band.images * height * row + 2 * kernels.lanes);
  for (index i = 0; i < band.images; ++i) {
    const void* image = gemm_detail::at(c.product.a, c.product.dtype, origin + i * c.x_image);
    for (index y = 0; y < height; ++y)
      copy_row(kernels, c, image, band.row * c.rows.stride + y - c.rows.before, to + (i * height + y) * row);
  }
  return {to, height * row, row, c.channels};
}

}  // namespace mlext::conv_detail
