// Pooling of images, channels last: the largest value, or the mean, of each channel under a window.
//
//   max:  y[n, p, q, c] = max over the window of x[n, h, w, c]; NaN if there is one. Rectified: and of 0
//   mean: y[n, p, q, c] = sum over the window of x[n, h, w, c], by the number of pixels that count
//
// Windows are clipped to the image; what lies in the padding is passed over, but may count. Gradients: that of max goes to the
// first pixel of the window, row by row, that has its value, if there is one; that of mean to all of them. Floating dtypes;
// halves compute in float32. Bits do not depend on threads.
#pragma once

#include "core/types.h"

namespace mlext {

enum class PoolKind : int { max, mean };

// Windows along one axis: begin[i] to end[i] of x belong to pixel i of y, `counts[i]` of them count in a mean.
struct PoolWindows {
  index in, out;
  const index *begin, *end, *counts;
};

// One image of dense arrays.
struct PoolArgs {
  const void* x;
  const void* y;  // backward of max
  const void* g;  // backward
  void* out;      // y, or the gradient of x
  PoolWindows rows, cols;
  index channels;     // of x
  index first, last;  // rows of y (forward), or channels (backward), to do
  bool disjoint;      // no pixel of x lies under two windows
  bool rectified;
};
using PoolFn = void (*)(const PoolArgs&);

// By kind and dtype; null where not defined.
struct PoolKernels {
  PoolFn forward[2][kDTypes], backward[2][kDTypes];
};

// ---- driver ---------------------------------------------------------------------------------------------------------

struct PoolAxis {
  index size, stride, before, after;
};
struct PoolOptions {
  PoolAxis rows, cols;
  bool adaptive;        // `size` is that of y; windows divide x evenly, and may overlap by one
  bool ceil_mode;       // a last window that is not whole counts too, if it begins inside
  bool counts_padding;  // of mean
  bool rectified;       // of max: relu of it, with that's gradient
};

// x (N, H, W, C), result (N, P, Q, C).
Array pool(const char* op, PoolKind kind, const Array& x, const PoolOptions& options);
// The gradient for x; y is the result of pool(), which only the gradient of max reads.
Array pool_gradient(const char* op, PoolKind kind, const Array& g, const Array& x, const Array& y,
                    const PoolOptions& options);

}  // namespace mlext
