// The walk over a correlation: tasks, bands of x, blocks of k, panels of the weight, rows of y, tiles.
#include "kernels/conv/correlate.h"

#include <algorithm>

#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/conv/band.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/finish.h"
#include "kernels/conv/gather.h"
#include "kernels/conv/panels.h"
#include "kernels/conv/winograd.h"
#include "kernels/gemm/ahead.h"
#include "kernels/gemm/qgemm.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH_OF(qgemm, QgemmKernels, qgemm_kernels)

namespace conv_detail {
namespace {

template <class T>
struct Walk {
  const GemmTypeKernels<T>& kernels;
  const Correlation& c;
  const ConvPlan& plan;
  const T* panels;
  const T* bias;  // or null

  // Of the runs of a block: where they begin, from the first tap on, and the jumps between them.
  struct Block {
    index run, runs, offset;
    const index* jumps;
  };

  void run_task(index task) const {
    const index panel_tasks = plan.panel_tasks(), row_bands = plan.row_bands(c), bands = plan.bands(c);
    const index p0 = task % panel_tasks * plan.group, place = task / panel_tasks;
    const index number = place % bands, image = number / row_bands * plan.images, row = number % row_bands * plan.rows;
    run_band(band_at(c, plan, place / bands, image, row), p0, std::min(p0 + plan.group, plan.panels.count));
  }

 private:
  void run_band(const Band& band, index p0, index p1) const {
    const View<T> view = view_of(kernels, c, plan, band);
    index* jumps = scratch<index>(kSlotJumps, std::max<index>(plan.runs, 1));
    for (index i = 0; i + 1 < plan.runs; ++i)
      jumps[i] = run_offset(c, plan, view, i + 1) - run_offset(c, plan, view, i) - plan.run;
    index run = 0;
    do {  // at least once: there may be no taps
      const Block block{run, std::min(plan.block, plan.runs - run), run_offset(c, plan, view, run), jumps + run};
      for (index panel = p0; panel < p1; ++panel) {
        poll_interrupt();
        run_panel(band, view, block, panel);
      }
      run += plan.block;
    } while (run < plan.runs);
  }

  void run_panel(const Band& band, const View<T>& view, const Block& block, index panel) const {
    const GemmArgs& g = c.product;
    const index n0 = plan.column(panel), width = plan.column(panel + 1) - n0, vectors = plan.panels.size(panel);
    TileArgs<T> tile;
    tile.cols = std::min(width, g.n - n0);
    tile.k = block.runs > 0 ? plan.run : 0;
    tile.runs = std::max<index>(block.runs, 1);
    tile.a_jumps = block.jumps;
    tile.a_row = c.cols.stride * view.pixel;
    tile.a_col = 1;
    const index begin = Panels<T>{kernels, c, plan}.offset(band.group, block.run, block.runs, panel);
    tile.b = panels + begin;
    tile.b_row = width;
    tile.b_col = 1;
    tile.alpha = 1;
    tile.bias = block.run == 0 && bias != nullptr ? bias + band.group * g.n + n0 : nullptr;
    tile.in_row = tile.out_row = plan.direct ? g.c_row : width;
    tile.beta = plan.direct ? (block.run == 0 ? static_cast<T>(g.beta) : T(1)) : T(0);
    const bool last = block.run + block.runs >= plan.runs, finishes = last && gemm_detail::has_epilogue(g);
    tile.top = last ? gemm_detail::tile_top<T>(g) : 0;
    // What comes next: as a rule, the panel behind this one.
    const T* next = tile.b + block.runs * plan.run * width;
    const index bytes = width * static_cast<index>(sizeof(T));
    const Split blocks = Split::of(c.cols.out, kernels.max_rows[vectors - 1]);
    const index calls = band.images * band.rows * blocks.count, slice = ceil_div(block.runs * plan.run, calls);
    for (index i = 0; i < band.images; ++i) {
      for (index y = 0; y < band.rows; ++y) {
        const T* a = view.data + block.offset + i * view.image + y * c.rows.stride * view.row;
        for (index part = 0; part < blocks.count; ++part, next += slice * width) {
          const index x = blocks.begin(part);
          tile.rows = blocks.size(part);
          tile.a = a + x * tile.a_row;
          const index to =
              (band.image + i) * c.y_image + (band.row + y) * c.rows.y_step + x * g.c_row + band.group * c.y_group + n0;
          set_out(tile, to, block.run == 0);
          gemm_detail::AheadList list;
          list.add(tile.out, tile.out_row * static_cast<index>(sizeof(T)), tile.rows);
          list.add(next, bytes, slice);
          tile.ahead = list.end(tile.a);
          const index missing = kernels.max_rows[vectors - 1] - tile.rows;
          const bool streams = plan.streams && missing < kTallHeights;
          (streams ? kernels.stream_tile[vectors - 1][missing] : kernels.row_tile[vectors - 1][tile.rows - 1])(tile);
          if (finishes)
            finish_tile(kernels, c, tile.out, tile.out_row, tile.rows, tile.cols, to, band.group * g.n + n0);
        }
      }
    }
  }

