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

// One product: where C, R and `pre` begin.
struct Outputs {
  void* c;
  const void* in;  // R, or C
  void* pre;       // or null

  void move(DType dtype, index elements) {
    c = at(c, dtype, elements);
    in = at(in, dtype, elements);
    if (pre != nullptr) pre = at(pre, dtype, elements);
  }
};

inline Outputs outputs_of(const GemmArgs& g) { return {g.c, g.residual != nullptr ? g.residual : g.c, g.pre}; }

// The epilogue of the rows and columns that begin at (row, column), over sums that need no beta any more.
template <class T>
FinishArgs<T> finish_args(const GemmArgs& g, const Outputs& outputs, const T* bias_m, index row, index column) {
  const index offset = row * g.c_row + column * g.c_col;
  FinishArgs<T> f;
  f.out_dtype = g.out_dtype;
  f.c = at(outputs.c, g.out_dtype, offset);
  f.in = at(outputs.in, g.out_dtype, offset);
  f.pre = outputs.pre != nullptr ? at(outputs.pre, g.out_dtype, offset) : nullptr;
  f.c_row = g.c_row;
  f.c_col = g.c_col;
  f.beta = 0;
  f.bias_m = bias_m != nullptr ? bias_m + row : nullptr;
  f.scale_n = g.scale_n != nullptr ? g.scale_n + column : nullptr;
  f.offset_n = g.offset_n != nullptr ? g.offset_n + column : nullptr;
  f.out_step = g.out_step;
  f.activation = g.activation;
  return f;
}

}  // namespace mlext::gemm_detail
