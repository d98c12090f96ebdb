// A row-major shape seen from one of its axes.
#pragma once

#include "core/array.h"

namespace mlext {

struct AxisSplit {
  index outer = 1, n = 1, inner = 1;

  AxisSplit(const Dims& shape, int axis) {
    for (int i = 0; i < shape.rank; ++i) (i < axis ? outer : i == axis ? n : inner) *= shape[i];
  }
};

// `shape` with the sizes at `axis` replaced by those of `by`.
inline Dims replace_axis(const Dims& shape, int axis, const Dims& by) {
  Dims out;
  for (int i = 0; i < axis; ++i) out.push(shape[i]);
  for (index n : by) out.push(n);
  for (int i = axis + 1; i < shape.rank; ++i) out.push(shape[i]);
  return out;
}

// Bytes of one chunk of a parallel copy: at 10 GB/s about 10 us, far above what a claim costs.
inline constexpr index kCopyChunk = 128 * 1024;
inline index rows_per_chunk(index bytes_per_row) {
  return bytes_per_row >= kCopyChunk ? 1 : kCopyChunk / (bytes_per_row + 1) + 1;
}

}  // namespace mlext
