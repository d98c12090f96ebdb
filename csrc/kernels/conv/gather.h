// Pixels of x side by side, for products where tiles would jump too often.
#pragma once

#include <cstring>

#include "core/dtype.h"
#include "kernels/conv/correlate.h"
#include "kernels/gemm/walk.h"

namespace mlext::conv_detail {

// Pixels of x under the taps of row r and the places first to last, which count images, rows and columns of y.
inline void gather(const Correlation& c, index r, index first, index last, char* to) {
  const index size = item_size(c.product.dtype), pixel = c.channels * size;
  for (index place = first; place < last; ++place) {
    const index q = place % c.cols.out, p = place / c.cols.out % c.rows.out, image = place / (c.cols.out * c.rows.out);
    const index y = p * c.rows.stride + r * c.rows.dilation - c.rows.before;
    for (index s = 0; s < c.cols.taps; ++s, to += pixel) {
      const index x = q * c.cols.stride + s * c.cols.dilation - c.cols.before;
      if (y < 0 || y >= c.rows.in || x < 0 || x >= c.cols.in) {
        std::memset(to, static_cast<int>(c.outside), static_cast<std::size_t>(pixel));
      } else {
        const index from = image * c.x_image + y * c.rows.x_step + x * c.cols.x_step;
        std::memcpy(to, gemm_detail::at(c.product.a, c.product.dtype, from), static_cast<std::size_t>(pixel));
      }
    }
  }
}

}  // namespace mlext::conv_detail
