// How a product would be computed, for people to read.
#pragma once

#include <string>
#include <vector>

#include "kernels/gemm/gemm.h"

namespace mlext {

// What gemm() would do: of `args` all but the addresses counts, and b_home is taken to be there.
struct GemmExplanation {
  const char* kernel = "";  // compact, tile, dot or gemv
  bool transposed = false;  // the rest describes C^T = B^T A^T
  index tile_rows = 0, tile_cols = 0, block_k = 0, chunk_rows = 0;
  bool by_pairs = false;  // bfloat16, by its own instruction
  bool packs_a = false, packs_b = false, keeps_b = false;
  index tasks = 1, threads = 1;
  double waste = 1;  // multiplications, those in idle lanes of partial vectors included, over those that are needed
  std::vector<std::string> reasons;
};
GemmExplanation explain_gemm(const GemmArgs& args);

}  // namespace mlext
