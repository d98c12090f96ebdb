// The walk: blocks of tiles of y, whose points lie in workspace; panels of outputs, the sums of which stay in L2; points.
#include "kernels/conv/winograd.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/conv/correlate.h"
#include "kernels/conv/finish.h"
#include "kernels/conv/panels.h"
#include "kernels/gemm/panel_product.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH(WinogradKernels, winograd_kernels)

namespace {

std::atomic<bool> allowed{true};

}  // namespace

bool winograd_allowed() { return allowed.load(std::memory_order_relaxed); }
void allow_winograd(bool value) { allowed.store(value, std::memory_order_relaxed); }

namespace conv_detail {

index winograd_tiles(const Correlation& c, index tile) {
  return ceil_div(c.rows.out, tile) * ceil_div(c.cols.out, tile);
}

namespace {

enum WinogradSlot { kSlotPoints = kSlotBand, kSlotSums = kSlotTile, kSlotZeros = kSlotJumps };

// Points of a block of tiles that stay in L2, and the most that lie in L3 along with their sums.
constexpr index kNearPoints = 1 << 20, kFarPoints = 12 << 20;
constexpr index kLeastNear = 48, kMostNear = 64, kMostFar = 256;
// Channels whose taps are transformed in one go: they stay in L1 and L2.
constexpr index kTapChannels = 32;

// Prices of an image, in multiplications, measured in networks. An element of a point, of F(2, 3) and of F(4, 3), costs as long
// as so many:
constexpr index kElementPrice[2] = {13, 22};
// A filter takes as long to arrive as so many tiles take to be multiplied by it: from L2, or, the larger it is, from memory.
constexpr double kNearWait = 2, kFarWait = 26, kFarFilter = 2 << 20, kDirectFarWait = 40, kDirectFarFilter = 1 << 20;
// Points are only worth while if they save that much.
constexpr double kWorthwhile = 0.9;

struct Price {
  double tiles, filter;
};
Price price(const Correlation& c, index tile) {
  const auto points = static_cast<double>((tile + 2) * (tile + 2)),
             tiles = static_cast<double>(winograd_tiles(c, tile));
  const auto filter = points * static_cast<double>(c.channels * c.product.n);
  const auto elements = points * static_cast<double>((c.channels + c.product.n) * kElementPrice[tile / 4]);
  return {tiles * (filter + elements), filter * (kNearWait + kFarWait * std::min(filter / kFarFilter, 1.0))};
}
Price direct_price(const Correlation& c) {
  const auto filter = static_cast<double>(9 * c.channels * c.product.n);
  return {filter * static_cast<double>(c.rows.out * c.cols.out),
          filter * (kNearWait + kDirectFarWait * std::min(filter / kDirectFarFilter, 1.0))};
}
double total(Price price) { return price.tiles + price.filter; }

struct Walk {
  const GemmTypeKernels<float>& kernels;
  const WinogradKernels& transforms;
  const Correlation& c;
  index tile, side = tile + 2, points = side * side;
  Split panels = Split::of(ceil_div(c.product.n, kernels.lanes), kernels.stream_vectors);
  index columns = ceil_div(c.cols.out, tile), per_image = winograd_tiles(c, tile);
  // Either a block of tiles whose points stay in L2, panel after panel; or a larger one, point after point.
  bool near = points * c.channels * 4 * kLeastNear <= kNearPoints;
  Split blocks =
      Split::of(c.images * per_image,
                near ? std::min(kNearPoints / (points * c.channels * 4), kMostNear)
                     : std::clamp(kFarPoints / (points * (c.channels + c.product.n) * 4), kLeastNear, kMostFar));
  Split groups = Split::of(panels.count, near ? 1 : ceil_div(panels.count, num_threads()));
  const float* filter = nullptr;  // for each panel and point: (channels, width)
  const float* bias = nullptr;

