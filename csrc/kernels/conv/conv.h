// Two-dimensional convolution, as networks mean it: cross-correlation of images, channels last, with filters.
//
//   y[n, p, q, o] = act(sum over r, s, c of x[n, p ph + r dh - bh, q pw + s dw - bw, c] weight[o, r, s, c] + bias[o] + residual)
//
// x (N, H, W, C), weight (O, R, S, C / groups), bias (O), y and residual (N, P, Q, O); outside of its image x is 0. Outputs of
// group g see the channels of group g alone. One floating dtype; halves accumulate in float32. P is the number of places where
// the filter fits into the padded image, (H + before + after - dh (R - 1) - 1) / ph + 1.
//   - Each element is a sum in an order fixed by the shapes alone: bits do not depend on threads, nor on other images.
//   - No image, row, column or output gives an empty y; no channel act(bias).
#pragma once

#include "core/types.h"
#include "kernels/gemm/gemm.h"

namespace mlext {

// Of rows and of columns.
struct ConvAxis {
  index stride, before, after, dilation;
};
struct ConvOptions {
  ConvAxis rows, cols;
  index groups;
};

// If `pre` is not null it gets the value before act. `residual` and `bias` may be null.
Array conv(const char* op, const Array& x, const Array& weight, const Array* bias, const Array* residual,
           const ConvOptions& options, Activation activation, Array* pre);

// The gradient of conv() for x, whose shape it gets: g (N, P, Q, O). As a layer of its own, with bias (C) and activation, it is
// transposed convolution.
Array conv_input_gradient(const char* op, const Array& g, const Array& weight, const Dims& x_shape, const Array* bias,
                          const ConvOptions& options, Activation activation, Array* pre);

// The gradient of conv() for the weight, whose shape it gets.
Array conv_weight_gradient(const char* op, const Array& g, const Array& x, const Dims& weight_shape,
                           const ConvOptions& options);

}  // namespace mlext
