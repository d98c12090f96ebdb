// Convolution of bytes (conv.h, gemm/qgemm.h):
//
//   y[n, p, q, o] = act(scale[o] * sum over r, s, c of q(x[n, p ph + r dh - bh, q pw + s dw - bw, c]) values[o, r, s, c] + offset[o])
//
// with q(x) = clamp(round(x / x_scale) + x_zero, 0, 255), ties to even, and q = x_zero outside of the image. x (N, H, W, C)
// float32, or uint8, which is taken for q(x); values (O, R, S, C / groups) int8, whose last axis may end in up to 3 zeros
// more; scale and offset (O,) float32, x_scale and x_zero of one element. With out_bytes the result becomes bytes too.
//   - Sums are int32: exact up to 65,793 products, and wrap. Bits depend neither on threads nor on the level.
//   - A pixel with a NaN gives NaN at every place whose filter covers it, and is an error if the result is bytes.
//   - No image, row, column or output gives an empty y; no channel act(offset).
#pragma once

#include "kernels/conv/conv.h"
#include "kernels/gemm/qgemm.h"

namespace mlext {

Array quantized_conv(const char* op, const Array& x, const Array& values, const Array& scale, const Array& offset,
                     ByteScale x_bytes, const ConvOptions& options, Activation activation, ByteScale out_bytes);

}  // namespace mlext