  index column(index panel) const { return panels.begin(panel) * kernels.lanes; }
  index filter_size() const { return points * (c.channels * column(panels.count) + panels.count * kernels.lanes); }
  // Points, of a panel as of pixels, lie so far apart that they do not meet in one set of L1.
  index filter_step(index panel) const { return c.channels * (column(panel + 1) - column(panel)) + kernels.lanes; }
  index filter_at(index panel, index point) const {
    return points * (c.channels * column(panel) + panel * kernels.lanes) + point * filter_step(panel);
  }

  void pack_panel(float* to, index panel) const {
    const GemmArgs& g = c.product;
    const index n0 = column(panel), width = column(panel + 1) - n0, cols = std::min(width, g.n - n0);
    to += filter_at(panel, 0);
    for (index c0 = 0; c0 < c.channels; c0 += kTapChannels) {
      const index some = std::min(kTapChannels, c.channels - c0);
      float* taps = scratch<float>(kSlotSums, 9 * some * width);
      for (index tap = 0; tap < 9; ++tap) {
        const index from = tap / 3 * c.rows.w_step + tap % 3 * c.cols.w_step + c0 * g.b_row + n0 * g.b_col;
        kernels.pack_b(g.dtype, gemm_detail::at(g.b, g.dtype, from), g.b_row, g.b_col, some, cols,
                       taps + tap * some * width, width);
      }
      transforms.filter[tile / 4]({taps, some * width, to + c0 * width, filter_step(panel)});
    }
  }

  void run() const {
    const auto each = [&](index begin, index end) {
      for (index block = begin; block < end; ++block) run_block(blocks.begin(block), blocks.size(block));
    };
    // With few blocks the threads share the parts of each.
    blocks.count >= 2 * num_threads() ? parallel_for(blocks.count, 1, each) : each(0, blocks.count);
  }

 private:
  index point_step(index count) const { return count * c.channels + 2 * kernels.lanes; }

  void run_block(index first, index count) const {
    float* block = scratch<float>(kSlotPoints, points * point_step(count));
    constexpr index kTilesTogether = 4;
    parallel_for(count, kTilesTogether, [&](index begin, index end) { set_points(first, begin, end, block, count); });
    parallel_for(groups.count, 1, [&](index begin, index end) {
      for (index group = begin; group < end; ++group)
        run_group(block, first, count, groups.begin(group), groups.begin(group + 1));
    });
  }

  void set_points(index first, index begin, index end, float* block, index count) const {
    const GemmArgs& g = c.product;
    const index bytes = c.channels * item_size(g.dtype);
    void* zeros = scratch<char>(kSlotZeros, bytes);
    std::memset(zeros, 0, static_cast<std::size_t>(bytes));
    for (index i = begin; i < end; ++i) {
      const index image = (first + i) / per_image, place = (first + i) % per_image;
      const void* x = gemm_detail::at(g.a, g.dtype, image * c.x_image);
      const index y0 = place / columns * tile - c.rows.before, x0 = place % columns * tile - c.cols.before;
      const void* pixels[36];
      const void** pixel = pixels;
      for (index row = y0; row < y0 + side; ++row) {
        const bool has_row = row >= 0 && row < c.rows.in;
        const void* from = has_row ? gemm_detail::at(x, g.dtype, row * c.rows.x_step) : zeros;
        for (index col = x0; col < x0 + side; ++col) {
          const bool inside = has_row && col >= 0 && col < c.cols.in;
          *pixel++ = inside ? gemm_detail::at(from, g.dtype, col * c.cols.x_step) : zeros;
        }
      }
      transforms.input[tile / 4][static_cast<int>(g.dtype)](
          {pixels, c.channels, block + i * c.channels, point_step(count)});
    }
  }

