// Elementwise kernels: out[i] = f(in0[i], in1[i], in2[i]; p) over broadcast inputs.
//
// An op is one row of the list below and one functor of the same name in ops.h. Rows: X(name, inputs, parameters).
// Inputs and output have one dtype T. Exactly the same memory may be input and output; partial overlap may not.
// float32 and float64 compute in their own type, the half types in float32; integer dtypes have the rows of
// MLEXT_INTEGER_MAPS. NaN propagates through every op but the comparisons.
#pragma once

#include "core/types.h"

namespace mlext {

// ---- floating ops: formulas -----------------------------------------------------------------------------------------
// *_backward(v, g): gradient of the op times g, where v is the op's output for exp-like ops (sigmoid, tanh, erf takes x)
// and its input for the others; the functor says which.
#define MLEXT_FLOAT_MAPS(X)      \
  X(neg, 1, 0)                   \
  X(abs, 1, 0)                   \
  X(sign, 1, 0)                  \
  X(floor, 1, 0)                 \
  X(ceil, 1, 0)                  \
  X(round, 1, 0)                 \
  X(exp, 1, 0)                   \
  X(exp2, 1, 0)                  \
  X(expm1, 1, 0)                 \
  X(log, 1, 0)                   \
  X(log2, 1, 0)                  \
  X(log1p, 1, 0)                 \
  X(sqrt, 1, 0)                  \
  X(rsqrt, 1, 0)                 \
  X(reciprocal, 1, 0)            \
  X(square, 1, 0)                \
  X(sin, 1, 0)                   \
  X(cos, 1, 0)                   \
  X(tanh, 1, 0)                  \
  X(sigmoid, 1, 0)               \
  X(erf, 1, 0)                   \
  X(relu, 1, 0)                  \
  X(leaky_relu, 1, 1)            \
  X(elu, 1, 1)                   \
  X(celu, 1, 1)                  \
  X(selu, 1, 0)                  \
  X(gelu, 1, 0)                  \
  X(gelu_tanh, 1, 0)             \
  X(silu, 1, 0)                  \
  X(mish, 1, 0)                  \
  X(softplus, 1, 1)              \
  X(softsign, 1, 0)              \
  X(log_sigmoid, 1, 0)           \
  X(hard_sigmoid, 1, 0)          \
  X(hard_swish, 1, 0)            \
  X(soft_shrink, 1, 1)           \
  X(clip, 1, 2)                  \
  X(add, 2, 0)                   \
  X(sub, 2, 0)                   \
  X(mul, 2, 0)                   \
  X(div, 2, 0)                   \
  X(pow, 2, 0)                   \
  X(maximum, 2, 0)               \
  X(minimum, 2, 0)               \
  X(erf_backward, 2, 0)          \
  X(tanh_backward, 2, 0)         \
  X(sigmoid_backward, 2, 0)      \
  X(relu_backward, 2, 0)         \
  X(relu6_backward, 2, 0)        \
  X(leaky_relu_backward, 2, 1)   \
  X(elu_backward, 2, 1)          \
  X(celu_backward, 2, 1)         \
  X(selu_backward, 2, 0)         \
  X(gelu_backward, 2, 0)         \
  X(gelu_tanh_backward, 2, 0)    \
  X(silu_backward, 2, 0)         \
  X(mish_backward, 2, 0)         \
  X(softplus_backward, 2, 1)     \
  X(softsign_backward, 2, 0)     \
  X(log_sigmoid_backward, 2, 0)  \
  X(hard_sigmoid_backward, 2, 0) \
  X(hard_swish_backward, 2, 0)   \
  X(soft_shrink_backward, 2, 1)  \
  X(clip_backward, 2, 2)

// Also defined for int8, uint8, int32, int64 (wrapping arithmetic).
#define MLEXT_INTEGER_MAPS(X) \
  X(neg, 1, 0) X(abs, 1, 0) X(add, 2, 0) X(sub, 2, 0) X(mul, 2, 0) X(maximum, 2, 0) X(minimum, 2, 0)

// Comparisons and tests: bool output. Every dtype but the half types (compared as float32).
#define MLEXT_COMPARES(X) X(eq, 2) X(ne, 2) X(lt, 2) X(le, 2) X(gt, 2) X(ge, 2) X(isnan, 1) X(isfinite, 1)

// bool in, bool out.
#define MLEXT_LOGICALS(X) X(logical_and, 2) X(logical_or, 2) X(logical_xor, 2) X(logical_not, 1)

enum class MapOp : int {
#define MLEXT_ENUM(name, ...) name,
  MLEXT_FLOAT_MAPS(MLEXT_ENUM) MLEXT_COMPARES(MLEXT_ENUM) MLEXT_LOGICALS(MLEXT_ENUM)
#undef MLEXT_ENUM
      count
};
inline constexpr int kMapOps = static_cast<int>(MapOp::count);
inline constexpr int kMapInputs = 3;

// One run of n elements. step[i] is 1, or 0 when in[i] is one element for all of them.
struct MapArgs {
  const void* in[kMapInputs];
  index step[kMapInputs];
  void* out;
  index n;
  double p[2];
};
using MapFn = void (*)(const MapArgs&);

struct ElementwiseKernels {
  MapFn map[kMapOps][kDTypes];   // by the dtype of the inputs; null where not defined
  MapFn cast[kDTypes][kDTypes];  // [from][to]; null between a half type and anything but float32 and itself
  MapFn where[4];                // in0 bool, in1 and in2 of 1, 2, 4, 8 bytes
};

// ---- driver ---------------------------------------------------------------------------------------------------------

// Operand of a map: an array, or a number when `array` is null.
struct MapOperand {
  const Array* array;
  double value;
};

// Broadcasts, allocates, launches. bool output for comparisons and logicals. `p` are the op's parameters. The result is
// row-major, unless the first operand of its shape is a permuted view of a row-major array: then it is such a view too.
Array elementwise(MapOp op, const MapOperand* operands, int count, double p0 = 0, double p1 = 0);
// The same into `out` (its shape is the broadcast target); bumps its version.
void elementwise_into(MapOp op, const MapOperand* operands, int count, const Array& out, double p0 = 0, double p1 = 0);

// Element type and layout conversion: a dense array of `dtype`; a copy even if nothing changes.
Array cast(const Array& a, DType dtype);
// out[...] = a, broadcast and converted.
void cast_into(const Array& a, const Array& out);
void fill_into(double value, const Array& out);
// `a` itself when it is row-major already, else a row-major copy: what a driver that does not take strides calls.
Array dense(const Array& a);
// The same for a row-major array of a dtype.
Array dense(const Array& a, DType dtype);
Array where(const Array& condition, const MapOperand& a, const MapOperand& b);

}  // namespace mlext
