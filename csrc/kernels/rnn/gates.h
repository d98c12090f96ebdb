// sigmoid and tanh for gates: fewer operations, each good to 4 units in the last place for |x| <= 10, and to 1e-7 everywhere.
#pragma once

#include "simd/math.h"

namespace mlext::MLEXT_LEVEL {

MLEXT_INLINE Vec<double> gate_sigmoid(Vec<double> x) { return sigmoid(x); }
MLEXT_INLINE Vec<double> gate_tanh(Vec<double> x) { return tanh(x); }

// 1 / (1 + 2^(n + r)), n + r = -x log2 e: one reduction step, for the error of log2 e is that of one place at |x| = 10. 2^r to
// 2^-23.4 by weighted least squares. Beyond 87 the exponent would leave its bits; there 1e-38 stands for what is less.
MLEXT_INLINE Vec<float> gate_sigmoid(Vec<float> x) {
  using V = Vec<float>;
  constexpr float kPower[] = {1.0f, 0x1.62e42ap-1f, 0x1.ebf9bcp-3f, 0x1.c6b752p-5f, 0x1.3cea88p-7f, 0x1.5bba12p-10f};
  const V bounded = max(V(-87.0f), min(V(87.0f), x)), log2e(-0x1.715476p+0f), magic(V::kMagic);
  const V t = fma(bounded, log2e, magic), r = fma(bounded, log2e, magic - t);
  return reciprocal(fma(power_of_two(t), polynomial(r, kPower), V(1.0f)));
}

// x P(x^2) / Q(x^2) to 2^-26.8 up to 8.2, by weighted least squares, less 1e-7 of it, so that rounding does not lead beyond 1.
MLEXT_INLINE Vec<float> gate_tanh(Vec<float> x) {
  using V = Vec<float>;
  constexpr float kP[] = {0.999999891746f, 0.134321226378f, 0.00355668720545f, 2.16372932168e-05f, 1.48405855222e-08f};
  constexpr float kQ[] = {1.0f, 0.46765449722342f, 0.0261083032394f, 0.000338644313855f, 8.3706157708508e-07f};
  const V bounded = max(V(-8.2f), min(V(8.2f), x)), z = bounded * bounded;
  return (bounded * polynomial(z, kP)) * reciprocal(polynomial(z, kQ));
}

}  // namespace mlext::MLEXT_LEVEL
