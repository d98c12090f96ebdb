#include "kernels/shape/shape.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {
namespace {

template <class T>
void scatter_add(const ScatterArgs& s) {
  using V = Vec<T>;
  const T* g = static_cast<const T*>(s.g);
  T* out = static_cast<T*>(s.out);
  for (index j = 0; j < s.count; ++j, g += s.g_step) {
    const index at = s.at[j];
    if (at < s.low || at >= s.high) continue;
    T* to = out + at * s.out_step;
    index i = 0;
    for (; i + V::N <= s.n; i += V::N) (V::load(to + i) + V::load(g + i)).store(to + i);
    // Short rows are the rule in gathers of single elements: no masked store, which would delay the next load.
    for (; i < s.n; ++i) to[i] += g[i];
  }
}

}  // namespace

extern const ShapeKernels shape_kernels;
const ShapeKernels shape_kernels = {{scatter_add<float>, scatter_add<double>}};

}  // namespace mlext::MLEXT_LEVEL
