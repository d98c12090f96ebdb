#include "kernels/softmax/cross_entropy.h"

#include <algorithm>

#include "core/element.h"
#include "core/half.h"
#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/softmax/labels.h"

namespace mlext {

MLEXT_DISPATCH(CrossEntropyKernels, cross_entropy_kernels)

namespace {

constexpr index kChunk = 8192;                          // logits per chunk of a parallel loop
constexpr int kLabels = 0, kLosses = 1, kGradient = 2;  // scratch slots

// Everything one launch needs, by value.
struct Run {
  CrossEntropyFn fn;
  CrossEntropyArgs args;
  Labels labels;  // data null: target probabilities
  DType dtype;    // of the logits, the loss and g
  Reduction reduction;
  void* loss;     // forward: the result
  const void* g;  // backward

  template <class C>
  void forward() const;
  template <class C>
  void backward() const;
  void each_row(CrossEntropyArgs all, index size, index compute_size) const;
  void operator()() const {
    const bool wide = dtype == DType::float64, ahead = loss != nullptr;
    if (wide) return ahead ? forward<double>() : backward<double>();
    ahead ? forward<float>() : backward<float>();
  }

  template <class C>
  const index* read_labels(double& total) const {
    total = static_cast<double>(args.rows);
    if (labels.data == nullptr) return nullptr;
    index* out = scratch<index>(kLabels, args.rows);
    labels.read(out);
    total = weight_of_labels(out, args.rows, static_cast<const C*>(args.weight));
    return out;
  }
};

// Calls the kernel on chunks of rows: every pointer of `all` moves by its rows.
void Run::each_row(CrossEntropyArgs all, index size, index compute_size) const {
  const index n = all.classes;
  parallel_for(all.rows, std::max<index>(1, kChunk / std::max<index>(n, 1)), [&](index begin, index end) {
    CrossEntropyArgs part = all;
    part.logits = moved(all.logits, begin * n * size);
    part.target = moved(all.target, begin * n * size);
    part.labels = all.labels == nullptr ? nullptr : all.labels + begin;
    part.loss = moved(all.loss, begin * compute_size);
    part.stats = moved(all.stats, begin * 2 * compute_size);
    part.g = moved(all.g, begin * all.g_step * compute_size);
    part.out = moved(all.out, begin * n * size);
    part.rows = end - begin;
    fn(part);
  });
}

double load(DType dtype, const void* in, index at) {
  switch (dtype) {
    case DType::float64:
      return static_cast<const double*>(in)[at];
    case DType::float32:
      return static_cast<const float*>(in)[at];
    case DType::bfloat16:
      return to_float(static_cast<const bf16*>(in)[at]);
    default:
      return to_float(static_cast<const f16*>(in)[at]);
  }
}

template <class C>
void Run::forward() const {
  CrossEntropyArgs all = args;
  double total = 0;
  all.labels = read_labels<C>(total);
  const bool direct = reduction == Reduction::none && !is_half(dtype);
  C* losses = direct ? static_cast<C*>(loss) : scratch<C>(kLosses, std::max<index>(args.rows, 1));
  all.loss = losses;
  each_row(all, item_size(dtype), sizeof(C));
  if (direct) return;
  if (reduction == Reduction::none) {
    for (index i = 0; i < args.rows; ++i) Element(losses[i], dtype).put(moved(loss, i * item_size(dtype)));
    return;
  }
  const double sum = ordered_sum(losses, args.rows);
  // Nothing to count: 0, not 0 / 0.
  Element(reduction == Reduction::sum ? sum : total == 0 ? 0.0 : sum / total, dtype).put(loss);
}

template <class C>
void Run::backward() const {
  CrossEntropyArgs all = args;
  double total = 0;
  all.labels = read_labels<C>(total);
  const C* weight = static_cast<const C*>(args.weight);
  all.weight_mean = weight == nullptr ? 1.0 : ordered_sum(weight, args.classes) / static_cast<double>(args.classes);
  all.g_step = reduction == Reduction::none;
  all.scale = reduction != Reduction::mean ? 1.0 : total == 0 ? 0.0 : 1 / total;
  const index count = all.g_step ? args.rows : 1;
  if (is_half(dtype)) {
    C* wide = scratch<C>(kGradient, count);
    for (index i = 0; i < count; ++i) wide[i] = static_cast<C>(load(dtype, g, i));
    all.g = wide;
  } else {
    all.g = g;
  }
  each_row(all, item_size(dtype), sizeof(C));
}

Dims without_last(const Dims& shape) {
  Dims out = shape;
  --out.rank;
  return out;
}
Dims stats_shape(const Dims& logits) {
  Dims out = without_last(logits);
  out.push(2);
  return out;
}

// Checks what all four functions have in common. The arrays that a launch touches are kept dense here.
struct Inputs {
  Array logits, labels, target, weight;
  bool weighted;

