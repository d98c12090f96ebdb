#include "kernels/rotary/rotary.h"

#include <algorithm>

#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"

namespace mlext {

MLEXT_DISPATCH(RotaryKernels, rotary_kernels)

namespace {

constexpr const char* kRotary = "rotary";
// Elements of one chunk of a parallel loop.
constexpr index kChunk = 1 << 14;

struct Run {
  void (*turn)(const RotaryArgs&);
  RotaryArgs args;  // of all positions of a sequence
  index samples;
  index sample_step, table_step;  // of x; of cos and sin, 0 if all sequences have the same
  index size, compute_size;

  void operator()() const {
    const index length = args.positions, each = args.heads * args.features;
    parallel_for(samples * length, std::max<index>(1, kChunk / std::max<index>(each, 1)), [&](index begin, index end) {
      while (begin < end) {
        const index n = begin / length, t = begin % length;
        RotaryArgs part = args;
        part.positions = std::min(end - begin, length - t);
        part.x = moved(args.x, (n * sample_step + t * args.position_step) * size);
        part.out = moved(args.out, begin * each * size);
        const index at = (n * table_step + t * args.pairs) * compute_size;
        part.cos = moved(args.cos, at);
        part.sin = moved(args.sin, at);
        turn(part);
        begin += part.positions;
      }
    });
  }
};

void check(const Array& x, const Array& cos, const Array& sin) {
  require_floating(kRotary, "x", x);
  if (x.rank() != 4) refuse(kRotary, "x", "shape (N, T, H, D)", "shape ", x.shape);
  const DType computed = accumulate_dtype(x.dtype);
  require_dtype(kRotary, "cos", cos, computed, "for this x");
  require_dtype(kRotary, "sin", sin, computed, "for this x");
  const int rank = cos.rank();
  const bool one_for_all = rank == 2 && cos.shape[0] == x.shape[1];
  const bool each = rank == 3 && cos.shape[0] == x.shape[0] && cos.shape[1] == x.shape[1];
  if (!(one_for_all || each) || 2 * cos.shape[rank - 1] > x.shape[3]) {
    refuse(kRotary, "cos", text("shape (T, P) or (N, T, P) with 2 P <= D for x ", x.shape), "shape ", cos.shape);
  }
  require_shape(kRotary, "sin", sin, cos.shape, ", that of 'cos'");
}

}  // namespace

Array rotary(const Array& input, const Array& cosines, const Array& sines, RotaryOptions options) {
  check(input, cosines, sines);
  const Array x = input.shape[3] < 2 || input.strides[3] == 1 ? input : dense(input);
  const Array cos = dense(cosines), sin = dense(sines);
  Array out = Array::empty(x.shape, x.dtype, x.device);
  if (out.size() == 0) return out;
  const int rank = cos.rank();
  Run run{};
  run.turn = rotary_kernels(x.device).turn[options.interleaved][static_cast<int>(x.dtype)];
  run.args = {x.data,       cos.data,     sin.data,        out.data,
              x.shape[1],   x.shape[2],   x.shape[3],      cos.shape[rank - 1],
              x.strides[1], x.strides[2], options.opposite};
  run.samples = x.shape[0];
  run.sample_step = x.strides[0];
  run.table_step = rank == 3 ? x.shape[1] * cos.shape[rank - 1] : 0;
  run.size = item_size(x.dtype);
  run.compute_size = item_size(cos.dtype);
  const double bytes = static_cast<double>(2 * out.nbytes() + 2 * cos.nbytes());
  launch(kRotary, {3 * static_cast<double>(x.size()), bytes}, {&x, &cos, &sin}, {&out}, run);
  return out;
}

}  // namespace mlext
