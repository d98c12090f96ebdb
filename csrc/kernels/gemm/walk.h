// What both walks over a product (compact.h, product.h) are made of.
#pragma once

#include "core/dtype.h"
#include "core/scratch.h"
#include "kernels/gemm/gemm.h"

namespace mlext::gemm_detail {

// Workspace slots of core/scratch.h. The last ones, so that drivers that call gemm() can use the first.
enum Slot { kSlotBias = kScratchSlots - 4, kSlotA, kSlotB, kSlotSums };

inline const void* at(const void* base, DType dtype, index elements) {
  return static_cast<const char*>(base) + elements * item_size(dtype);
}
inline void* at(void* base, DType dtype, index elements) {
  return static_cast<char*>(base) + elements * item_size(dtype);
}

// The epilogue of the rows and columns that begin at (row, column), over sums that need no beta nor bias_n any more.
template <class T>
FinishArgs<T> finish_args(const GemmArgs& g, void* c, void* pre, const T* bias_m, index row, index column) {
  const index offset = row * g.c_row + column * g.c_col;
  FinishArgs<T> f;
  f.out_dtype = g.out_dtype;
  f.c = at(c, g.out_dtype, offset);
  f.pre = pre != nullptr ? at(pre, g.out_dtype, offset) : nullptr;
  f.c_row = g.c_row;
  f.c_col = g.c_col;
  f.beta = 0;
  f.bias_n = nullptr;
  f.bias_m = bias_m != nullptr ? bias_m + row : nullptr;
  f.scale_n = g.scale_n != nullptr ? g.scale_n + column : nullptr;
  f.offset_n = g.offset_n != nullptr ? g.offset_n + column : nullptr;
  f.activation = g.activation;
  return f;
}

}  // namespace mlext::gemm_detail
