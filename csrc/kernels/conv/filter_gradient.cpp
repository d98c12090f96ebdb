#include "kernels/conv/filter_gradient.h"

#include <algorithm>

#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/conv/band.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/gather.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)

namespace conv_detail {
namespace {

// Where dy is read, and where sums wait that are not those of dw: of another dtype, or on their side.
enum GradientSlot { kSlotSlopes = kSlotPanels, kSlotSums = kSlotTile };

// With fewer channels under a row of the filter than this, outputs fill the vectors of a tile rather than channels.
constexpr index kFewColumns = 32;

template <class T>
struct Gradient {
  const GemmTypeKernels<T>& kernels;
  const Correlation& c;
  const ConvPlan& plan;
  bool turned;  // rows of a tile are channels, its columns outputs
  T* sums;      // (outputs, k) of all groups; turned: (k, outputs) of each group

  index outputs() const { return c.product.n; }
  index tile_rows() const { return turned ? plan.run : outputs(); }
  index tile_cols() const { return turned ? outputs() : plan.run; }
  index sums_row() const { return turned ? outputs() : c.product.k; }
  Split panels() const { return Split::of(ceil_div(tile_cols(), kernels.lanes), kernels.stream_vectors); }
  // Pieces of the result that different threads may take: a panel of the columns under one run.
  index pieces() const { return plan.runs * panels().count; }

  // Pieces p0 to p1 of a group, over all bands.
  void run(index group, index p0, index p1) const {
    for (index image = 0; image < c.images; image += plan.images) {
      for (index row = 0; row < c.rows.out; row += plan.rows) {
        run_band(band_at(c, plan, group, image, row), p0, p1);
      }
    }
  }

 private:
  // dy under a band: in place, or as the compute type.
  View<T> slopes_of(const Band& band) const {
    const GemmArgs& g = c.product;
    const index from = band.group * c.y_group + band.image * c.y_image + band.row * c.rows.y_step;
    const void* begin = gemm_detail::at(g.c, g.dtype, from);
    if (!gemm_detail::is_converted(g.dtype)) return {static_cast<const T*>(begin), c.y_image, c.rows.y_step, g.c_row};
    const index row = c.cols.out * outputs(), image = band.rows * row;
    T* to = scratch<T>(kSlotSlopes, band.images * image + kernels.lanes);
    for (index i = 0; i < band.images; ++i) {
      for (index y = 0; y < band.rows; ++y) {
        const void* source = gemm_detail::at(begin, g.dtype, i * c.y_image + y * c.rows.y_step);
        kernels.pack_a(g.dtype, source, g.c_row, 1, c.cols.out, outputs(), to + i * image + y * row, outputs());
      }
    }
    return {to, image, row, outputs()};
  }

  // From the end of each row of pixels to the begin of the next, in rows `step` apart with pixels `pixel` apart.
  static void set_jumps(const Band& band, const View<T>& view, index step, index pixel, index pixels, index* jumps) {
    for (index i = 0; i + 1 < band.images * band.rows; ++i) {
      const bool wraps = (i + 1) % band.rows == 0;
      jumps[i] = (wraps ? view.image - (band.rows - 1) * step : step) - pixels * pixel;
    }
  }

  void run_band(const Band& band, index p0, index p1) const {
    const View<T> x = view_of(kernels, c, plan, band), slopes = slopes_of(band);
    const index count = band.images * band.rows, pixel = c.cols.stride * x.pixel;
    index* x_jumps = scratch<index>(kSlotJumps, 2 * count);
    index* slope_jumps = x_jumps + count;
    set_jumps(band, x, c.rows.stride * x.row, pixel, c.cols.out, x_jumps);
    set_jumps(band, slopes, slopes.row, slopes.pixel, c.cols.out, slope_jumps);
    TileArgs<T> tile;
    tile.k = c.cols.out;
    tile.runs = count;
    tile.a_row = 1;
    tile.a_col = turned ? pixel : slopes.pixel;
    tile.b_row = turned ? slopes.pixel : pixel;
    tile.b_col = 1;
    tile.a_jumps = turned ? x_jumps : slope_jumps;
    tile.b_jumps = turned ? slope_jumps : x_jumps;
    tile.bias = nullptr;
    tile.alpha = 1;
    tile.beta = band.image == 0 && band.row == 0 ? T(0) : T(1);
    tile.top = 0;
    const Split split = panels();
    for (index piece = p0; piece < p1; ++piece) {
      poll_interrupt();
      const index run = piece / split.count, panel = piece % split.count;
      const T* from = x.data + run_offset(c, plan, x, run);
      run_panel(tile, band.group, run, from, slopes.data, split.begin(panel) * kernels.lanes, split.size(panel));
    }
  }

