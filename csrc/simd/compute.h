// The type that kernels compute in for what they load and store.
#pragma once

#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

template <class S>
struct Compute {
  using Type = float;
};
template <>
struct Compute<double> {
  using Type = double;
};

}  // namespace mlext::MLEXT_LEVEL
