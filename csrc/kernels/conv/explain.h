// How a convolution would be computed, for people to read.
#pragma once

#include <string>
#include <vector>

#include "core/array.h"
#include "kernels/conv/conv.h"

namespace mlext {

struct ConvExplanation {
  const char* kernel = "";  // product, depthwise, winograd or tiles
  Dims result;
  // Of tiles: pixels and outputs of one call; images, and rows of y, of a band; steps of k in a run, runs in the filter, and
  // how many of them are summed in one go.
  index tile_rows = 0, tile_cols = 0, images = 0, rows = 0, run = 0, runs = 0, block = 0;
  bool copies = false;
  index tasks = 0, threads = 1;  // tasks: of tiles
  double waste = 1;              // multiplications, those in idle lanes included, over those that are needed
  std::vector<std::string> reasons;
};
ConvExplanation explain_conv(const Dims& x, const Dims& weight, DType dtype, const ConvOptions& options);

namespace conv_detail {
struct Correlation;
// What correlate() would do; the addresses do not count.
void explain(const Correlation& c, ConvExplanation& e);
}  // namespace conv_detail

}  // namespace mlext
