// Winograd's minimal filtering for 3 x 3 filters of stride 1 (Lavin and Gray 2016, eq. 8): tiles of y, t x t pixels each, from
// (t + 2)^2 points instead of 9 t^2 products,
//
//   Y = A^T [ sum over c of (G w G^T) * (B^T x B) ] A     * by elements, x the t + 2 by t + 2 pixels under a tile,
//
// so each point is a product of matrices: tiles by channels with channels by outputs. F(2, 3) saves 2.25 times the
// multiplications and F(4, 3) four times. Computed in float32.
//
// F(4, 3) interpolates at 0, +-11/16, +-11/8 and infinity: A and B are exact in float32, and with random data the error is 1.8
// times that of sums of products, where the usual 0, +-1, +-2 have 4 times. In general, with u = 2^-24,
//
//   |error| <= (C + 32) u gain max|x| sum|w|     sum over taps and channels; gain 16 for F(2, 3), 211 for F(4, 3)
//
// where gain is the largest sum over points of |A| |G| |B|, squared for two dimensions.
//
// NaN and infinity in x reach all of their tiles, and what is beyond 1e36 may overflow on the way. Results are exact where all
// that is added up is: for F(2, 3), small integers.
#pragma once

#include "core/types.h"

namespace mlext {

// Pixels under one tile as points.
struct WinogradInput {
  const void* const* pixels;  // row after row; of the row's type in the table
  index channels;
  float* points;
  index step;  // elements between points
};

// One tile of y, at most so many rows, columns and outputs of it, from the sums at its points:
//   y = the tile + bias + in, then limited to 0 to `top` unless that is 0
struct WinogradOutput {
  const float* points;
  index step;         // elements between points
  const float* bias;  // or null
  const float* in;    // as y, or null
  float* y;
  index y_row, y_col;  // elements between pixels
  index rows, cols, outputs;
  float top;
};

// Taps (9, count) as points.
struct WinogradFilter {
  const float* taps;
  index count;
  float* points;
  index step;
};

struct WinogradKernels {
  // Of F(2, 3) and F(4, 3), by dtype of x; null where there are no kernels.
  void (*input[2][kDTypes])(const WinogradInput&);
  void (*output[2])(const WinogradOutput&);
  void (*filter[2])(const WinogradFilter&);
};

// Whether convolutions described from now on may be computed so; at first they may.
bool winograd_allowed();
void allow_winograd(bool allowed);

namespace conv_detail {

struct Correlation;

// Pixels of a row of a tile, 2 or 4, if this is the faster way for it; else 0. A matter of one image: bits do not depend on how
// many there are.
index winograd_tile(const Correlation& c);
// Tiles of one image.
index winograd_tiles(const Correlation& c, index tile);
// What that takes of the time of as many sums of products, about.
double winograd_share(const Correlation& c, index tile);
void winograd(const Correlation& c, index tile);

}  // namespace conv_detail
}  // namespace mlext
