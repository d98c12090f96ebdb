// Copies between two layouts of which each is contiguous along another axis: what a transposed or permuted array needs to
// become row-major. Walked along either axis such a copy uses 4 of every 64 bytes it fetches; in tiles it uses all.
#pragma once

#include "core/types.h"

namespace mlext {

// out[r * out_step + c] = in[c * in_step + r] for r in [0, rows), c in [0, columns); steps in elements.
struct TransposeArgs {
  const void* in;
  void* out;
  index in_step, out_step;
  index rows, columns;
};

struct TransposeKernels {
  void (*transpose[4])(const TransposeArgs&);  // elements of 1, 2, 4, 8 bytes
};

// out[...] = in for equal shapes and dtypes, if a tiled copy is the right way; false: nothing was done.
bool copy_transposed(const Array& in, const Array& out);

}  // namespace mlext
