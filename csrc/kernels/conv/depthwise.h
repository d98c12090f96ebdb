// Correlations in which every channel is a group of its own: depthwise convolution, its gradients included. Vectors hold
// neighbouring channels; there is nothing to multiply across them, and nothing to copy: a filter that hangs over the edge of
// the image does without the taps outside.
#pragma once

#include "core/types.h"

namespace mlext {

// Pixels of a row of y.
struct PixelRange {
  index begin, end;
};

// Some channels of some pixels of a row of y. C is the type that is computed in; x and g are of the row's type in the table.
struct DepthwiseArgs {
  const void* x;           // under the first tap of the first row of taps and the first pixel; may lie outside
  const void* g;           // gradient: of y
  const void* w;           // of C: (taps of the rows, taps, channels)
  const void* bias;        // of C, or null
  const void* in;          // of C, as y: added. Or null
  void* y;                 // of C; gradient: sums like w, to which is added
  index channels;          // to do
  index taps, begin, end;  // of a row; and those rows of taps that are inside of the image
  // Elements: of w between taps; of x between rows of taps, taps, and what lies under pixels; of y (or g) between pixels.
  index w_step, x_row, tap_step, step, y_step;
  const PixelRange* inside;  // for each tap, where it is inside of the image
  PixelRange whole;          // where all are
  PixelRange pixels;         // to do
  double top;                // 0, or y is limited to 0 to this
  index ahead, ahead_y;      // elements from the last row under a tap, and from y, to memory that the next row needs
};

// By dtype; null where there are no kernels.
struct DepthwiseKernels {
  void (*row[kDTypes])(const DepthwiseArgs&);
  void (*gradient[kDTypes])(const DepthwiseArgs&);
};

namespace conv_detail {

struct Correlation;

// Whether these two take it.
bool is_depthwise(const Correlation& c);
void depthwise(const Correlation& c);
// As filter_gradient().
void depthwise_gradient(const Correlation& c, void* dw);

}  // namespace conv_detail
}  // namespace mlext
