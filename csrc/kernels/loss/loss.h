// Elementwise losses with their reduction in one pass, and their gradients. Formulas: ops.h, one functor per row below.
//
// X(name, parameters). p: prediction, t: target; equal shapes, no broadcasting. w, optional, has their shape too. float32
// and float64 compute in their own type, the half types in float32; sums run over blocks of short chains, the blocks in
// float64. NaN anywhere makes the loss NaN.
#pragma once

#include "core/types.h"

namespace mlext {

#define MLEXT_LOSSES(X)                  \
  X(mse, 0)                              \
  X(mae, 0)                              \
  X(huber, 1)                            \
  X(smooth_l1, 1)                        \
  X(log_cosh, 0)                         \
  X(hinge, 0)                            \
  X(squared_hinge, 0)                    \
  X(binary_cross_entropy, 0)             \
  X(binary_cross_entropy_with_logits, 0) \
  X(kl_div, 0)                           \
  X(kl_div_log, 0)                       \
  X(poisson_nll, 2)                      \
  X(poisson_nll_log, 2)

enum class LossOp : int {
#define MLEXT_ENUM(name, parameters) name,
  MLEXT_LOSSES(MLEXT_ENUM)
#undef MLEXT_ENUM
      count
};
inline constexpr int kLossOps = static_cast<int>(LossOp::count);

// out[i] = f(p[i], t[i]) factor for n elements of dense memory, f the loss or a gradient of it.
struct LossArgs {
  const void* p;
  const void* t;
  const void* extra;  // binary_cross_entropy_with_logits: weight of t; null: ones
  void* out;          // not for sums, and these have no factor
  index n;
  double factor;
  double parameter[2];
};
using LossFn = void (*)(const LossArgs&);
using LossSumFn = double (*)(const LossArgs&);

// [0] float32, [1] float64.
struct LossKernels {
  LossFn value[kLossOps][2];
  LossSumFn sum[kLossOps][2];
  LossFn grad[kLossOps][2];         // with respect to p
  LossFn grad_target[kLossOps][2];  // with respect to t
  LossFn product[2];                // f = p t
  LossSumFn product_sum[2];
};

// ---- driver ---------------------------------------------------------------------------------------------------------

// batchmean: the sum divided by the size of axis 0 (1 for a scalar).
enum class Reduction : int;  // kernels/softmax/cross_entropy.h

enum class LossReduction : int { none, mean, sum, batchmean };

struct LossOptions {
  const char* name;  // of the loss: for errors
  LossReduction reduction;
  double parameter[2] = {};
};

Array loss(LossOp op, const Array& pred, const Array& target, const Array* weight, const Array* pos_weight,
           const LossOptions& options);
// Gradient of the prediction, or of the target.
Array loss_backward(LossOp op, const Array& pred, const Array& target, const Array* weight, const Array* pos_weight,
                    const Array& g, const LossOptions& options, bool of_target);

// Negative log-likelihood: -w[y] logp[y] per row of the last axis. The mean divides by the sum of the labels' weights and
// is 0 when nothing counts.
Array nll(const Array& logp, const Array& labels, const Array* weight, index ignore_index, Reduction reduction);
Array nll_backward(const Array& logp, const Array& labels, const Array* weight, const Array& g, index ignore_index,
                   Reduction reduction);

}  // namespace mlext
