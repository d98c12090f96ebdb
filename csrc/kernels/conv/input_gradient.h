// The gradient of a correlation for its images: for each pixel of x, the sum over taps and outputs of what it had a part in.
#pragma once

#include "kernels/conv/correlate.h"

namespace mlext::conv_detail {

// f describes the forward correlation, with the gradients in place of x, which is written, and of y.
void input_gradient(const Correlation& f);

}  // namespace mlext::conv_detail
