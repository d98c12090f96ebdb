// The order of axes in memory that the result of an elementwise op takes over from its operands, so that a chain of ops on
// a permuted view, such as images with channels first over memory with channels last, walks memory from end to end.
#pragma once

#include "core/array.h"
#include "kernels/elementwise/elementwise.h"

namespace mlext {

struct MemoryOrder {
  Dims axes;   // from the outermost in memory to the innermost; none: row-major
  Dims sizes;  // of the axes in that order
  Dims back;   // where each axis is among them

  // That of the first operand of the whole shape, if it is row-major in some order; row-major otherwise.
  MemoryOrder(const MapOperand* operands, int count, const Dims& shape);
  bool row_major() const { return axes.rank == 0; }
};

}  // namespace mlext
