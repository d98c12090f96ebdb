#include "kernels/conv/depthwise.h"

#include <algorithm>

#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/conv/correlate.h"
#include "kernels/conv/finish.h"
#include "kernels/conv/panels.h"

namespace mlext {

MLEXT_DISPATCH(DepthwiseKernels, depthwise_kernels)
MLEXT_DISPATCH(GemmKernels, gemm_kernels)

namespace conv_detail {
namespace {

enum DepthwiseSlot { kSlotRow = kSlotTile, kSlotPartial = kSlotJumps, kSlotRanges = kSlotBand };

// Parts of y, a gradient of each of which is summed by itself before they meet: enough to share, and few to add up.
constexpr index kMostParts = 16;
constexpr double kPartFlops = 1 << 20;

// What lies under a row of pixels of a task stays in L1, so that the next row finds most of it there: some vectors of
// channels, neighbours in memory, of as many pixels.
constexpr index kNearBytes = 20 << 10, kNearVectors = 4, kLeastPixels = 8;
// Rows of a task: fewer where images are small, so that each thread gets rows, as it does of the products before and after.
constexpr index kRowsTogether = 16, kLeastRows = 4;
// Flops of a product that take as long as one of these.
constexpr double kFlopPrice = 4;

// Where taps of a row are inside of the image; in workspace of this thread.
PixelRange set_ranges(const Axis& a, PixelRange* to) {
  PixelRange whole{0, a.out};
  for (index s = 0; s < a.taps; ++s) {
    to[s] = under_tap(a, s);
    whole = {std::max(whole.begin, to[s].begin), std::min(whole.end, to[s].end)};
  }
  whole.end = std::max(whole.begin, whole.end);
  return whole;
}

// A row p of an image, and under which of its taps there are rows of x.
DepthwiseArgs row_args(const Correlation& c, const PixelRange* inside, PixelRange whole, index image, index p) {
  const Axis& rows = c.rows;
  const index y = p * rows.stride - rows.before;
  DepthwiseArgs args{};
  const index from = image * c.x_image + y * rows.x_step - c.cols.before * c.cols.x_step;
  args.x = gemm_detail::at(c.product.a, c.product.dtype, from);
  args.channels = args.w_step = c.groups;
  args.x_row = rows.dilation * rows.x_step;
  args.end = rows.taps;
  while (args.begin < args.end && y + args.begin * rows.dilation < 0) ++args.begin;
  while (args.end > args.begin && y + (args.end - 1) * rows.dilation >= rows.in) --args.end;
  args.taps = c.cols.taps;
  args.tap_step = c.cols.dilation * c.cols.x_step;
  args.step = c.cols.stride * c.cols.x_step;
  args.y_step = c.cols.y_step;
  args.pixels = {0, c.cols.out};
  args.inside = inside;
  args.whole = whole;
  return args;
}

// From tap to tap of a packed filter: whole vectors.
template <class T>
index filter_step(const GemmTypeKernels<T>& kernels, const Correlation& c) {
  return ceil_div(c.groups, kernels.lanes) * kernels.lanes;
}

// (rows of taps, taps, channels) of T.
template <class T>
const T* filter_of(const GemmTypeKernels<T>& kernels, const Correlation& c, BufferRef& kept) {
  const GemmArgs& g = c.product;
  const index taps = c.rows.taps * c.cols.taps, step = filter_step(kernels, c);
  const auto pack = [&](T* to) {
    for (index r = 0; r < c.rows.taps; ++r) {
      const void* from = gemm_detail::at(g.b, g.dtype, r * c.rows.w_step);
      kernels.pack_a(g.dtype, from, c.cols.w_step, c.w_group, c.cols.taps, c.groups, to + r * c.cols.taps * step, step);
    }
  };
  const PackKey key{PackKind::depthwise, g.b, taps, step, c.cols.w_step, c.rows.w_step, static_cast<int>(g.dtype)};
  return gemm_detail::kept_or_made<T>(g.b_home, key, taps * step, kSlotPanels, kept, pack);
}

template <class T>
struct Rows {
  const GemmTypeKernels<T>& kernels;
  void (*row)(const DepthwiseArgs&);
  const Correlation& c;
  const T *w, *bias;
  const PixelRange* inside;
  PixelRange whole;
  bool direct;

