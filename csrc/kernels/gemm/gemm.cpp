// Driver of the matrix product: small ones at once, others by plan (plan.h) and in tasks (product.h).
#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <utility>

#include "core/dtype.h"
#include "core/isa.h"
#include "core/parallel.h"
#include "core/scratch.h"
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
  const BufferRef kept = plan.pack_b ? kept_panels(kernels, g, plan) : BufferRef();
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
      product.run_task(m0, std::min(m0 + plan.rows, g.m), p0, std::min(p0 + plan.group, plan.panels.count));
    }
  });
}

template <class T>
void run_small(const GemmTypeKernels<T>& kernels, const GemmArgs& g) {
  const Split panels = split_columns(kernels, g.n), blocks = Split::of(g.m, kernels.max_rows[panels.size(0) - 1]);
  TileArgs<T> tile;
  tile.k = g.k;
  tile.a_row = g.a_row;
  tile.a_col = g.a_col;
  tile.b_row = g.b_row;
  tile.out_row = g.c_row;
  tile.in_row = g.bias_n != nullptr ? 0 : g.c_row;
  tile.alpha = static_cast<T>(g.alpha);
  tile.beta = g.bias_n != nullptr ? T(1) : static_cast<T>(g.beta);
  index n0 = 0;
  for (index p = 0; p < panels.count; ++p) {
    const index vectors = panels.size(p);
    tile.cols = std::min(vectors * kernels.lanes, g.n - n0);
    tile.a = static_cast<const T*>(g.a);
    tile.b = static_cast<const T*>(g.b) + n0;
    tile.out = static_cast<T*>(g.c) + n0;
    tile.in = g.bias_n != nullptr ? static_cast<const T*>(g.bias_n) + n0 : tile.out;
    const bool partial = tile.cols != vectors * kernels.lanes;
    const auto& entry = (g.a_col == 1 ? kernels.row_tile : kernels.tile)[partial][vectors - 1];
    for (index i = 0; i < blocks.count; ++i) {
      const index rows = blocks.size(i);
      tile.rows = rows;
      entry[rows - 1](tile);
      tile.a += rows * tile.a_row;
      tile.in += rows * tile.in_row;
      tile.out += rows * tile.out_row;
    }
    n0 += tile.cols;
  }
}

}  // namespace

void gemm(const GemmArgs& args) {
  if (args.m == 0 || args.n == 0) return;
  const GemmKernels& kernels = gemm_kernels(args.device);
  if (is_small(args, DType::float32)) return run_small(kernels.f32, args);
  if (is_small(args, DType::float64)) return run_small(kernels.f64, args);
  const GemmArgs g = canonical(args);
  if (g.dtype == DType::float64) {
    run<double>(kernels.f64, g);
  } else {
    run<float>(kernels.f32, g);
  }
}

}  // namespace mlext
