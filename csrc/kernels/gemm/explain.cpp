// Says how a product would be computed, from the rules that compute it (plan.h), and why they are what they are.
#include "kernels/gemm/explain.h"

#include <algorithm>

#include "core/dtype.h"
#include "core/error.h"
#include "core/isa.h"
#include "core/parallel.h"
#include "kernels/gemm/kept.h"
#include "kernels/gemm/plan.h"
#include "kernels/gemm/qgemm.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH_OF(bgemm, BgemmKernels, bgemm_kernels)
MLEXT_DISPATCH_OF(qgemm, QgemmKernels, qgemm_kernels)

namespace {

using namespace gemm_detail;

bool is_byte(DType dtype) { return item_size(dtype) == 1; }

double idle_lanes(index n, index lanes) {
  return static_cast<double>(ceil_div(n, lanes) * lanes) / static_cast<double>(n);
}

constexpr const char* kKeepsB =
    "keeps b: with few rows, packing takes half the time; a Tensor that is used again keeps its panels";

void explain_compact(const GemmArgs& g, const Split& panels, index lanes, index block_m, GemmExplanation& e) {
  const Split blocks = Split::of(g.m, block_m);
  e.kernel = "compact";
  e.tile_rows = blocks.size(0);
  e.tile_cols = std::min(g.n, panels.size(0) * lanes);
  e.block_k = g.k;
  e.waste = idle_lanes(g.n, lanes);
  e.packs_b = g.b_col != 1 || compact_packs(g, blocks.count);
  e.reasons.push_back(text("compact: at most ", static_cast<index>(kSmallProduct), " multiplications, or at most ",
                           kCompactBytes, " bytes in a, b and c, with up to ", kFewSteps, " steps of k in ",
                           kFewStepsRows, " rows of them: L2 holds them, nothing is copied ahead"));
  if (e.keeps_b) {
    e.reasons.push_back(kKeepsB);
  } else if (g.b_col != 1) {
    e.reasons.push_back("packs b: its rows are not contiguous");
  } else if (e.packs_b) {
    e.reasons.push_back("packs b: the first tile of a panel leaves it packed for the others, at no cost");
  }
}

void explain_tiles(const GemmArgs& g, const GemmPlan& plan, GemmExplanation& e) {
  e.tile_rows = Split::of(g.m, plan.block_m).size(0);
  e.reasons.push_back(text("tile: ", plan.block_m, " x ", plan.panel_width(),
                           " sums fill the registers; blocks of rows and panels of columns differ by one at most"));
  e.packs_a = plan.pack_a;
  if (plan.pack_a) {
    e.reasons.push_back(e.by_pairs ? "packs a: its rows become pairs of steps of k, which are multiplied at once"
                        : is_half(g.dtype) ? "packs a: its elements are widened to float32"
                        : is_byte(g.dtype) ? "packs a: its bytes become unsigned, in groups that are multiplied at once"
                        : g.a_col != 1     ? "packs a: a step of k is not contiguous and would cost a cache line"
                                       : "packs a: its rows lie so far apart that few sets of the L1 cache hold them");
  }
  e.packs_b = plan.pack_b;
  if (!plan.pack_b) {
    e.reasons.push_back(text("b in place: it is at most ", kInPlaceBytes, " bytes, or few rows read it",
                             plan.block_k < g.k ? "; as many rows of b side by side as a block has steps of k" : ""));
  } else if (e.keeps_b) {
    e.reasons.push_back(kKeepsB);
  } else {
    e.reasons.push_back("packs b: panels stream from L2 in the order the tiles want them");
  }
  if (!plan.direct)
    e.reasons.push_back("epilogue: sums wait in L2 until they are complete, to be converted or scattered");
}

template <class T>
void explain_at_once(const GemmTypeKernels<T>& kernels, const GemmArgs& g, GemmExplanation& e) {
  const Split panels = compact_panels(kernels, g);
  explain_compact(g, panels, kernels.lanes, kernels.max_rows[panels.size(0) - 1], e);
}

template <class T>
void explain_planned(const GemmTypeKernels<T>& kernels, const GemmArgs& g, GemmExplanation& e) {
  const index batches = batch_count(g);
  const GemmPlan plan = make_plan(kernels, g, batches);
  e.block_k = plan.block_k;
  e.chunk_rows = std::min(g.m, plan.chunk * plan.block_m);
  e.tasks = batches * plan.row_tasks(g) * plan.panel_tasks();
  e.tile_cols = std::min(g.n, plan.panel_width());
  e.waste = idle_lanes(plan.kernel == GemmPlan::kDot ? g.k : g.n, kernels.lanes);
  e.keeps_b = worth_keeping<T>(g, plan, kernels.group);
  if (plan.compact) return explain_compact(g, plan.panels, kernels.lanes, plan.block_m, e);
  switch (plan.kernel) {
    case GemmPlan::kTile:
      e.kernel = "tile";
      return explain_tiles(g, plan, e);
    case GemmPlan::kGemv:
      e.kernel = "gemv";
      e.tile_rows = 1;
      e.reasons.push_back("gemv: one row; eight rows of b stream by at a time and the sums stay in L1");
      return;
    case GemmPlan::kDot:
      e.kernel = "dot";
      e.tile_rows = std::min(g.m, plan.block_m);
      e.packs_a = plan.pack_a;
      if (is_half(g.dtype))
        e.reasons.push_back("packs a: its elements are widened to float32, those of b as they are read");
      e.reasons.push_back(text("dot: both factors are contiguous along k and there are at most ", kDotRows,
                               " rows, or 8 columns: b streams by in long runs, as it lies"));
  }
}

void explain_bytes(const GemmTypeKernels<std::int32_t>& kernels, const GemmArgs& args, GemmExplanation& e) {
  GemmArgs g = args;
  g.k = whole_groups(g.k);
  explain_planned(kernels, in_groups(g, kernels.group), e);
  e.block_k = std::min(e.block_k * kernels.group, args.k);
  if (g.k == args.k || !e.keeps_b) return;
  e.keeps_b = false;
  e.reasons.back() = "packs b: with k no whole number of groups it is a copy with zeros, made for this product";
}

}  // namespace

GemmExplanation explain_gemm(const GemmArgs& args) {
  GemmExplanation e;
  const GemmKernels& kernels = gemm_kernels(args.device);
  const GemmTypeKernels<std::int32_t>& bytes = qgemm_kernels(args.device).tiles;
  const bool is_double = args.dtype == DType::float64;
  if (is_byte(args.dtype)) {
    explain_bytes(bytes, args, e);
  } else if (runs_at_once(args)) {
    is_double ? explain_at_once(kernels.f64, args, e) : explain_at_once(kernels.f32, args, e);
  } else {
    e.transposed = prefers_transposed(args);
    if (e.transposed) e.reasons.push_back("transposed: c^T = b^T a^T, whose rows are the longer ones");
    const GemmArgs g = canonical(args);
    const BgemmKernels& pairs = bgemm_kernels(args.device);
    e.by_pairs = takes_pairs(pairs, g);
    if (e.by_pairs) {
      explain_planned(pairs, in_groups(g, pairs.group), e);
      e.block_k *= pairs.group;
    } else {
      is_double ? explain_planned(kernels.f64, g, e) : explain_planned(kernels.f32, g, e);
    }
  }
  e.threads = std::min<index>(num_threads(), e.tasks);
  return e;
}

}  // namespace mlext