  // Of row p of an image: some pixels, and `channels` from c0 on.
  void run(index image, index p, PixelRange pixels, index c0, index channels) const {
    const GemmArgs& g = c.product;
    const index to = image * c.y_image + p * c.rows.y_step + c0;
    DepthwiseArgs args = row_args(c, inside, whole, image, p);
    args.x = gemm_detail::at(args.x, g.dtype, c0);
    args.pixels = pixels;
    args.channels = channels;
    args.w_step = filter_step(kernels, c);
    args.w = w + c0;
    args.bias = bias != nullptr ? bias + c0 : nullptr;
    args.ahead = c.rows.stride * c.rows.x_step;
    args.ahead_y = c.rows.y_step;
    args.top = gemm_detail::tile_top<T>(g);
    if (direct) {
      args.y = static_cast<T*>(g.c) + to;
      if (g.beta != 0) args.in = static_cast<const T*>(g.residual) + to;
    } else {
      const index count = pixels.end - pixels.begin;
      args.y = scratch<T>(kSlotRow, count * channels) - pixels.begin * channels;
      args.y_step = channels;
    }
    row(args);
    if (!gemm_detail::has_epilogue(g)) return;
    finish_tile(kernels, c, static_cast<const T*>(args.y) + pixels.begin * args.y_step, args.y_step,
                pixels.end - pixels.begin, channels, to + pixels.begin * c.cols.y_step);
  }
};

template <class T>
void run_rows(const GemmTypeKernels<T>& kernels, const Correlation& c) {
  const GemmArgs& g = c.product;
  BufferRef kept;
  const T* filter = filter_of(kernels, c, kept);
  PixelRange* inside = scratch<PixelRange>(kSlotRanges, c.cols.taps);
  const auto row = depthwise_kernels(g.device).row[static_cast<int>(g.dtype)];
  const Rows<T> rows{
      kernels, row, c, filter, bias_of(kernels, c), inside, set_ranges(c.cols, inside), gemm_detail::is_direct(g)};
  const Split blocks = Split::of(ceil_div(c.groups, kernels.lanes), kNearVectors);
  const index pixel = blocks.size(0) * kernels.lanes * static_cast<index>(sizeof(T)) * c.rows.taps * c.cols.stride;
  const Split parts = Split::of(c.cols.out, std::max<index>(kNearBytes / pixel, kLeastPixels));
  const Split strips =
      Split::of(c.rows.out, std::clamp(ceil_div(c.rows.out, num_threads()), kLeastRows, kRowsTogether));
  const index count = c.images * strips.count * parts.count * blocks.count;
  parallel_for(count, gemm_detail::parallel_grain(count, kFlopPrice * flops(c)), [&](index begin, index end) {
    for (index task = begin; task < end; ++task) {
      const index block = task % blocks.count, part = task / blocks.count % parts.count;
      const index place = task / (blocks.count * parts.count), strip = place % strips.count;
      const index first = blocks.begin(block) * kernels.lanes;
      const index channels = std::min(blocks.size(block) * kernels.lanes, c.groups - first);
      const PixelRange pixels{parts.begin(part), parts.begin(part) + parts.size(part)};
      poll_interrupt();
      for (index p = strips.begin(strip); p < strips.begin(strip) + strips.size(strip); ++p)
        rows.run(place / strips.count, p, pixels, first, channels);
    }
  });
}

template <class T>
void run_gradient(const GemmTypeKernels<T>& kernels, const Correlation& c, void* dw) {
  const GemmArgs& g = c.product;
  const auto kernel = depthwise_kernels(g.device).gradient[static_cast<int>(g.dtype)];
  const index rows = c.images * c.rows.out, taps = c.rows.taps * c.cols.taps, size = taps * c.groups;
  const Split parts = Split::of(
      rows,
      std::max(ceil_div(rows, kMostParts), static_cast<index>(kPartFlops / (flops(c) / static_cast<double>(rows)))));
  PixelRange* inside = scratch<PixelRange>(kSlotRanges, c.cols.taps);
  const PixelRange whole = set_ranges(c.cols, inside);
  T* sums = scratch<T>(kSlotPartial, parts.count * size);
  parallel_for(parts.count, 1, [&](index begin, index end) {
    for (index part = begin; part < end; ++part) {
      T* to = sums + part * size;
      std::fill_n(to, size, T(0));
      for (index i = parts.begin(part); i < parts.begin(part) + parts.size(part); ++i) {
        poll_interrupt();
        const index image = i / c.rows.out, p = i % c.rows.out;
        DepthwiseArgs args = row_args(c, inside, whole, image, p);
        args.g = gemm_detail::at(g.c, g.dtype, image * c.y_image + p * c.rows.y_step);
        args.y = to;
        kernel(args);
      }
    }
  });
  for (index part = 1; part < parts.count; ++part) {
    for (index i = 0; i < size; ++i) sums[i] += sums[part * size + i];
  }
  FinishArgs<T> f{};
  f.out_dtype = g.dtype;
  f.activation = Activation::none;
  f.rows = taps;
  f.cols = f.tile_row = c.groups;
  f.tile = sums;
  f.c_row = 1;
  f.c_col = c.w_group;
  f.c = dw;
  f.in = dw;
  kernels.finish(f);
}

}  // namespace

bool is_depthwise(const Correlation& c) {
  return c.groups > 1 && c.channels == 1 && c.product.n == 1 && c.x_group == 1 && c.y_group == 1;
}

void depthwise(const Correlation& c) {
  const GemmKernels& kernels = gemm_kernels(c.product.device);
  c.product.dtype == DType::float64 ? run_rows(kernels.f64, c) : run_rows(kernels.f32, c);
}

void depthwise_gradient(const Correlation& c, void* dw) {
  const GemmKernels& kernels = gemm_kernels(c.product.device);
  c.product.dtype == DType::float64 ? run_gradient(kernels.f64, c, dw) : run_gradient(kernels.f32, c, dw);
}

}  // namespace conv_detail
}  // namespace mlext
