// What the losses share: reductions by name, class labels, sums over rows.
#pragma once

#include <string_view>

#include "core/array.h"
#include "kernels/softmax/cross_entropy.h"

namespace mlext {

// "none", "mean" or "sum"; ValueError otherwise.
Reduction parse_reduction(const char* op, std::string_view text);
// The gradient of a loss must have the loss's shape: `shape` unreduced, else ().
void require_loss_gradient(const char* op, const Array& g, Reduction reduction, const Dims& shape);

// Class labels as a launch captures them: dense memory of any integer type.
struct Labels {
  const char* op;
  const void* data;
  DType dtype;
  index rows, classes, ignore_index;

  // int64 labels, -1 for ignored ones. IndexError naming the first label that is no class. For inside a launch only.
  void read(index* out) const;
};

// The sum of weight[label] over the labels that count; their number without weights.
template <class C>
double weight_of_labels(const index* labels, index rows, const C* weight);

// Sum in double by four chains, in an order that depends on n alone.
template <class C>
double ordered_sum(const C* x, index n);

}  // namespace mlext
