// The functors of MLEXT_LOSSES: value, gradient with respect to the prediction p, gradient with respect to the target t.
// V is Vec<float> or Vec<double>; q holds the parameters. Losses of d = p - t alone state the gradient once.
#pragma once

#include "kernels/loss/loss.h"
#include "simd/math_log.h"

namespace mlext::MLEXT_LEVEL {

// What a functor may use besides p and t.
template <class V>
struct LossContext {
  V extra;          // binary_cross_entropy_with_logits: weight of positive targets
  const double* q;  // parameters
  MLEXT_INLINE V parameter(int i) const { return V(static_cast<typename V::Scalar>(q[i])); }
};

struct Plain {
  static constexpr bool kUsesExtra = false;
};
struct WithExtra {
  static constexpr bool kUsesExtra = true;
};

template <class V>
MLEXT_INLINE V constant(double x) {
  return V(static_cast<typename V::Scalar>(x));
}
// -1, x itself where it is 0 or NaN, 1.
template <class V>
MLEXT_INLINE V sign(V x) {
  return select(x > V::zero(), constant<V>(1), select(x < V::zero(), constant<V>(-1), x));
}
// min and max keep their second operand where one is NaN.
template <class V>
MLEXT_INLINE V clamp(V x, V low, V high) {
  return min(high, max(low, x));
}

#define MLEXT_VALUE  \
  template <class V> \
  static MLEXT_INLINE V value(V p, [[maybe_unused]] V t, [[maybe_unused]] const LossContext<V>& c)
#define MLEXT_GRAD   \
  template <class V> \
  static MLEXT_INLINE V grad(V p, [[maybe_unused]] V t, [[maybe_unused]] const LossContext<V>& c)
#define MLEXT_GRAD_TARGET \
  template <class V>      \
  static MLEXT_INLINE V grad_target(V p, [[maybe_unused]] V t, [[maybe_unused]] const LossContext<V>& c)
#define MLEXT_OPPOSITE_TARGET \
  MLEXT_GRAD_TARGET { return -grad(p, t, c); }

// ---- regression -------------------------------------------------------------------------------------------------------

struct loss_mse : Plain {
  MLEXT_VALUE { return (p - t) * (p - t); }
  MLEXT_GRAD { return (p - t) + (p - t); }
  MLEXT_OPPOSITE_TARGET
};

struct loss_mae : Plain {
  MLEXT_VALUE { return abs(p - t); }
  MLEXT_GRAD { return sign(p - t); }
  MLEXT_OPPOSITE_TARGET
};

// Huber 1964, "Robust Estimation of a Location Parameter": d^2 / 2 up to |d| = delta, linear beyond.
struct loss_huber : Plain {
  MLEXT_VALUE {
    const V d = p - t, delta = c.parameter(0), half = constant<V>(0.5);
    return select(abs(d) <= delta, half * d * d, delta * (abs(d) - half * delta));
  }
  MLEXT_GRAD { return clamp(p - t, -c.parameter(0), c.parameter(0)); }
  MLEXT_OPPOSITE_TARGET
};

// Girshick 2015, "Fast R-CNN", with a width: Huber / beta; beta = 0 is the absolute error.
struct loss_smooth_l1 : Plain {
  MLEXT_VALUE {
    const V d = p - t, beta = c.parameter(0), half = constant<V>(0.5);
    return select(abs(d) < beta, half * d * d / beta, abs(d) - half * beta);
  }
  MLEXT_GRAD {
    const V d = p - t, beta = c.parameter(0);
    return select(abs(d) < beta, d / beta, sign(d));
  }
  MLEXT_OPPOSITE_TARGET
};

// log cosh d. With m = e^-|d| - 1, cosh d - 1 = m^2 / (2 (1 + m)): no cancellation near 0. From 1 on, |d| - log 2 leads.
struct loss_log_cosh : Plain {
  MLEXT_VALUE {
    const V a = abs(p - t), one = constant<V>(1);
    const V m = expm1(-min(one, a));
    const V small = log1p(m * m / ((one + m) + (one + m)));
    const V large = (a - constant<V>(0.69314718055994530942)) + log1p(exp(-(a + a)));
    return select(a < one, small, large);
  }
  MLEXT_GRAD { return tanh(p - t); }
  MLEXT_OPPOSITE_TARGET
};

// ---- margins: t is -1 or 1 --------------------------------------------------------------------------------------------

struct loss_hinge : Plain {
  MLEXT_VALUE { return max(V::zero(), constant<V>(1) - t * p); }
  MLEXT_GRAD { return select(constant<V>(1) - t * p > V::zero(), -t, V::zero()); }
  MLEXT_GRAD_TARGET { return select(constant<V>(1) - t * p > V::zero(), -p, V::zero()); }
};

struct loss_squared_hinge : Plain {
  template <class V>
  static MLEXT_INLINE V margin(V p, V t) {
    return max(V::zero(), constant<V>(1) - t * p);
  }
  MLEXT_VALUE { return margin(p, t) * margin(p, t); }
  MLEXT_GRAD { return constant<V>(-2) * t * margin(p, t); }
  MLEXT_GRAD_TARGET { return constant<V>(-2) * p * margin(p, t); }
};

// ---- probabilities ----------------------------------------------------------------------------------------------------

// -(t log p + (1 - t) log(1 - p)), logarithms no lower than -100 (PyTorch's rule): p = 0 or 1 costs 100, not infinity.
struct loss_binary_cross_entropy : Plain {
  template <class V>
  static MLEXT_INLINE V log_yes(V p) {
    return max(constant<V>(-100), log(p));
  }
  template <class V>
  static MLEXT_INLINE V log_no(V p) {
    return max(constant<V>(-100), log1p(-p));
  }
  MLEXT_VALUE { return (t - constant<V>(1)) * log_no(p) - t * log_yes(p); }
  MLEXT_GRAD { return (p - t) / max(constant<V>(1e-12), (constant<V>(1) - p) * p); }
  MLEXT_GRAD_TARGET { return log_no(p) - log_yes(p); }
};

// With w the weight of positive targets: -(w t log s(p) + (1 - t) log(1 - s(p))), s the sigmoid
//   = (1 - t) p + (1 + (w - 1) t) log(1 + e^-p), and log(1 + e^-p) = max(-p, 0) + log1p(e^-|p|).
struct loss_binary_cross_entropy_with_logits : WithExtra {
  MLEXT_VALUE {
    const V one = constant<V>(1);
    return fma(fma(c.extra - one, t, one), softplus(-p), (one - t) * p);
  }
  MLEXT_GRAD {
    const V one = constant<V>(1), wanted = c.extra * t;
    return (wanted + (one - t)) * sigmoid(p) - wanted;
  }
  MLEXT_GRAD_TARGET { return (c.extra - constant<V>(1)) * softplus(-p) - p; }
};

// t (log t - p) for log-probabilities p; 0 where t is.
struct loss_kl_div : Plain {
  MLEXT_VALUE {
    const V entropy = select(t == V::zero(), V::zero(), t * log(t));
    return entropy - t * p;
  }
  MLEXT_GRAD { return select(is_nan(p), p, -t); }
  MLEXT_GRAD_TARGET { return log(t) + (constant<V>(1) - p); }
};

// The same with log-probabilities as targets.
struct loss_kl_div_log : Plain {
  MLEXT_VALUE { return exp(t) * (t - p); }
  MLEXT_GRAD { return select(is_nan(p), p, -exp(t)); }
  MLEXT_GRAD_TARGET { return exp(t) * (t - p + constant<V>(1)); }
};

// ---- counts: parameter 0 is eps, parameter 1 whether to add Stirling's approximation of log t! --------------------------

template <class V>
MLEXT_INLINE V stirling(V t, const LossContext<V>& c) {
  if (c.q[1] == 0) return V::zero();
  const V terms = t * log(t) - t + constant<V>(0.5) * log(constant<V>(6.28318530717958647692) * t);
  return select(t > constant<V>(1), terms, V::zero());
}
template <class V>
MLEXT_INLINE V stirling_grad(V t, const LossContext<V>& c) {
  if (c.q[1] == 0) return V::zero();
  return select(t > constant<V>(1), log(t) + constant<V>(0.5) / t, V::zero());
}

struct loss_poisson_nll : Plain {
  MLEXT_VALUE { return (p - t * log(p + c.parameter(0))) + stirling(t, c); }
  MLEXT_GRAD { return constant<V>(1) - t / (p + c.parameter(0)); }
  MLEXT_GRAD_TARGET { return stirling_grad(t, c) - log(p + c.parameter(0)); }
};

// p is the logarithm of the rate.
struct loss_poisson_nll_log : Plain {
  MLEXT_VALUE { return (exp(p) - t * p) + stirling(t, c); }
  MLEXT_GRAD { return exp(p) - t; }
  MLEXT_GRAD_TARGET { return stirling_grad(t, c) - p; }
};

#undef MLEXT_VALUE
#undef MLEXT_GRAD
#undef MLEXT_GRAD_TARGET
#undef MLEXT_OPPOSITE_TARGET

}  // namespace mlext::MLEXT_LEVEL