  void run_panel(TileArgs<T>& tile, index group, index run, const T* x, const T* slopes, index n0,
                 index vectors) const {
    tile.cols = std::min(vectors * kernels.lanes, tile_cols() - n0);
    tile.b = (turned ? slopes : x) + n0;
    tile.in_row = tile.out_row = sums_row();
    const Split blocks = Split::of(tile_rows(), kernels.max_rows[vectors - 1]);
    T* out = sums + group * outputs() * c.product.k + run * plan.run * (turned ? outputs() : 1) + n0;
    for (index i = 0; i < blocks.count; ++i) {
      const index row = blocks.begin(i);
      tile.rows = blocks.size(i);
      tile.a = (turned ? x : slopes) + row;
      tile.out = out + row * tile.out_row;
      tile.in = tile.out;
      kernels.tile[vectors - 1][tile.rows - 1](tile);
    }
  }
};

// Sums to dw: another dtype, or from their side.
template <class T>
void store_sums(const Gradient<T>& gradient, void* dw) {
  const Correlation& c = gradient.c;
  const index outputs = c.product.n, k = c.product.k;
  FinishArgs<T> f{};
  f.out_dtype = c.product.dtype;
  f.activation = Activation::none;
  f.rows = gradient.turned ? k : outputs;
  f.cols = f.tile_row = gradient.sums_row();
  f.c_row = gradient.turned ? 1 : k;
  f.c_col = gradient.turned ? k : 1;
  for (index group = 0; group < c.groups; ++group) {
    f.tile = gradient.sums + group * outputs * k;
    f.c = gemm_detail::at(dw, c.product.dtype, group * outputs * k);
    f.in = f.c;
    gradient.kernels.finish(f);
  }
}

template <class T>
void run(const GemmTypeKernels<T>& kernels, const Correlation& c, void* dw) {
  const ConvPlan plan = make_plan(kernels, c);
  const bool turned = plan.run < kFewColumns && c.product.n > plan.run;
  const bool direct = !turned && !gemm_detail::is_converted(c.product.dtype);
  T* sums = direct ? static_cast<T*>(dw) : scratch<T>(kSlotSums, c.groups * c.product.n * c.product.k);
  const Gradient<T> gradient{kernels, c, plan, turned, sums};
  // Every piece is summed in the same order whoever does it, and each thread copies bands for itself: few long tasks.
  const index pieces = gradient.pieces(), parts = std::min<index>(pieces, num_threads());
  parallel_for(c.groups * parts, 1, [&](index begin, index end) {
    for (index task = begin; task < end; ++task) {
      const index group = task / parts, part = task % parts;
      gradient.run(group, pieces * part / parts, pieces * (part + 1) / parts);
    }
  });
  if (!direct) store_sums(gradient, dw);
}

// Under rows of few pixels tiles would jump too often: products over pixels that were gathered, of all taps of a row of the filter.
// A pixel is gathered for each tap and multiplied by each output: with many of those it pays for longer rows too (16 x 7 x 7 x 832
// to 128, 5 x 5: 0.5 of the time; 8 x 28 x 28 x 256 to 512: 0.8, 128 to 128 1.1; one tap of stride 2: 0.3 to 0.6).
constexpr index kFewPixels = 8, kMorePixels = 32, kManyOutputs = 256, kFewOutputs = 32;
constexpr index kGatheredBytes = 2 << 20, kLeastGathered = 256;
bool is_gathered(const Correlation& c) {
  const bool pays = c.cols.out <= kFewPixels || c.product.n >= kManyOutputs || c.rows.taps * c.cols.taps == 1;
  return c.groups == 1 && !gemm_detail::is_converted(c.product.dtype) && pays && c.cols.out <= kMorePixels &&
         c.cols.taps * c.channels >= kFewColumns && c.product.n >= kFewOutputs;
}

// The sum over `count` places from `first` on of g at each, on its side, times a row of `pixels`; n and C are for the caller.
GemmArgs slopes_times(const Correlation& c, index first, index count, const void* pixels, index row) {
  GemmArgs g = c.product;
  g.m = c.product.n;
  g.k = count;
  g.a = gemm_detail::at(c.product.c, g.dtype, first * c.product.c_row);
  g.a_row = 1;
  g.a_col = c.product.c_row;
  g.b = pixels;
  g.b_row = row;
  g.b_col = 1;
  g.c_row = c.product.k;
  return g;
}

void run_gathered(const Correlation& c, void* dw) {
  const GemmArgs& g = c.product;
  const index size = item_size(g.dtype), columns = c.cols.taps * c.channels,
              places = c.images * c.rows.out * c.cols.out;
  const Split blocks = Split::of(places, std::max(kGatheredBytes / (columns * size), kLeastGathered));
  char* pixels = scratch<char>(kSlotBand, blocks.size(0) * columns * size);
  for (index block = 0; block < blocks.count; ++block) {
    const index first = blocks.begin(block), count = blocks.size(block);
    for (index r = 0; r < c.rows.taps; ++r) {
      parallel_for(count, ceil_div(kLeastGathered, 8), [&](index begin, index end) {
        gather(c, r, first + begin, first + end, pixels + begin * columns * size);
      });
      GemmArgs product = slopes_times(c, first, count, pixels, columns);
      product.n = columns;
      product.c = moved(dw, r * columns * size);
      product.beta = block > 0;
      gemm(product);
    }
  }
}

}  // namespace

void filter_gradient(const Correlation& c, void* dw) {
  const GemmArgs& g = c.product;
  if (g.n == 0 || g.k == 0 || c.groups == 0) return;
  if (c.images == 0 || c.rows.out == 0 || c.cols.out == 0) {
    std::fill_n(static_cast<char*>(dw), c.groups * g.n * g.k * item_size(g.dtype), char{0});
    return;
  }
  if (is_product(c)) {
    GemmArgs product = slopes_times(c, 0, c.images * c.rows.out * c.cols.out, g.a, c.cols.x_step);
    product.n = g.k;
    product.c = dw;
    return gemm(product);
  }
  if (is_depthwise(c)) return depthwise_gradient(c, dw);
  if (is_gathered(c)) return run_gathered(c, dw);
  const GemmKernels& kernels = gemm_kernels(g.device);
  g.dtype == DType::float64 ? run(kernels.f64, c, dw) : run(kernels.f32, c, dw);
}

}  // namespace conv_detail
}  // namespace mlext
