// Kernels whose results know where they are: argmax and argmin, running sums.
#pragma once

#include "kernels/reduce/reduce.h"

namespace mlext {

// The most results of one call of arg_columns.
inline constexpr index kArgColumns = 1024;

// y[i * step + c] = x[0 + c] + ... + x[i * step + c] for i < n, c < columns <= kScanColumns; a negative step scans back.
struct ScanArgs {
  const void* x;
  void* y;
  index n, columns, step;
};
using ScanFn = void (*)(const ScanArgs&);
inline constexpr index kScanColumns = 256;

// By dtype; null for the half types.
struct PositionKernels {
  ReduceFn arg_rows[2][kDTypes];  // [0] max, [1] min; int64 results
  ReduceFn arg_columns[2][kDTypes];
  ScanFn scan[kDTypes];
};

}  // namespace mlext
