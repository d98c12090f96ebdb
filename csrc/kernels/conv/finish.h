// What is left to do for a finished tile: activation, other dtype, the value before the activation.
#pragma once

#include "kernels/conv/correlate.h"
#include "kernels/gemm/rules.h"
#include "kernels/gemm/walk.h"

namespace mlext::conv_detail {

// Pixels by outputs, which begin at element `to` of y and of which bytes have scales from `output` on. Sums that lie there
// already hold the residual.
template <class T>
void finish_tile(const GemmTypeKernels<T>& kernels, const Correlation& c, const T* tile, index tile_row, index pixels,
                 index outputs, index to, index output = 0) {
  const GemmArgs& g = c.product;
  gemm_detail::Outputs y = gemm_detail::outputs_of(g);
  y.move(g.out_dtype, to);
  FinishArgs<T> f = gemm_detail::finish_args<T>(g, y, nullptr, 0, 0);
  if (f.scale_n != nullptr) f.scale_n += output, f.offset_n += output;
  f.rows = pixels;
  f.cols = outputs;
  f.tile = tile;
  f.tile_row = tile_row;
  if (!gemm_detail::is_direct(g)) f.beta = static_cast<T>(g.beta);
  kernels.finish(f);
}

}  // namespace mlext::conv_detail
