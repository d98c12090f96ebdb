// The functors of MLEXT_FLOAT_MAPS: V is Vec<float> or Vec<double>, p the parameters.
#pragma once

#include "simd/math.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

#define MLEXT_UNARY(name, formula)                                     \
  struct op_##name {                                                   \
    template <class V>                                                 \
    static MLEXT_INLINE V run(V x, [[maybe_unused]] const double* p) { \
      using T = typename V::Scalar;                                    \
      [[maybe_unused]] const V one(T(1)), zero(T(0)), half(T(0.5));    \
      return formula;                                                  \
    }                                                                  \
  };
// v: the saved value, g: the gradient of the output.
#define MLEXT_BINARY(name, v, g, formula)                                   \
  struct op_##name {                                                        \
    template <class V>                                                      \
    static MLEXT_INLINE V run(V v, V g, [[maybe_unused]] const double* p) { \
      using T = typename V::Scalar;                                         \
      [[maybe_unused]] const V one(T(1)), zero(T(0)), half(T(0.5));         \
      return formula;                                                       \
    }                                                                       \
  };
#define MLEXT_P(i) V(static_cast<T>(p[i]))

MLEXT_UNARY(neg, -x)
MLEXT_UNARY(abs, abs(x))
MLEXT_UNARY(sign, select(x > zero, one, select(x < zero, -one, x)))
MLEXT_UNARY(floor, floor(x))
MLEXT_UNARY(ceil, -floor(-x))
MLEXT_UNARY(round, round(x))
MLEXT_UNARY(exp, exp(x))
MLEXT_UNARY(exp2, exp2(x))
MLEXT_UNARY(expm1, expm1(x))
MLEXT_UNARY(log, log(x))
MLEXT_UNARY(log2, log2(x))
MLEXT_UNARY(log1p, log1p(x))
MLEXT_UNARY(sqrt, sqrt(x))
MLEXT_UNARY(rsqrt, one / sqrt(x))
MLEXT_UNARY(reciprocal, one / x)
MLEXT_UNARY(square, x* x)
MLEXT_UNARY(sin, sin(x))
MLEXT_UNARY(cos, cos(x))
MLEXT_UNARY(tanh, tanh(x))
MLEXT_UNARY(sigmoid, sigmoid(x))
MLEXT_UNARY(erf, erf(x))

// ---- activations ----------------------------------------------------------------------------------------------------

// max(0, x) in this order keeps NaN: max returns its second argument where the comparison fails.
MLEXT_UNARY(relu, max(zero, x))
MLEXT_BINARY(relu_backward, v, g, select(v > zero, g, zero))
MLEXT_BINARY(relu6_backward, v, g, select((v > zero) & (v < V(T(6))), g, zero))
MLEXT_UNARY(leaky_relu, select(x > zero, x, MLEXT_P(0) * x))
MLEXT_BINARY(leaky_relu_backward, x, g, select(x > zero, g, MLEXT_P(0) * g))
MLEXT_UNARY(elu, select(x > zero, x, MLEXT_P(0) * expm1(x)))
MLEXT_BINARY(elu_backward, x, g, select(x > zero, g, MLEXT_P(0) * exp(x) * g))
MLEXT_UNARY(celu, select(x > zero, x, MLEXT_P(0) * expm1(x / MLEXT_P(0))))
MLEXT_BINARY(celu_backward, x, g, select(x > zero, g, exp(x / MLEXT_P(0)) * g))

// Klambauer et al. 2017, "Self-Normalizing Neural Networks", equation 2.
inline constexpr double kSeluAlpha = 1.6732632423543772;
inline constexpr double kSeluScale = 1.0507009873554805;
MLEXT_UNARY(selu, V(T(kSeluScale)) * select(x > zero, x, V(T(kSeluAlpha)) * expm1(x)))
MLEXT_BINARY(selu_backward, x, g, V(T(kSeluScale)) * g * select(x > zero, one, V(T(kSeluAlpha)) * exp(x)))

// Hendrycks & Gimpel 2016, "Gaussian Error Linear Units": x Phi(x), and its tanh form.
inline constexpr double kSqrtHalf = 0.70710678118654752440;
inline constexpr double kInvSqrt2Pi = 0.39894228040143267794;
inline constexpr double kGeluScale = 0.79788456080286535588;  // sqrt(2 / pi)
inline constexpr double kGeluCubic = 0.044715;
MLEXT_UNARY(gelu, gelu(x))
MLEXT_BINARY(gelu_backward, x, g,
             g*(half*(one + erf(x * V(T(kSqrtHalf)))) + x * V(T(kInvSqrt2Pi)) * exp(-half * x * x)))

