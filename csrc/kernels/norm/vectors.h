// The vectors of channels that both drivers of this family take and return.
#pragma once

#include "core/array.h"
#include "core/dtype.h"
#include "kernels/elementwise/elementwise.h"

namespace mlext {

struct NormGradients {
  Array x, weight, bias;
};

// weight or bias: none, or as the kernels compute.
struct ChannelVector {
  Array array;
  bool given = false;

  ChannelVector(const char* op, const char* name, const Array* a, const Array& x, const Dims& shape, const char* of) {
    if (a == nullptr) return;
    require_same_dtype(op, name, *a, "x", x);
    require_shape(op, name, *a, shape, text(", ", of, " of x ", x.shape));
    array = dense(*a, accumulate_dtype(x.dtype));
    given = true;
  }
  const Array* used() const { return given ? &array : nullptr; }
  const void* data() const { return given ? array.data : nullptr; }
};

}  // namespace mlext
