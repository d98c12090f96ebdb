// From arrays to correlations: what fits together, how large the result is, where everything lies.
#pragma once

#include "core/array.h"
#include "core/launch.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/correlate.h"

namespace mlext::conv_detail {

// Raises unless x (N, H, W, C) and a weight (O, R, S, C / groups), which errors call `filter`, make a convolution.
void check_geometry(const char* op, const char* filter, const Dims& x, const Dims& weight, const ConvOptions& o);

Dims output_shape(const Dims& x, const Dims& weight, const ConvOptions& o);

Work work_of(const Dims& y, const Dims& weight, const Array& a, const Array& b, index c_bytes);

// y = correlation of x with the filter, as conv() defines it; the memory of x, weight and y is filled in by the caller.
Correlation describe(const Array& x, const Dims& weight, const Dims& y, const ConvOptions& o);

}  // namespace mlext::conv_detail
