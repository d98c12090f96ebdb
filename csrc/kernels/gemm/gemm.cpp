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
#include "kernels/gemm/product.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)

namespace {

using namespace gemm_detail;

index batch_offset(const GemmArgs& g, const index* strides, index number) {
  index offset = 0;
  for (int i = g.batch_rank - 1; i >= 0; --i) {
    offset += number % g.batch[i] * strides[i];
    number /= g.batch[i];
  }
  return offset;
}

// The biases in the compute type: as they are, or widened into workspace of this thread.
template <class T>
std::pair<const T*, const T*> widen_biases(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  if (!is_half(g.dtype)) return {static_cast<const T*>(g.bias_n), static_cast<const T*>(g.bias_m)};
  if (g.bias_n == nullptr && g.bias_m == nullptr) return {nullptr, nullptr};
  T* columns = scratch<T>(kSlotBias, g.n + g.m);
  T* rows = columns + g.n;
  if (g.bias_n != nullptr) kernels.pack(g.dtype, g.bias_n, 0, 1, 1, g.n, columns, 0);
  if (g.bias_m != nullptr) kernels.pack(g.dtype, g.bias_m, 0, 1, 1, g.m, rows, 0);
  return {g.bias_n != nullptr ? columns : nullptr, g.bias_m != nullptr ? rows : nullptr};
}

template <class T>
void run(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  const index batches = batch_count(g);
  if (batches == 0) return;
  const GemmPlan plan = make_plan(kernels, g, batches);
  const auto [bias_n, bias_m] = widen_biases(kernels, g);
  // With k = 0 the sum is 0 whatever alpha is, and 0 * infinity must not get in.
  const T alpha = g.k == 0 ? T(0) : static_cast<T>(g.alpha);
  const BufferRef kept = kept_panels(kernels, g, plan);
  const Product<T> whole{kernels,
                         g,
                         plan,
                         alpha,
                         static_cast<T>(g.beta),
                         bias_n,
                         bias_m,
                         kept ? static_cast<const T*>(kept->data) : nullptr,
                         g.a,
                         g.b,
                         g.c,
                         g.pre};

  const index row_tasks = plan.row_tasks(g), panel_tasks = plan.panel_tasks(),
              tasks = batches * row_tasks * panel_tasks;
  const double work = 2.0 * g.m * g.n * g.k * batches / kParallelFlops;
  const index grain = work < 1 ? tasks : static_cast<index>(static_cast<double>(tasks) / (4 * work)) + 1;
  parallel_for(tasks, grain, [&](index begin, index end) {
    for (index task = begin; task < end; ++task) {
      const index row_task = divide(task, panel_tasks), batch = divide(row_task, row_tasks);
      const index m0 = (row_task - batch * row_tasks) * plan.rows;
      const index p0 = (task - row_task * panel_tasks) * plan.group;
      Product<T> product = whole;
      if (batch != 0) {
        product.a = at(g.a, g.dtype, batch_offset(g, g.a_batch, batch));
        product.b = at(g.b, g.dtype, batch_offset(g, g.b_batch, batch));
        const index c_offset = batch_offset(g, g.c_batch, batch);
        product.c = at(g.c, g.out_dtype, c_offset);
        if (g.pre != nullptr) product.pre = at(g.pre, g.out_dtype, c_offset);
      }
      product.run(m0, std::min(m0 + plan.rows, g.m), p0, std::min(p0 + plan.group, plan.panels.count));
    }
  });
}

template <class T>
void run_at_once(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  const Split panels = compact_panels(kernels, g);
  const CompactProduct<T> product{
      kernels, g, static_cast<const T*>(g.a), static_cast<const T*>(g.b), static_cast<T*>(g.c), static_cast<T*>(g.pre),
      panels};
  product.run(0, g.m, 0, panels.count);
}

}  // namespace

void gemm(const GemmArgs& args) {
  if (args.m == 0 || args.n == 0) return;
  const GemmKernels& kernels = gemm_kernels(args.device);
  if (runs_at_once(args))
    return args.dtype == DType::float64 ? run_at_once(kernels.f64, args) : run_at_once(kernels.f32, args);
  const GemmArgs g = canonical(args);
  if (g.dtype == DType::float64) {
    run<double>(kernels.f64, g);
  } else {
    run<float>(kernels.f32, g);
  }
}

}  // namespace mlext
