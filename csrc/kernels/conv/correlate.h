// Cross-correlation over the rows and columns of images, channels last, as products of tiles (kernels/gemm/gemm.h):
//
//   y[i, p, q, o] = act(sum over r, s, c of x[i, p ph + r dh - bh, q pw + s dw - bw, c] w[r, s, c, o] + bias[o] + beta R[i, p, q, o])
//
// with x taken as 0 outside its image, or of bytes (gemm/qgemm.h) as `outside`; ph and pw are strides, dh and dw dilations, bh and bw what the image is padded by
// before. Channels fall into groups that have nothing to do with each other. Forward convolution is one correlation; the
// gradient for its input, which is transposed convolution, is one for each residue of the strides.
//
// There is no matrix of patches. Under one row of the filter, the factors of neighbouring pixels of y are rows of x that lie
// `stride` pixels apart and overlap: a tile takes them where they are, and jumps from one row of the filter to the next.
// Only where there is padding, or another dtype, a band of x is copied into workspace before; it stays in L2 while all panels of
// the weight pass. Places in padding alone are computed without taps, but for bytes,
// whose padding need not be 0.
#pragma once

#include <initializer_list>

#include "kernels/gemm/gemm.h"

namespace mlext::conv_detail {

struct Axis {
  index in, out;  // pixels of x and of y
  index taps, stride, dilation,
      before;                    // pixel q of y and tap s meet at pixel q stride + s dilation - before of x; any sign
  index x_step, y_step, w_step;  // elements between neighbours

  // Pixels of x under so many of y.
  index reach(index count) const { return (count - 1) * stride + (taps - 1) * dilation + 1; }
};

struct Correlation {
  // a, b and c are x, w and y; n and k those of a group; b_row between channels of w and b_col between its outputs. dtypes
  // and epilogue as in any product, but for bias_m and alpha.
  GemmArgs product;
  Axis rows, cols;
  index images, channels, groups;  // channels of x in a group
  index x_image, y_image;          // elements between images
  index x_group, y_group, w_group;
  bool winograd;      // may be computed so
  index outside = 0;  // the element of x outside of its image
};

// One tap of no channels: act(bias + beta R).
inline Correlation without_taps(Correlation c) {
  c.product.k = c.channels = 0;
  for (Axis* axis : {&c.rows, &c.cols}) {
    axis->taps = axis->stride = axis->dilation = 1;
    axis->before = 0;
    axis->in = axis->out;
  }
  return c;
}

void correlate(const Correlation& c);

}  // namespace mlext::conv_detail
