// The micro-kernel tables of one ISA level.
#include "kernels/gemm/gemm.h"

#include "kernels/gemm/dot.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/table.h"
#include "kernels/gemm/tile.h"

namespace mlext::MLEXT_LEVEL {

template <class T>
constexpr GemmTypeKernels<T> type_kernels() {
  GemmTypeKernels<T> table = tile_kernels<T>();
  table.gemv = gemv<T>;
  table.dot = dot;
  table.pack_a = table.pack_b = pack;
  table.finish = finish;
  return table;
}

extern const GemmKernels gemm_kernels;
const GemmKernels gemm_kernels = {type_kernels<float>(), type_kernels<double>()};

}  // namespace mlext::MLEXT_LEVEL
