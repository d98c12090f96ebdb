// A planned product, in tasks over threads.
#pragma once

#include <algorithm>

#include "core/dtype.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/kept.h"
#include "kernels/gemm/plan.h"
#include "kernels/gemm/product.h"

namespace mlext::gemm_detail {

// Where product `number` of a batch begins, in elements. The outermost dimension needs no division.
struct BatchOffsets {
  index a = 0, b = 0, c = 0;

  BatchOffsets(const GemmArgs& g, index number) {
    for (int i = g.batch_rank - 1; i >= 0; --i) {
      const index outer = i == 0 ? 0 : divide(number, g.batch[i]), place = number - outer * g.batch[i];
      a += place * g.a_batch[i];
      b += place * g.b_batch[i];
      c += place * g.c_batch[i];
      number = outer;
    }
  }
};

// Compact products may be shorter than it takes to read the clock; others ask more often by themselves.
constexpr index kPolledTasks = 16;

// In the compute type; null means absent.
template <class T>
struct Biases {
  const T* n;
  const T* m;
};

template <class T>
void run(const GemmTypeKernels<T>& kernels, const GemmArgs& g, const Biases<T>& bias) {
  const index batches = batch_count(g);
  if (batches == 0) return;
  const GemmPlan plan = make_plan(kernels, g, batches);
  // With k = 0 the sum is 0 whatever alpha is, and 0 * infinity must not get in.
  const auto alpha = static_cast<Scalar<T>>(g.k == 0 ? 0 : g.alpha);
  const BufferRef kept = kept_panels(kernels, g, plan);
  const Product<T> whole{kernels,
                         g,
                         plan,
                         alpha,
                         static_cast<Scalar<T>>(g.beta),
                         bias.n,
                         bias.m,
                         kept ? static_cast<const T*>(kept->data) : nullptr,
                         g.a,
                         g.b,
                         outputs_of(g)};

  const index row_tasks = plan.row_tasks(g), panel_tasks = plan.panel_tasks(),
              tasks = batches * row_tasks * panel_tasks;
  parallel_for(tasks, parallel_grain(tasks, work_of(g, batches)), [&](index begin, index end) {
    for (index task = begin; task < end; ++task) {
      if ((task - begin) % kPolledTasks == 0) poll_interrupt();
      const index row_task = divide(task, panel_tasks), batch = divide(row_task, row_tasks);
      const index m0 = (row_task - batch * row_tasks) * plan.rows;
      const index p0 = (task - row_task * panel_tasks) * plan.group;
      Product<T> product = whole;
      if (batch != 0) {
        const BatchOffsets offset(g, batch);
        product.a = at(g.a, g.dtype, offset.a);
        product.b = at(g.b, g.dtype, offset.b);
        product.outputs.move(g.out_dtype, offset.c);
      }
      product.run(m0, std::min(m0 + plan.rows, g.m), p0, std::min(p0 + plan.group, plan.panels.count));
    }
  });
}

}  // namespace mlext::gemm_detail