  // Panels p0 to p1.
  void run_group(const float* block, index first, index count, index p0, index p1) const {
    const index n0 = column(p0), width = column(p1) - n0, sum_step = count * width + kernels.lanes;
    float* sums = scratch<float>(kSlotSums, points * sum_step + tile * tile * width);
    const index share = ceil_div(count * c.channels, p1 - p0);  // of the next point, to bring near beside a panel
    for (index point = 0; point < points; ++point) {
      poll_interrupt();
      for (index panel = p0; panel < p1; ++panel) {
        const bool last = panel + 1 == p1;
        const index next = last ? filter_at(p0, point + 1) : filter_at(panel + 1, point);
        const float* from = block + point * point_step(count);
        gemm_detail::PanelProduct<float> product{{}, count, panels.size(panel), filter + next};
        product.coming = near ? nullptr : from + point_step(count) + (panel - p0) * share;
        product.share = share;
        TileArgs<float>& args = product.tile;
        args.cols = std::min(column(panel + 1), c.product.n) - column(panel);
        args.k = args.a_row = c.channels;
        args.a = from;
        args.b = filter + filter_at(panel, point);
        args.in = args.out = sums + point * sum_step + column(panel) - n0;
        args.in_row = args.out_row = width;
        gemm_detail::multiply_panel(kernels, product);
      }
    }
    float* spare = sums + points * sum_step;
    for (index i = 0; i < count; ++i) finish_one(first + i, sums + i * width, sum_step, spare, n0, width);
  }

  // One tile of y, from its sums; by way of `spare` if an epilogue follows.
  void finish_one(index number, const float* sums, index step, float* spare, index n0, index width) const {
    const GemmArgs& g = c.product;
    WinogradOutput args{};
    args.points = sums;
    args.step = step;
    const index image = number / per_image, place = number % per_image;
    const index row = place / columns * tile, col = place % columns * tile;
    const index to = image * c.y_image + row * c.rows.y_step + col * c.cols.y_step + n0;
    args.bias = bias != nullptr ? bias + n0 : nullptr;
    args.rows = std::min(tile, c.rows.out - row);
    args.cols = std::min(tile, c.cols.out - col);
    args.outputs = std::min(width, g.n - n0);
    args.top = gemm_detail::tile_top<float>(g);
    args.y_row = c.rows.y_step;
    args.y_col = c.cols.y_step;
    if (gemm_detail::is_direct(g)) {
      args.y = static_cast<float*>(g.c) + to;
      if (g.beta != 0) args.in = static_cast<const float*>(g.residual) + to;
    } else {
      args.y = spare;
      args.y_row = tile * width;
      args.y_col = width;
    }
    transforms.output[tile / 4](args);
    if (!gemm_detail::has_epilogue(g)) return;
    for (index i = 0; i < args.rows; ++i)
      finish_tile(kernels, c, args.y + i * args.y_row, args.y_col, args.cols, args.outputs, to + i * c.rows.y_step);
  }
};

}  // namespace

index winograd_tile(const Correlation& c) {
  const auto fits = [](const Axis& a) { return a.taps == 3 && a.stride == 1 && a.dilation == 1; };
  if (!c.winograd || c.groups != 1 || c.product.dtype == DType::float64 || !fits(c.rows) || !fits(c.cols)) return 0;
  const index tile = total(price(c, 2)) < total(price(c, 4)) ? 2 : 4;
  return total(price(c, tile)) < kWorthwhile * total(direct_price(c)) ? tile : 0;
}

double winograd_share(const Correlation& c, index tile) { return price(c, tile).tiles / direct_price(c).tiles; }

void winograd(const Correlation& c, index tile) {
  const GemmArgs& g = c.product;
  const GemmTypeKernels<float>& kernels = gemm_kernels(g.device).f32;
  Walk walk{kernels, winograd_kernels(g.device), c, tile};
  const int layout =
      ((static_cast<int>(g.dtype) * 64 + static_cast<int>(kernels.lanes)) * 8 + static_cast<int>(walk.panels.size(0))) *
          8 +
      static_cast<int>(tile);
  const PackKey key{PackKind::winograd, g.b, g.k, g.n, g.b_row, g.b_col, layout};
  BufferRef kept;
  walk.filter = gemm_detail::kept_or_made<float>(g.b_home, key, walk.filter_size(), kSlotPanels, kept, [&](float* to) {
    parallel_for(walk.panels.count, 1, [&](index begin, index end) {
      for (index panel = begin; panel < end; ++panel) walk.pack_panel(to, panel);
    });
  });
  walk.bias = bias_of(kernels, c);
  walk.run();
}

}  // namespace conv_detail
}  // namespace mlext
