// Softmax, log-softmax and log-sum-exp, with their gradients.
//
// Numbers: the maximum is subtracted first, so no finite input overflows; exponentials are summed in blocks of short
// chains. The half types compute in float32. An infinite, NaN or wholly -infinite row gives NaN, in that row only
// (logsumexp: the limit, as far as there is one). Under a mask, what is masked is 0 whatever it holds, and so is a slice
// that is masked throughout.
#pragma once

#include "core/types.h"

namespace mlext {

// One call works on `count` slices of n elements each.
//   rows:     element i of slice r is at r * n + i
//   columns:  element i of slice c is at i * step + c
// x: the input; in a gradient, the output. Element type T of the table row.
struct SoftmaxArgs {
  const void* x;
  const void* g;  // gradients only
  void* out;      // logsumexp: one compute-type value per slice
  void* work;     // softmax: n compute-type values (rows of half types) or n vectors (columns)
  index count, n, step;
  const bool* mask;  // masked_softmax only: as x lies, but rows are mask_step apart
  index mask_step;
};
using SoftmaxFn = void (*)(const SoftmaxArgs&);
// The most columns of one call.
inline constexpr index kSoftmaxColumns = 64;

#define MLEXT_SOFTMAXES(X) \
  X(softmax) X(masked_softmax) X(log_softmax) X(logsumexp) X(softmax_backward) X(log_softmax_backward)
enum class SoftmaxOp : int {
#define MLEXT_ENUM(name) name,
  MLEXT_SOFTMAXES(MLEXT_ENUM)
#undef MLEXT_ENUM
      count
};
inline constexpr int kSoftmaxOps = static_cast<int>(SoftmaxOp::count);

struct SoftmaxKernels {
  SoftmaxFn rows[kSoftmaxOps][kDTypes];  // null where not defined
  SoftmaxFn columns[kSoftmaxOps][kDTypes];
};

// ---- driver ---------------------------------------------------------------------------------------------------------

Array softmax(const Array& x, index axis);
// mask: bool, of a shape that broadcasts to that of x; true takes part.
Array masked_softmax(const Array& x, const Array& mask, index axis);
Array log_softmax(const Array& x, index axis);
Array logsumexp(const Array& x, index axis, bool keepdims);
// y: the output of the forward function.
Array softmax_backward(const Array& y, const Array& g, index axis);
Array log_softmax_backward(const Array& y, const Array& g, index axis);

}  // namespace mlext
