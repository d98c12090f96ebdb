#include "kernels/ctc/ctc.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/softmax/labels.h"

namespace mlext {

MLEXT_DISPATCH(CtcKernels, ctc_kernels)

namespace {

constexpr const char* kOp = "ctc";
constexpr int kLosses = 0, kClasses = 1, kFrames = 2, kWork = 3, kSums = 4, kShares = 5, kStats = 6;  // scratch slots

// Doubles of frames that are kept, 8 MiB for each thread. Of longer sequences one frame of each block of so many stays, and the
// others are made again: a tenth to a third more time.
constexpr index kKept = 1048576;
constexpr index kLeastKept = 32;
constexpr index kChunk = 20000;  // exponentials and variables per chunk of a parallel loop

// Everything one launch needs, by value.
struct Run {
  Device device;
  const void* x;
  const index *target, *input_lengths, *target_lengths;  // of lengths, null for all
  index sequences, frames, row, labels;
  CtcOptions options;
  void *loss, *gradient;  // gradient null: not wanted

  index frames_of(index n) const { return input_lengths == nullptr ? frames : input_lengths[n]; }
  index count_of(index n) const { return target_lengths == nullptr ? labels : target_lengths[n]; }

  void check() const;
  void check_lengths(const char* name, const index* lengths, index most, const char* whose) const;
  void check_labels(index n) const;
  template <class T>
  void run() const;
  template <class T>
  double sequence(index n) const;
  template <class T>
  CtcArgs prepared(index n) const;
};

// Before anything is written.
void Run::check() const {
  check_lengths("input_lengths", input_lengths, frames, "frames of the prediction");
  check_lengths("target_lengths", target_lengths, labels, "labels of the target");
  for (index n = 0; n < sequences; ++n) check_labels(n);
}
void Run::check_lengths(const char* name, const index* lengths, index most, const char* whose) const {
  for (index n = 0; lengths != nullptr && n < sequences; ++n) {
    if (lengths[n] < 0 || lengths[n] > most) {
      refuse(kOp, name, text("lengths from 0 to ", most, ", the ", whose), lengths[n], " at position ", n);
    }
  }
}
void Run::check_labels(index n) const {
  for (index u = 0; u < count_of(n); ++u) {
    const index label = target[n * labels + u];
    const auto where = [&] { return text(kOp, ": label ", label, " at position (", n, ", ", u, ") is "); };
    if (label < 0 || label >= row) {
      throw IndexError(text(where(), "out of range for ", row, row == 1 ? " class" : " classes"));
    }
    if (label == options.blank) throw IndexError(text(where(), "the blank, which no target has; see blank="));
  }
}

template <class T>
CtcArgs Run::prepared(index n) const {
  const index count = count_of(n), here = frames_of(n), width = (count + 8) / 8 * 8, size = 6 * width;
  index* classes = scratch<index>(kClasses, count + 1);
  std::copy_n(target + n * labels, count, classes);
  classes[count] = options.blank;
  CtcArgs args{};
  args.x = static_cast<const T*>(x) + n * frames * row;
  args.classes = classes;
  args.frames = here;
  args.row = row;
  args.count = count;
  args.width = width;
  T* tops = scratch<T>(kStats, 2 * (here + 16));
  args.tops = tops;
  args.tails = tops + here + 16;
  const bool back = gradient != nullptr;
  args.frames_kept = back ? std::clamp<index>(here, 1, std::max(kKept / size, kLeastKept)) : 1;
  const index blocks = back ? (here + args.frames_kept - 1) / args.frames_kept : 0;
  args.kept = scratch<double>(kFrames, (args.frames_kept + blocks) * size);
  args.starts = back ? args.kept + args.frames_kept * size : nullptr;
  args.backwards = scratch<double>(kWork, 6 * width + 8);
  args.values = args.backwards + 4 * width;
  args.skips = args.values + width;
  return args;
}

template <class T>
double Run::sequence(index n) const {
  poll_interrupt();
  const int type = sizeof(T) == 8;
  CtcArgs args = prepared<T>(n);
  const double found = ctc_kernels(device).loss[type](args);
  const bool impossible = found == std::numeric_limits<double>::infinity();
  const double value = impossible && options.zero_infinity ? 0.0 : found;
  if (gradient == nullptr) return value;
  T* out = static_cast<T*>(gradient) + n * frames * row;
  if (std::isfinite(found)) {
    args.sums = scratch<double>(kSums, row);
    T* shares = scratch<T>(kShares, row);
    std::fill_n(args.sums, row, 0.0);
    std::fill_n(shares, row, T(0));
    args.shares = shares;
    args.out = out;
    args.scale =
        options.reduction == Reduction::mean ? 1 / static_cast<double>(std::max<index>(args.count, 1) * sequences) : 1;
    ctc_kernels(device).gradient[type](args);
  } else {
    const double all = impossible && options.zero_infinity ? 0.0 : std::numeric_limits<double>::quiet_NaN();
    std::fill_n(out, args.frames * row, static_cast<T>(all));
  }
  std::fill_n(out + args.frames * row, (frames - args.frames) * row, T(0));
  return value;
}

template <class T>
void Run::run() const {
  check();
  T* out = static_cast<T*>(loss);
  double* losses = scratch<double>(kLosses, std::max<index>(sequences, 1));
  const index grain = std::max<index>(1, kChunk / std::max<index>(1, frames * (row + 8 * labels)));
  parallel_for(sequences, grain, [&](index begin, index end) {
    for (index n = begin; n < end; ++n) losses[n] = sequence<T>(n);
  });
  if (options.reduction == Reduction::none) {
    for (index n = 0; n < sequences; ++n) out[n] = static_cast<T>(losses[n]);
    return;
  }
  const bool mean = options.reduction == Reduction::mean;
  for (index n = 0; mean && n < sequences; ++n) losses[n] /= static_cast<double>(std::max<index>(count_of(n), 1));
  const double total = ordered_sum(losses, sequences);
  out[0] = static_cast<T>(mean && sequences > 0 ? total / static_cast<double>(sequences) : total);
}

void check_shapes(const Array& x, const Array& target, const Array* input_lengths, const Array* target_lengths,
                  index blank) {
  require_floating(kOp, "prediction", x);
  if (x.rank() != 3) refuse(kOp, "prediction", "3 dimensions (N, T, C)", "shape ", x.shape);
  if (x.shape[2] < 1) refuse(kOp, "prediction", "at least one class", "shape ", x.shape);
  if (target.rank() != 2 || target.shape[0] != x.shape[0]) {
    refuse(kOp, "target", text("shape (", x.shape[0], ", S), for a prediction of shape ", x.shape), target.shape);
  }
  const auto check = [&](const char* name, const Array* lengths) {
    if (lengths == nullptr) return;
    if (!is_integer(lengths->dtype)) refuse<TypeError>(kOp, name, "an integer dtype", lengths->dtype);
    require_shape(kOp, name, *lengths, {x.shape[0]}, " (one per sequence)");
  };
  check("input_lengths", input_lengths);
  check("target_lengths", target_lengths);
  if (blank < 0 || blank >= x.shape[2]) refuse(kOp, "blank", text("a class, 0 to ", x.shape[2] - 1), blank);
}

}  // namespace

void ctc(const Array& prediction, const Array& target, const Array* input_lengths, const Array* target_lengths,
         const CtcOptions& options, Array& loss, Array& gradient) {
  check_shapes(prediction, target, input_lengths, target_lengths, options.blank);
  const DType dtype = accumulate_dtype(prediction.dtype);
  const auto whole = [](const Array* a) { return a == nullptr ? Array() : dense(*a, DType::int64); };
  const Array x = dense(prediction, dtype), labels = dense(target, DType::int64);
  const Array frames = whole(input_lengths), counts = whole(target_lengths);
  const Dims& shape = x.shape;
  loss = Array::empty(options.reduction == Reduction::none ? Dims{shape[0]} : Dims(), dtype);
  gradient = Array::empty(options.with_gradient ? shape : Dims{0}, dtype);
  const Run run{x.device,
                x.data,
                labels.ptr<index>(),
                input_lengths == nullptr ? nullptr : frames.ptr<index>(),
                target_lengths == nullptr ? nullptr : counts.ptr<index>(),
                shape[0],
                shape[1],
                shape[2],
                labels.shape[1],
                options,
                loss.data,
                options.with_gradient ? gradient.data : nullptr};
  const double steps = static_cast<double>(shape[0] * shape[1]);
  launch(kOp,
         {steps * static_cast<double>(12 * shape[2] + 80 * (labels.shape[1] + 1)),
          static_cast<double>(x.nbytes() + gradient.nbytes())},
         {&x, &labels, input_lengths == nullptr ? nullptr : &frames, target_lengths == nullptr ? nullptr : &counts},
         {&loss, &gradient}, [run, dtype] { dtype == DType::float64 ? run.run<double>() : run.run<float>(); });
  loss = dense(loss, prediction.dtype);
}

}  // namespace mlext
