// Reductions over any axes: sum, mean, product, extremes, their positions, variance, norm; and running sums.
//
// Numbers: a floating sum runs in chains of 16 additions that are combined in a binary tree, so its error is at most
// (16 + log2(n) + 4) u sum|x|; the half types accumulate in float32, variance and norm of float32 in float64. Integer and
// bool sums and products are int64 and wrap. The tree depends on the shape alone, never on the number of threads.
// max, min, argmax and argmin treat NaN as the extreme.
#pragma once

#include "core/types.h"

namespace mlext {

// deviation: the sum of (x - center)^2. The wide ones and deviation accumulate in float64.
#define MLEXT_REDUCTIONS(X) X(sum) X(sumsq) X(prod) X(max) X(min) X(wide_sum) X(wide_sumsq) X(deviation)

enum class ReduceOp : int {
#define MLEXT_ENUM(name) name,
  MLEXT_REDUCTIONS(MLEXT_ENUM)
#undef MLEXT_ENUM
      count
};
inline constexpr int kReduceOps = static_cast<int>(ReduceOp::count);

// `outputs` results of `n` elements each, in the accumulator's type.
//   rows:     result r reduces x[r * step + i], i < n
//   columns:  result c reduces x[i * step + c], i < n; n > 0
struct ReduceArgs {
  const void* x;
  index outputs, n, step;
  const double* center;  // deviation only: one per result
  void* out;
  void* work;  // columns only: bit_width(blocks) accumulators per result, results rounded up to 16
};
using ReduceFn = void (*)(const ReduceArgs&);

// Rows that one chain of the columns kernel adds up.
inline constexpr index kColumnBlock = 16;

// out = acc / divisor, its square root if `root`.
struct ResultArgs {
  const void* acc;
  void* out;
  index n;
  double divisor;
  bool root;
};
using FinishFn = void (*)(const ResultArgs&);

struct ReduceKernels {
  ReduceFn rows[kReduceOps][kDTypes];  // null where not defined
  ReduceFn columns[kReduceOps][kDTypes];
  FinishFn finish[2][kDTypes];  // [accumulator is float64][dtype of out]
};

// ---- driver: `axes` null means all of them --------------------------------------------------------------------------

Array sum(const Array& x, const Dims* axes, bool keepdims);
Array mean(const Array& x, const Dims* axes, bool keepdims);
// sum, sumsq, prod, max or min, named `name` in errors and profiles.
Array reduce(const char* name, ReduceOp op, const Array& x, const Dims* axes, bool keepdims);
// Euclidean norm; float32 squares do not overflow.
Array norm(const Array& x, const Dims* axes, bool keepdims);
// Two passes: sum (x - mean)^2 / (n - ddof), and the mean.
void variance(const Array& x, const Dims* axes, bool keepdims, index ddof, Array& var, Array& mean);
Array any(const Array& x, const Dims* axes, bool keepdims);
Array all(const Array& x, const Dims* axes, bool keepdims);
// g summed down to a shape that broadcasts to g's: the adjoint of broadcasting. g itself if nothing is to be summed.
Array sum_to(const Array& g, const Dims& shape);
// Gradient of max or min with respect to x, shared equally among ties; y and g are the result and its gradient with the
// reduced axes kept.
Array max_backward(const Array& x, const Array& y, const Array& g, const Dims* axes);
// Position of the first extreme along `axis`, or in the flattened array when null.
Array arg_extreme(const char* name, bool minimum, const Array& x, const index* axis, bool keepdims);
Array cumsum(const Array& x, index axis, bool reverse);

}  // namespace mlext
