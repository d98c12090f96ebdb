// Driver of the matrix product: compact ones of little work at once, others by plan (plan.h) and in tasks (compact.h, product.h).
#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <utility>

#include "core/dtype.h"
#include "core/isa.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/gemm/compact.h"
#include "kernels/gemm/plan.h"
#include "kernels/gemm/run.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH_OF(bgemm, BgemmKernels, bgemm_kernels)

namespace {

using namespace gemm_detail;

// The biases in the compute type: as they are, or widened into workspace of this thread.
template <class T>
Biases<T> widen_biases(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  if (!is_half(g.dtype)) return {static_cast<const T*>(g.bias_n), static_cast<const T*>(g.bias_m)};
  if (g.bias_n == nullptr && g.bias_m == nullptr) return {nullptr, nullptr};
  const index width = ceil_div(g.n, kernels.lanes) * kernels.lanes;  // packing fills vectors
  T* columns = scratch<T>(kSlotBias, width + g.m + kernels.lanes);
  T* rows = columns + width;
  if (g.bias_n != nullptr) kernels.pack_b(g.dtype, g.bias_n, 0, 1, 1, g.n, columns, 0);
  if (g.bias_m != nullptr) kernels.pack_b(g.dtype, g.bias_m, 0, 1, 1, g.m, rows, 0);
  return {g.bias_n != nullptr ? columns : nullptr, g.bias_m != nullptr ? rows : nullptr};
}

const HalfPair* sums(const float* values) { return reinterpret_cast<const HalfPair*>(values); }

template <class T>
void run_at_once(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  const Split panels = compact_panels(kernels, g);
  const CompactProduct<T> product{kernels,       g,     static_cast<const T*>(g.a), static_cast<const T*>(g.b), nullptr,
                                  outputs_of(g), panels};
  product.run(0, g.m, 0, panels.count);
}

}  // namespace

void gemm(const GemmArgs& args) {
  if (args.m == 0 || args.n == 0) return;
  const GemmKernels& kernels = gemm_kernels(args.device);
  if (runs_at_once(args))
    return args.dtype == DType::float64 ? run_at_once(kernels.f64, args) : run_at_once(kernels.f32, args);
  const GemmArgs g = canonical(args);
  if (g.dtype == DType::float64) return run(kernels.f64, g, widen_biases(kernels.f64, g));
  const Biases<float> bias = widen_biases(kernels.f32, g);
  const BgemmKernels& pairs = bgemm_kernels(args.device);
  if (!takes_pairs(pairs, g)) return run(kernels.f32, g, bias);
  run(pairs, in_groups(g, pairs.group), Biases<HalfPair>{sums(bias.n), sums(bias.m)});
}

}  // namespace mlext
