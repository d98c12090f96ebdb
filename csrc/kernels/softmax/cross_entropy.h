// Cross-entropy of logits with integer labels or target probabilities: softmax, logarithm and loss in one pass.
#pragma once

#include "core/types.h"

namespace mlext {

enum class Reduction : int { none, mean, sum };

// Rows of logits with C classes each; w: weights of the classes, ones when null; p: softmax of the row.
//   labels:  loss = -(1 - smoothing) w[y] log p[y] - smoothing / C * sum w[c] log p[c];   y < 0: ignored, 0
//   target:  loss = -sum w[c] t'[c] log p[c] with t' = (1 - smoothing) t + smoothing / C
// No probability is written: the gradient makes them again from two numbers per row, log p = (x - max) - tail.
// Compute type: float for the half types, else that of the logits.
struct CrossEntropyArgs {
  const void* logits;
  const index* labels;
  const void* target;  // of the logits' type
  const void* weight;  // of the compute type; null: ones
  index rows, classes;
  double smoothing;
  double weight_mean;  // labels: sum of the weights / C
  void* loss;          // forward: compute type, one per row
  void* stats;         // compute type, (max, tail) per row: written forward, read backward
  const void* g;       // backward: gradient of the loss, compute type, one per row; or one for all if g_step is 0
  index g_step;
  double scale;  // factor of g
  void* out;     // backward: gradient of the logits, or of the target
};
using CrossEntropyFn = void (*)(const CrossEntropyArgs&);

// By the dtype of the logits; null where not defined.
struct CrossEntropyKernels {
  CrossEntropyFn labels_forward[kDTypes], labels_backward[kDTypes];
  CrossEntropyFn target_forward[kDTypes], target_backward[kDTypes];
  CrossEntropyFn target_backward_target[kDTypes];  // gradient of the target
};

// ---- driver ---------------------------------------------------------------------------------------------------------

struct CrossEntropyOptions {
  double smoothing;
  Reduction reduction;
};
// The mean divides by the sum of the labels' weights; with nothing to count (batch 0, every label ignored) it is 0 and so
// are the gradients. stats: labels.shape + (2,).
void cross_entropy(const Array& logits, const Array& labels, const Array* weight, index ignore_index,
                   CrossEntropyOptions options, Array& loss, Array& stats);
Array cross_entropy_backward(const Array& logits, const Array& labels, const Array* weight, const Array& stats,
                             const Array& g, index ignore_index, CrossEntropyOptions options);
// Target probabilities in the shape of the logits; the mean divides by the number of rows.
void cross_entropy_soft(const Array& logits, const Array& target, const Array* weight, CrossEntropyOptions options,
                        Array& loss, Array& stats);
// Gradient of the logits, or of the target.
Array cross_entropy_soft_backward(const Array& logits, const Array& target, const Array* weight, const Array& stats,
                                  const Array& g, CrossEntropyOptions options, bool of_target);

}  // namespace mlext
