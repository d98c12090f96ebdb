// The gradient of a correlation for its filter: of every tap and channel, the products of x with the gradient of y, summed over
// all pixels of y.
//
//   dw[o, r, s, c] = sum over i, p, q of dy[i, p, q, o] x[i, p ph + r dh - bh, q pw + s dw - bw, c]
//
// The steps of k are pixels of y, and so the factors lie in x as they do for the correlation itself: rows that overlap.
#pragma once

#include "kernels/conv/correlate.h"

namespace mlext::conv_detail {

// `c` is the correlation; its product.b is not read, and its product.c is dy. dw is dense (o, r, s, c), of product.dtype.
void filter_gradient(const Correlation& c, void* dw);

}  // namespace mlext::conv_detail
