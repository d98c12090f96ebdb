#include "kernels/elementwise/gated.h"

#include "kernels/elementwise/ops.h"
#include "simd/compute.h"
#include "simd/parts.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// An activation and its slope.
template <class V>
struct Activated {
  V value, slope;
};

struct gate_swiglu {
  template <class V>
  static MLEXT_INLINE V value(V x) {
    return x * sigmoid(x);
  }
  template <class V>
  static MLEXT_INLINE Activated<V> both(V x) {
    const V one(typename V::Scalar(1));
    const V s = sigmoid(x);
    return {x * s, s * fma(x, one - s, one)};
  }
};

struct gate_geglu {
  template <class V>
  static MLEXT_INLINE V value(V x) {
    return gelu(x);
  }
  // With the distribution function from erf: near 0 for x far below, where only the difference from 0 counts.
  template <class V>
  static MLEXT_INLINE Activated<V> both(V x) {
    using T = typename V::Scalar;
    const V half(T(0.5)), share = fma(half, erf(x * V(T(kSqrtHalf))), half);
    return {x * share, fma(x * V(T(kInvSqrt2Pi)), exp(-half * x * x), share)};
  }
};

struct gate_geglu_tanh {
  template <class V>
  static MLEXT_INLINE V value(V x) {
    return gelu_tanh(x);
  }
  template <class V>
  static MLEXT_INLINE Activated<V> both(V x) {
    using T = typename V::Scalar;
    const V one(T(1)), half(T(0.5)), cubic(T(3 * kGeluCubic));
    const V t = tanh(gelu_inner(x)), share = fma(half, t, half);
    const V inner_slope = V(T(kGeluScale)) * fma(cubic * x, x, one);
    return {x * share, fma(half * x * (one - t * t), inner_slope, share)};
  }
};

template <class S, class Op>
void forward(const GatedArgs& args) {
  using V = Vec<typename Compute<S>::Type>;
  const S *gate = static_cast<const S*>(args.gate), *up = static_cast<const S*>(args.up);
  S* out = static_cast<S*>(args.out);
  each<V>(args.n,
          [&](index i, auto part) { put(out + i, Op::value(get<V>(gate + i, part)) * get<V>(up + i, part), part); });
}

template <class S, class Op>
void gradient(const GatedArgs& args) {
  using V = Vec<typename Compute<S>::Type>;
  const S *gate = static_cast<const S*>(args.gate), *up = static_cast<const S*>(args.up);
  const S* g = static_cast<const S*>(args.g);
  S *of_gate = static_cast<S*>(args.out), *of_up = static_cast<S*>(args.out_up);
  each<V>(args.n, [&](index i, auto part) {
    const Activated<V> act = Op::both(get<V>(gate + i, part));
    const V slope = get<V>(g + i, part);
    put(of_gate + i, slope * get<V>(up + i, part) * act.slope, part);
    put(of_up + i, slope * act.value, part);
  });
}

// ---- the table --------------------------------------------------------------------------------------------------------

template <class S>
constexpr void add_type(GatedKernels& t, DType dtype) {
  const int type = static_cast<int>(dtype);
#define MLEXT_ROW(name)                                                       \
  t.forward[static_cast<int>(GatedOp::name)][type] = forward<S, gate_##name>; \
  t.gradient[static_cast<int>(GatedOp::name)][type] = gradient<S, gate_##name>;
  MLEXT_GATED(MLEXT_ROW)
#undef MLEXT_ROW
}

constexpr GatedKernels make_table() {
  GatedKernels t{};
  add_type<float>(t, DType::float32);
  add_type<double>(t, DType::float64);
  add_type<bf16>(t, DType::bfloat16);
  add_type<f16>(t, DType::float16);
  return t;
}

}  // namespace

extern const GatedKernels gated_kernels;
constexpr GatedKernels gated_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
