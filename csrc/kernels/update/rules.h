// The functors of MLEXT_UPDATE_RULES. a: one vector of every array (a[0] parameter, a[1] gradient, a[2..] states); c: the
// coefficients that update.cpp works out once per step, in the order of the enum in coefficients.h.
#pragma once

#include "kernels/update/coefficients.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

#define MLEXT_RULE(name)                            \
  struct rule_##name {                              \
    template <class V>                              \
    static MLEXT_INLINE void run(V* a, const V* c); \
  };                                                \
  template <class V>                                \
  MLEXT_INLINE void rule_##name::run(V* a, const V* c)

// g + weight_decay p
template <class V>
MLEXT_INLINE V decayed(const V* a, const V* c) {
  return fma(c[kWeightDecay], a[0], a[1]);
}
// x + weight (y - x)
template <class V>
MLEXT_INLINE V lerp(V x, V y, V weight) {
  return fma(weight, y - x, x);
}
// decay x + (1 - decay) y^2
template <class V>
MLEXT_INLINE V square_average(V x, V y, V decay, V rest) {
  return fma(decay, x, rest * y * y);
}

MLEXT_RULE(sgd) { a[0] = fma(-c[kRate], decayed(a, c), a[0]); }

MLEXT_RULE(momentum) {
  a[2] = fma(c[kMomentum], a[2], c[kUndamped] * decayed(a, c));
  a[0] = fma(-c[kRate], a[2], a[0]);
}
MLEXT_RULE(nesterov) {
  const V g = decayed(a, c);
  a[2] = fma(c[kMomentum], a[2], c[kUndamped] * g);
  a[0] = fma(-c[kRate], fma(c[kLookAhead], a[2], g), a[0]);
}

// kRate = lr / (1 - beta1^t), kRootScale = 1 / sqrt(1 - beta2^t), kShrink = 1 - lr weight_decay when decoupled, else 1.
template <class V>
MLEXT_INLINE V adam_moments(V* a, const V* c) {
  const V g = decayed(a, c);
  a[0] *= c[kShrink];
  a[2] = lerp(a[2], g, c[kRest1]);
  a[3] = square_average(a[3], g, c[kDecay2], c[kRest2]);
  return g;
}
MLEXT_RULE(adam) {
  adam_moments(a, c);
  a[0] -= c[kRate] * a[2] / fma(sqrt(a[3]), c[kRootScale], c[kEps]);
}
MLEXT_RULE(amsgrad) {
  adam_moments(a, c);
  a[4] = max_nan(a[4], a[3]);
  a[0] -= c[kRate] * a[2] / fma(sqrt(a[4]), c[kRootScale], c[kEps]);
}
// kRate multiplies g, kLookAhead m: Dozat 2016, "Incorporating Nesterov momentum into Adam".
MLEXT_RULE(nadam) {
  const V g = adam_moments(a, c);
  a[0] -= fma(c[kRate], g, c[kLookAhead] * a[2]) / fma(sqrt(a[3]), c[kRootScale], c[kEps]);
}
// Liu et al. 2020, "On the variance of the adaptive learning rate and beyond": kLookAhead is 1 while the variance is
// intractable, and the step then is m alone.
MLEXT_RULE(radam) {
  adam_moments(a, c);
  const V one(typename V::Scalar(1));
  a[0] -= c[kRate] * a[2] / select(c[kLookAhead] == one, one, sqrt(a[3]) + c[kEps]);
}
MLEXT_RULE(adamax) {
  const V g = decayed(a, c);
  a[2] = lerp(a[2], g, c[kRest1]);
  a[3] = max_nan(c[kDecay2] * a[3], abs(g) + c[kEps]);
  a[0] -= c[kRate] * a[2] / a[3];
}

template <class V>
MLEXT_INLINE V rmsprop_average(V* a, const V* c, V g) {
  a[2] = square_average(a[2], g, c[kDecay2], c[kRest2]);
  return a[2];
}
MLEXT_RULE(rmsprop) {
  const V g = decayed(a, c);
  a[0] -= c[kRate] * g / (sqrt(rmsprop_average(a, c, g)) + c[kEps]);
}
MLEXT_RULE(rmsprop_momentum) {
  const V g = decayed(a, c);
  a[3] = fma(c[kMomentum], a[3], g / (sqrt(rmsprop_average(a, c, g)) + c[kEps]));
  a[0] = fma(-c[kRate], a[3], a[0]);
}
MLEXT_RULE(rmsprop_centered) {
  const V g = decayed(a, c), square = rmsprop_average(a, c, g);
  a[3] = lerp(a[3], g, c[kRest2]);
  a[0] -= c[kRate] * g / (sqrt(fma(-a[3], a[3], square)) + c[kEps]);
}
MLEXT_RULE(rmsprop_momentum_centered) {
  const V g = decayed(a, c), square = rmsprop_average(a, c, g);
  a[4] = lerp(a[4], g, c[kRest2]);
  a[3] = fma(c[kMomentum], a[3], g / (sqrt(fma(-a[4], a[4], square)) + c[kEps]));
  a[0] = fma(-c[kRate], a[3], a[0]);
}

MLEXT_RULE(adagrad) {
  const V g = decayed(a, c);
  a[2] = fma(g, g, a[2]);
  a[0] -= c[kRate] * g / (sqrt(a[2]) + c[kEps]);
}
MLEXT_RULE(adadelta) {
  const V g = decayed(a, c);
  a[2] = square_average(a[2], g, c[kDecay2], c[kRest2]);
  const V delta = sqrt(a[3] + c[kEps]) / sqrt(a[2] + c[kEps]) * g;
  a[3] = square_average(a[3], delta, c[kDecay2], c[kRest2]);
  a[0] = fma(-c[kRate], delta, a[0]);
}

// -1, 0, 1 or NaN.
template <class V>
MLEXT_INLINE V sign(V x) {
  const V one(typename V::Scalar(1)), zero = V::zero();
  return select(x > zero, one, select(x < zero, -one, x));
}
MLEXT_RULE(lion) {
  const V direction = sign(lerp(a[2], a[1], c[kRest1]));
  a[0] = fma(-c[kRate], direction, a[0] * c[kShrink]);
  a[2] = lerp(a[2], a[1], c[kRest2]);
}

// ---- plain list operations ------------------------------------------------------------------------------------------
MLEXT_RULE(scale) { a[0] *= c[kRate]; }
// min and max in this order keep NaN.
MLEXT_RULE(clip_value) { a[0] = min(c[kRate], max(-c[kRate], a[0])); }
MLEXT_RULE(add_scaled) { a[0] = fma(c[kRate], a[1], a[0]); }
// a[0]: gradient, a[1]: parameter; g += l1 sign(p) + l2 p.
MLEXT_RULE(add_penalty) { a[0] += fma(c[kRate], sign(a[1]), c[kWeightDecay] * a[1]); }
MLEXT_RULE(lerp) { a[0] = lerp(a[0], a[1], c[kRate]); }

#undef MLEXT_RULE

}  // namespace mlext::MLEXT_LEVEL
