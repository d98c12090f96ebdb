// What the numbers between update.cpp and rules.h mean.
#pragma once

#include "kernels/update/update.h"

namespace mlext {

enum Coefficient : int {
  kRate,         // what the step is multiplied with; the one parameter of plain list operations
  kWeightDecay,  // added to the gradient
  kShrink,       // what the parameter is multiplied with
  kMomentum,
  kUndamped,   // 1 - dampening
  kRest1,      // 1 - beta1
  kDecay2,     // beta2, alpha, rho
  kRest2,      // 1 - kDecay2
  kRootScale,  // multiplies sqrt(v)
  kEps,
  kLookAhead,  // nesterov: momentum; nadam, radam: see there
};
static_assert(kLookAhead + 1 == kCoefficients);

// Hyper-parameters (layout in update.h) and step number to the numbers of one step, in double. `product` is nadam's. `c`
// comes as zeros, but for kShrink = 1.
using CoefficientFn = void(const double* h, double t, double* product, double* c);
CoefficientFn sgd_coefficients, adam_coefficients, adamw_coefficients, rmsprop_coefficients, adagrad_coefficients,
    adadelta_coefficients, nadam_coefficients, radam_coefficients, lion_coefficients;

}  // namespace mlext
