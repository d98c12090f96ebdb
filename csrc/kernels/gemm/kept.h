// All panels of a B that is likely to be a factor again, kept from one product to the next.
#pragma once

#include "core/packs.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/plan.h"
#include "kernels/gemm/walk.h"

namespace mlext::gemm_detail {

// Smaller ones are packed in the time that finding them takes.
constexpr index kKeptBytes = 2 << 10;
// With more rows, packing takes less than 6 per cent, and panels that pass through L3 once each gain nothing (1024 x 1024
// weights: 2 times as fast at 8 rows, 1.6 at 32, 1.2 at 128, 1.06 at 512, 1.02 at 2048). Bytes, a group of which takes as
// long as one multiplication, gain as much with as many times the rows.
constexpr index kKeptRows = 512;

// Where a panel begins: block of k after block of k, and in each of them panel after panel.
inline index kept_panel(const GemmPlan& plan, index k0, index k, index panel) {
  return k0 * plan.column(plan.panels.count) + k * plan.column(panel);
}

template <class T>
void pack_panels(const GemmTypeKernels<T>& kernels, const GemmArgs& g, const GemmPlan& plan, T* to) {
  parallel_for(plan.panels.count, 1, [&](index begin, index end) {
    for (index panel = begin; panel < end; ++panel) {
      const index n0 = plan.column(panel), width = plan.column(panel + 1) - n0;
      for (index k0 = 0; k0 < g.k; k0 += plan.block_k) {
        const index k = std::min(plan.block_k, g.k - k0);
        const void* from = at(g.b, g.dtype, k0 * g.b_row + n0 * g.b_col);
        const index cols = std::min(width, g.n - n0);
        kernels.pack_b(g.dtype, from, g.b_row, g.b_col, k, cols, to + kept_panel(plan, k0, k, panel), width);
      }
    }
  });
}

template <class T>
index kept_bytes(const GemmArgs& g, const GemmPlan& plan) {
  return plan.column(plan.panels.count) * g.k * static_cast<index>(sizeof(T));
}
template <class T>
bool worth_keeping(const GemmArgs& g, const GemmPlan& plan, int group) {
  return plan.pack_b && (!plan.compact || g.b_col != 1) && g.m <= kKeptRows * group &&
         kept_bytes<T>(g, plan) >= kKeptBytes;
}

// What pack(to) makes of a weight, if it is worth keeping and is used again; else nothing.
template <class Pack>
BufferRef kept_pack(Buffer* home, const PackKey& key, index bytes, Pack pack) {
  if (home == nullptr || bytes < kKeptBytes) return {};
  FoundPack found = find_pack(*home, key);
  if (!found.wanted) return found.pack;
  BufferRef made(default_pool().take(static_cast<std::size_t>(bytes)));
  pack(made->data);
  keep_pack(*home, key, found.stamp, made);
  return made;
}

// The panels of B as `plan` wants them, or nothing: then the walk packs as it goes. The sums are the same, bit for bit.
template <class T>
BufferRef kept_panels(const GemmTypeKernels<T>& kernels, const GemmArgs& g, const GemmPlan& plan) {
  if (g.b_home == nullptr || !worth_keeping<T>(g, plan, kernels.group)) return {};
  // Blocks of k and panels follow from the shape, from the lanes of a level, and from the vectors in the first panel.
  const int layout = (static_cast<int>(g.dtype) * 8 + kernels.group) * 4096 + static_cast<int>(kernels.lanes) * 16 +
                     static_cast<int>(plan.panels.size(0));
  const PackKey key{PackKind::product, g.b, g.k, g.n, g.b_row, g.b_col, layout};
  return kept_pack(g.b_home, key, kept_bytes<T>(g, plan),
                   [&](void* to) { pack_panels(kernels, g, plan, static_cast<T*>(to)); });
}

// For other drivers: the same, and if there is nothing to keep, in workspace of this thread.
template <class T, class Pack>
const T* kept_or_made(Buffer* home, const PackKey& key, index size, int slot, BufferRef& kept, Pack pack) {
  kept = kept_pack(home, key, size * static_cast<index>(sizeof(T)), [&](void* to) { pack(static_cast<T*>(to)); });
  if (kept) return static_cast<const T*>(kept->data);
  T* made = scratch<T>(slot, size);
  pack(made);
  return made;
}

}  // namespace mlext::gemm_detail
