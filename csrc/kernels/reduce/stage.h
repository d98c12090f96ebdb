// The engine of the reductions, for the drivers of this family.
#pragma once

#include "kernels/reduce/geometry.h"
#include "kernels/reduce/reduce.h"

namespace mlext {

// result = accumulator / divisor, its square root if `root`.
struct Ending {
  double divisor = 1;
  bool root = false;
};

// One stage per reduced axis that memory does not join to another; the last one writes `out`. axes.count > 0.
// center: for ReduceOp::deviation, one float64 per result.
void reduce_into(const char* name, ReduceOp op, Array x, const ReducedAxes& axes, const Array* center, const Array& out,
                 Ending ending);

// ValueError naming the first reduced axis without elements.
void require_elements(const char* op, const Array& x, const ReducedAxes& axes);
void require_float(const char* op, const Array& x);
Array filled(double value, const Dims& shape, DType dtype);

}  // namespace mlext