template <class V>
MLEXT_INLINE V gelu_inner(V x) {
  using T = typename V::Scalar;
  return V(T(kGeluScale)) * x * fma(V(T(kGeluCubic)) * x, x, V(T(1)));
}
MLEXT_UNARY(gelu_tanh, gelu_tanh(x))

struct op_gelu_tanh_backward {
  template <class V>
  static MLEXT_INLINE V run(V x, V g, const double*) {
    using T = typename V::Scalar;
    const V one(T(1)), half(T(0.5)), scale(T{kGeluScale}), cubic(T(3 * kGeluCubic));
    const V t = tanh(gelu_inner(x));
    const V inner_slope = scale * fma(cubic * x, x, one);
    return g * half * ((one + t) + x * (one - t * t) * inner_slope);
  }
};

MLEXT_UNARY(silu, x* sigmoid(x))
struct op_silu_backward {
  template <class V>
  static MLEXT_INLINE V run(V x, V g, const double*) {
    const V one(typename V::Scalar(1));
    const V s = sigmoid(x);
    return g * s * (one + x * (one - s));
  }
};

// log(1 + e^x) without overflow: max(x, 0) + log1p(e^-|x|).
template <class V>
MLEXT_INLINE V stable_softplus(V x) {
  return max(V(typename V::Scalar(0)), x) + log1p(exp(-abs(x)));
}
MLEXT_UNARY(softplus, stable_softplus(x* MLEXT_P(0)) / MLEXT_P(0))
MLEXT_BINARY(softplus_backward, x, g, g* sigmoid(x* MLEXT_P(0)))
MLEXT_UNARY(log_sigmoid, -stable_softplus(-x))
MLEXT_BINARY(log_sigmoid_backward, x, g, g* sigmoid(-x))
MLEXT_UNARY(mish, x* tanh(stable_softplus(x)))
struct op_mish_backward {
  template <class V>
  static MLEXT_INLINE V run(V x, V g, const double*) {
    const V one(typename V::Scalar(1));
    const V t = tanh(stable_softplus(x));
    return g * (t + x * (one - t * t) * sigmoid(x));
  }
};

MLEXT_UNARY(softsign, x / (one + abs(x)))
MLEXT_BINARY(softsign_backward, x, g, g / ((one + abs(x)) * (one + abs(x))))

// min and max in this order keep NaN, as relu does.
template <class V>
MLEXT_INLINE V clamp(V x, V low, V high) {
  return min(high, max(low, x));
}
MLEXT_UNARY(clip, clamp(x, MLEXT_P(0), MLEXT_P(1)))
MLEXT_BINARY(clip_backward, x, g, select((x >= MLEXT_P(0)) & (x <= MLEXT_P(1)), g, zero))
// Howard et al. 2019, "Searching for MobileNetV3": relu6(x + 3) / 6.
MLEXT_UNARY(hard_sigmoid, clamp(x + V(T(3)), zero, V(T(6))) / V(T(6)))
MLEXT_BINARY(hard_sigmoid_backward, x, g, select((x > V(T(-3))) & (x < V(T(3))), g / V(T(6)), zero))
MLEXT_UNARY(hard_swish, x* clamp(x + V(T(3)), zero, V(T(6))) / V(T(6)))
MLEXT_BINARY(hard_swish_backward, x, g,
             g* select(x >= V(T(3)), one, select(x > V(T(-3)), (x + x + V(T(3))) / V(T(6)), zero)))
MLEXT_UNARY(soft_shrink, select(x > MLEXT_P(0), x - MLEXT_P(0), select(x < -MLEXT_P(0), x + MLEXT_P(0), x - x)))
MLEXT_BINARY(soft_shrink_backward, x, g, select(abs(x) > MLEXT_P(0), g, zero))

// ---- arithmetic -----------------------------------------------------------------------------------------------------
MLEXT_BINARY(add, a, b, a + b)
MLEXT_BINARY(sub, a, b, a - b)
MLEXT_BINARY(mul, a, b, a* b)
MLEXT_BINARY(div, a, b, a / b)
MLEXT_BINARY(pow, a, b, pow(a, b))
MLEXT_BINARY(maximum, a, b, max_nan(a, b))
MLEXT_BINARY(minimum, a, b, min_nan(a, b))

// v is the output of tanh and sigmoid, the input of erf.
MLEXT_BINARY(tanh_backward, y, g, g*(one - y * y))
MLEXT_BINARY(sigmoid_backward, y, g, g * y * (one - y))
MLEXT_BINARY(erf_backward, x, g, g* V(T(1.12837916709551257390)) * exp(-(x * x)))  // 2 / sqrt(pi)

#undef MLEXT_UNARY
#undef MLEXT_BINARY
#undef MLEXT_P

}  // namespace mlext::MLEXT_LEVEL
