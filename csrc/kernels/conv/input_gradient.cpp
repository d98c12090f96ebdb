// A convolution turned around: correlations of g with the filter, one for each residue of the strides.
#include "kernels/conv/input_gradient.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/dtype.h"
#include "core/launch.h"

namespace mlext::conv_detail {
namespace {

// The part of an input gradient, or of its rows or columns, whose pixels leave one residue by the stride: they meet every
// stride / gcd(stride, dilation)-th tap, the last one first.
struct Residue {
  Axis axis;
  index x_first;  // pixel of the gradient
  index w_first;  // tap
};

Residue residue_of(const Axis& forward, index residue) {
  const index shared = std::gcd(forward.stride, forward.dilation);
  const index tap_step = forward.stride / shared, pixel_step = forward.dilation / shared;
  // Taps r with (residue + before - r dilation) divisible by stride.
  index first = 0;
  while (first < tap_step && (residue + forward.before - first * forward.dilation) % forward.stride != 0) ++first;
  const index taps = first < std::min(tap_step, forward.taps) ? (forward.taps - 1 - first) / tap_step + 1 : 0;
  const index last = first + (taps - 1) * tap_step;
  const index pixels = residue < forward.in ? (forward.in - 1 - residue) / forward.stride + 1 : 0;
  // Pixel j of this residue meets tap `last` at pixel j + (residue + before - last dilation) / stride of g.
  const index at = taps > 0 ? (residue + forward.before - last * forward.dilation) / forward.stride : 0;
  return {{forward.out, pixels, taps, 1, pixel_step, -at, forward.y_step, forward.stride * forward.x_step,
           -tap_step * forward.w_step},
          residue,
          taps > 0 ? last : 0};
}

// gx of one residue of rows and one of columns, from g, as a correlation with the filter turned around.
Correlation turned(const Correlation& f, const Residue& rows, const Residue& cols, index dtype_size) {
  Correlation c = f;
  c.product.n = f.channels;
  c.product.k = rows.axis.taps * cols.axis.taps * f.product.n;
  c.product.m = f.images * rows.axis.out * cols.axis.out;
  c.product.b_row = f.product.b_col;
  c.product.b_col = 1;
  c.product.c_row = cols.axis.y_step;
  c.rows = rows.axis;
  c.cols = cols.axis;
  c.channels = f.product.n;
  std::swap(c.x_image, c.y_image);
  std::swap(c.x_group, c.y_group);
  const index w_first = rows.w_first * f.rows.w_step + cols.w_first * f.cols.w_step;
  const index x_first = rows.x_first * f.rows.x_step + cols.x_first * f.cols.x_step;
  c.product.b = moved(f.product.b, w_first * dtype_size);
  c.product.a = f.product.c;
  c.product.c = const_cast<void*>(moved(f.product.a, x_first * dtype_size));
  c.product.pre = moved(f.product.pre, x_first * dtype_size);
  return c.product.k == 0 ? without_taps(c) : c;  // there may be pixels that no tap meets
}

}  // namespace

void input_gradient(const Correlation& f) {
  const index size = item_size(f.product.dtype);
  for (index i = 0; i < std::min(f.rows.stride, f.rows.in); ++i) {
    const Residue rows = residue_of(f.rows, i);
    for (index j = 0; j < std::min(f.cols.stride, f.cols.in); ++j) {
      poll_interrupt();
      correlate(turned(f, rows, residue_of(f.cols, j), size));
    }
  }
}

}  // namespace mlext::conv_detail
