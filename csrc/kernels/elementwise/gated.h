// Gated activations: out = act(gate) up, with both gradients in one pass.
//
//   swiglu: silu   geglu: gelu   geglu_tanh: gelu in its tanh form
//
// Half types compute in float32.
#pragma once

#include "core/types.h"

namespace mlext {

#define MLEXT_GATED(X) X(swiglu) X(geglu) X(geglu_tanh)
enum class GatedOp : int {
#define MLEXT_ENUM(name) name,
  MLEXT_GATED(MLEXT_ENUM)
#undef MLEXT_ENUM
      count
};
inline constexpr int kGatedOps = static_cast<int>(GatedOp::count);

// n elements, side by side.
struct GatedArgs {
  const void *gate, *up;
  const void* g;  // gradients only
  void* out;      // the result, or the gradient of the gate
  void* out_up;   // gradients only
  index n;
};
using GatedFn = void (*)(const GatedArgs&);

struct GatedKernels {
  GatedFn forward[kGatedOps][kDTypes];
  GatedFn gradient[kGatedOps][kDTypes];
};

// ---- driver ---------------------------------------------------------------------------------------------------------

// gate and up of one shape and dtype; of any strides, and where those of the last axis are 1 without a copy.
Array gated(GatedOp op, const Array& gate, const Array& up);
// The gradients of both.
void gated_gradient(GatedOp op, const Array& gate, const Array& up, const Array& g, Array& of_gate, Array& of_up);

}  // namespace mlext