  Inputs(const char* op, const Array& x, const Array* classes, const Array* probabilities, const Array* w,
         CrossEntropyOptions options)
      : weighted(w != nullptr) {
    require_floating(op, "logits", x);
    require_min_rank(op, "logits", x, 1);
    const Dims rows = without_last(x.shape);
    if (classes != nullptr) require_shape(op, "labels", *classes, rows, text(" for logits ", x.shape));
    if (probabilities != nullptr) {
      require_same_dtype(op, "target", *probabilities, "logits", x);
      require_shape(op, "target", *probabilities, x.shape, " (shape of 'logits')");
    }
    if (w != nullptr) {
      require_same_dtype(op, "weight", *w, "logits", x);
      require_shape(op, "weight", *w, {x.shape[x.rank() - 1]}, " (one per class)");
    }
    if (!(options.smoothing >= 0 && options.smoothing <= 1)) {
      refuse(op, "label_smoothing", "a number from 0 to 1", options.smoothing);
    }
    logits = dense(x);
    if (classes != nullptr) labels = dense(*classes);
    if (probabilities != nullptr) target = dense(*probabilities);
    if (w != nullptr) weight = is_half(x.dtype) ? cast(*w, DType::float32) : dense(*w);
  }
};

Run make_run(const char* op, CrossEntropyFn fn, const Inputs& in, index ignore_index, CrossEntropyOptions options) {
  Run run{};
  run.fn = fn;
  run.dtype = in.logits.dtype;
  run.reduction = options.reduction;
  run.args.logits = in.logits.data;
  run.args.target = in.target.data;
  run.args.weight = in.weight.data;
  run.args.classes = in.logits.shape[in.logits.rank() - 1];
  run.args.rows = without_last(in.logits.shape).count();
  run.args.smoothing = options.smoothing;
  run.labels = {op, in.labels.data, in.labels.dtype, run.args.rows, run.args.classes, ignore_index};
  return run;
}

void start(const char* op, const Inputs& in, ArrayList outputs, const Array* stats_in, const Array* g, const Run& run) {
  const double elements = static_cast<double>(in.logits.size());
  launch(op, Work{elements * 12, static_cast<double>(in.logits.nbytes()) * (run.loss != nullptr ? 1 : 2)},
         {&in.logits, in.labels.data == nullptr ? nullptr : &in.labels,
          in.target.data == nullptr ? nullptr : &in.target, in.weighted ? &in.weight : nullptr, stats_in, g},
         outputs, run);
}

int type_of(const Inputs& in) { return static_cast<int>(in.logits.dtype); }

void run_forward(const char* op, CrossEntropyFn fn, const Inputs& in, index ignore_index, CrossEntropyOptions options,
                 Array& loss, Array& stats) {
  const Dims& shape = in.logits.shape;
  loss = Array::empty(options.reduction == Reduction::none ? without_last(shape) : Dims(), in.logits.dtype);
  stats = Array::empty(stats_shape(shape), accumulate_dtype(in.logits.dtype));
  Run run = make_run(op, fn, in, ignore_index, options);
  run.loss = loss.data;
  run.args.stats = stats.data;
  start(op, in, {&loss, &stats}, nullptr, nullptr, run);
}

Array run_backward(const char* op, CrossEntropyFn fn, const Inputs& in, const Array& saved, const Array& gradient,
                   index ignore_index, CrossEntropyOptions options) {
  require_dtype(op, "stats", saved, accumulate_dtype(in.logits.dtype), "");
  require_shape(op, "stats", saved, stats_shape(in.logits.shape), "");
  require_same_dtype(op, "g", gradient, "logits", in.logits);
  require_loss_gradient(op, gradient, options.reduction, without_last(in.logits.shape));
  const Array stats = dense(saved), g = dense(gradient);
  Array out = Array::empty(in.logits.shape, in.logits.dtype);
  Run run = make_run(op, fn, in, ignore_index, options);
  run.g = g.data;
  run.args.stats = stats.data;
  run.args.out = out.data;
  start(op, in, {&out}, &stats, &g, run);
  return out;
}

}  // namespace

void cross_entropy(const Array& logits, const Array& labels, const Array* weight, index ignore_index,
                   CrossEntropyOptions options, Array& loss, Array& stats) {
  const Inputs in("cross_entropy", logits, &labels, nullptr, weight, options);
  run_forward("cross_entropy", cross_entropy_kernels(logits.device).labels_forward[type_of(in)], in, ignore_index,
              options, loss, stats);
}

Array cross_entropy_backward(const Array& logits, const Array& labels, const Array* weight, const Array& stats,
                             const Array& g, index ignore_index, CrossEntropyOptions options) {
  const Inputs in("cross_entropy_backward", logits, &labels, nullptr, weight, options);
  return run_backward("cross_entropy_backward", cross_entropy_kernels(logits.device).labels_backward[type_of(in)], in,
                      stats, g, ignore_index, options);
}

void cross_entropy_soft(const Array& logits, const Array& target, const Array* weight, CrossEntropyOptions options,
                        Array& loss, Array& stats) {
  const Inputs in("cross_entropy_soft", logits, nullptr, &target, weight, options);
  run_forward("cross_entropy_soft", cross_entropy_kernels(logits.device).target_forward[type_of(in)], in, -1, options,
              loss, stats);
}

Array cross_entropy_soft_backward(const Array& logits, const Array& target, const Array* weight, const Array& stats,
                                  const Array& g, CrossEntropyOptions options, bool of_target) {
  const Inputs in("cross_entropy_soft_backward", logits, nullptr, &target, weight, options);
  const auto& kernels = cross_entropy_kernels(logits.device);
  const auto& fns = of_target ? kernels.target_backward_target : kernels.target_backward;
  return run_backward("cross_entropy_soft_backward", fns[type_of(in)], in, stats, g, -1, options);
}

}  // namespace mlext