  void set_out(TileArgs<T>& tile, index to, bool first) const {
    const GemmArgs& g = c.product;
    if (!plan.direct) {
      tile.out = scratch<T>(kSlotTile, kMaxTileRows * kMaxTileVectors * kernels.lanes);
      tile.in = tile.out;
      return;
    }
    tile.out = static_cast<T*>(g.c) + to;
    tile.in = first && g.residual != nullptr ? static_cast<const T*>(g.residual) + to : tile.out;
  }
};

void multiply(const GemmArgs& g) { gemm_detail::is_of_bytes(g) ? byte_gemm(g) : gemm(g); }

// The pixels of x that a filter of one pixel meets, side by side.
void run_sparse_product(const Correlation& c) {
  GemmArgs g = c.product;
  g.m = c.images * c.rows.out * c.cols.out;
  char* pixels = scratch<char>(kSlotBand, g.m * c.channels * item_size(g.dtype));
  gather(c, 0, 0, g.m, pixels);
  g.a = pixels;
  g.a_row = c.channels;
  multiply(g);
}

// Places of a filter where it meets a pixel of x, by some tap; the others lie in padding alone.
PixelRange inside(const Axis& a) {
  const index begin = under_tap(a, a.taps - 1).begin;
  return {begin, std::max(begin, under_tap(a, 0).end)};
}

// Some of the rows and columns of y.
Correlation part_of(const Correlation& c, PixelRange rows, PixelRange cols) {
  Correlation part = c;
  part.rows.out = rows.end - rows.begin;
  part.rows.before -= rows.begin * c.rows.stride;
  part.cols.out = cols.end - cols.begin;
  part.cols.before -= cols.begin * c.cols.stride;
  const index to = (rows.begin * c.rows.y_step + cols.begin * c.cols.y_step) * item_size(c.product.out_dtype);
  part.product.c = moved(c.product.c, to);
  part.product.pre = moved(c.product.pre, to);
  part.product.residual = moved(c.product.residual, to);
  return part;
}

// Of the places in padding alone, above, below and beside the others.
void run_padding(const Correlation& c, PixelRange rows, PixelRange cols) {
  const Correlation none = without_taps(c);
  correlate(part_of(none, {0, rows.begin}, {0, c.cols.out}));
  correlate(part_of(none, {rows.end, c.rows.out}, {0, c.cols.out}));
  correlate(part_of(none, rows, {0, cols.begin}));
  correlate(part_of(none, rows, {cols.end, c.cols.out}));
}

template <class T>
void run(const GemmTypeKernels<T>& kernels, const Correlation& c) {
  ConvPlan plan = make_plan(kernels, c);
  spread_over_threads(plan, c);
  BufferRef kept;
  const T* panels = panels_of(Panels<T>{kernels, c, plan}, kept);
  const Walk<T> walk{kernels, c, plan, panels, bias_of(kernels, c)};
  const index tasks = c.groups * plan.bands(c) * plan.panel_tasks();
  parallel_for(tasks, gemm_detail::parallel_grain(tasks, flops(c)), [&](index begin, index end) {
    for (index task = begin; task < end; ++task) walk.run_task(task);
  });
}

// Pixels and filters hold bytes in whole groups, which from here on are the elements.
void run_bytes(const Correlation& c) {
  const GemmTypeKernels<std::int32_t>& tiles = qgemm_kernels(c.product.device).tiles;
  Correlation groups = c;
  groups.product = gemm_detail::in_groups(c.product, tiles.group);
  groups.channels /= tiles.group;
  groups.outside *= tiles.group == 4 ? 0x01010101 : 0x00010001;
  run(tiles, groups);
}

}  // namespace

void correlate(const Correlation& c) {
  if (c.images == 0 || c.rows.out == 0 || c.cols.out == 0 || c.product.n == 0 || c.groups == 0) return;
  const PixelRange rows = inside(c.rows), cols = inside(c.cols);
  const bool of_bytes = gemm_detail::is_of_bytes(c.product);
  if (!of_bytes && (rows.end - rows.begin) * (cols.end - cols.begin) < c.rows.out * c.cols.out) {
    run_padding(c, rows, cols);
    return correlate(part_of(c, rows, cols));
  }
  if (is_product(c)) {
    GemmArgs g = c.product;
    g.m = c.images * c.rows.out * c.cols.out;
    g.a_row = c.cols.x_step;
    return multiply(g);
  }
  if (is_sparse_product(c)) return run_sparse_product(c);
  if (of_bytes) return run_bytes(c);
  if (is_depthwise(c)) return depthwise(c);
  if (const index tile = winograd_tile(c); tile != 0) return winograd(c, tile);
  const GemmKernels& kernels = gemm_kernels(c.product.device);
  c.product.dtype == DType::float64 ? run(kernels.f64, c) : run(kernels.f32, c);
}

}  // namespace conv_detail
}  // namespace mlext
