#include "kernels/conv/explain.h"

#include <algorithm>

#include "core/array.h"
#include "core/isa.h"
#include "core/parallel.h"
#include "kernels/conv/correlate.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/plan.h"
#include "kernels/conv/winograd.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)

namespace conv_detail {
namespace {

template <class T>
void explain_tiles(const GemmTypeKernels<T>& kernels, const Correlation& c, ConvExplanation& e) {
  ConvPlan plan = make_plan(kernels, c);
  spread_over_threads(plan, c);
  const index vectors = plan.panels.size(0);
  e.tile_rows = Split::of(c.cols.out, kernels.max_rows[vectors - 1]).size(0);
  e.tile_cols = std::min(vectors * plan.lanes, c.product.n);
  e.images = plan.images;
  e.rows = plan.rows;
  e.run = plan.run;
  e.runs = plan.runs;
  e.block = plan.block;
  e.copies = plan.copies;
  e.tasks = c.groups * plan.bands(c) * plan.panel_tasks();
  e.waste = static_cast<double>(plan.columns()) / static_cast<double>(c.product.n);
  e.reasons.push_back(plan.joins ? text("neighbouring taps are neighbours in memory: ", plan.runs, " runs of ",
                                        plan.run, " steps of k, one for each row of the filter")
                                 : text("each tap is a run of ", plan.run, " channels: other pixels lie between taps"));
  if (plan.copies) {
    e.reasons.push_back(text("a band of ", plan.images > 1 ? text(plan.images, " images") : text(plan.rows, " rows"),
                             " is copied with zeros around it, and stays in L2 while all panels of the weight pass"));
  } else {
    e.reasons.push_back("no padding: tiles read x where it is");
  }
  if (plan.block < plan.runs)
    e.reasons.push_back(text("sums in goes of ", plan.block, " runs: two panels of them fit into L2 beside a band"));
  if (e.waste > 1.2)
    e.reasons.push_back(text(c.product.n, " outputs of a group leave lanes of vectors of ", plan.lanes, " idle"));
}

}  // namespace

void explain(const Correlation& c, ConvExplanation& e) {
  if (is_product(c)) {
    e.kernel = "product";
    e.reasons.push_back(text("a filter of one pixel over all of x: the product ", c.images * c.rows.out * c.cols.out,
                             " x ", c.product.k, " by ", c.product.k, " x ", c.product.n, "; explain_gemm says more"));
  } else if (is_sparse_product(c)) {
    e.kernel = "product";
    e.copies = true;
    e.reasons.push_back(
        "a filter of one pixel that meets few of a row: a product of those pixels, copied side by side");
  } else if (is_depthwise(c)) {
    e.kernel = "depthwise";
    const bool held = c.rows.taps == c.cols.taps && (c.cols.taps == 3 || c.cols.taps == 5);
    e.reasons.push_back("a group for each output: vectors hold neighbouring channels");
    e.reasons.push_back(held ? "the filter stays in registers" : "the filter is read from L1, once for four pixels");
  } else if (const index tile = winograd_tile(c); tile != 0) {
    const index points = (tile + 2) * (tile + 2), count = points * winograd_tiles(c, tile);
    e.kernel = "winograd";
    e.waste = winograd_share(c, tile);
    e.reasons.push_back(text("F(", tile, ", 3): ", points, " products of matrices make tiles of ", tile, " x ", tile,
                             " pixels, with ", 100 * count / (9 * c.rows.out * c.cols.out),
                             " per cent of the multiplications"));
    e.reasons.push_back("each pixel is transformed before, and each sum after: more, the fewer channels there are");
    e.reasons.push_back("mlext.config.winograd = False computes sums of products, of half the error");
  } else {
    e.kernel = "tiles";
    const GemmKernels& kernels = gemm_kernels(c.product.device);
    c.product.dtype == DType::float64 ? explain_tiles(kernels.f64, c, e) : explain_tiles(kernels.f32, c, e);
  }
  const bool shared = flops(c) >= gemm_detail::kParallelFlops;
  e.threads = shared ? num_threads() : 1;
}

}  // namespace conv_detail
}  // namespace mlext
