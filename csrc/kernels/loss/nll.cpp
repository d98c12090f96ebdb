// Negative log-likelihood of labels: one element per row is picked, so there is nothing for vectors to do.
#include <algorithm>
#include <cstring>

#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/loss/loss.h"
#include "kernels/softmax/labels.h"

namespace mlext {
namespace {

constexpr int kLabels = 0;

// The checked arguments, dense and in the compute type.
struct Inputs {
  Array logp, labels, weight;
  Dims rows_shape;
  bool weighted;

  Inputs(const char* op, const Array& x, const Array& classes, const Array* w) : weighted(w != nullptr) {
    require_floating(op, "logp", x);
    require_min_rank(op, "logp", x, 1);
    rows_shape = x.shape;
    --rows_shape.rank;
    require_shape(op, "labels", classes, rows_shape, text(" for logp ", x.shape));
    logp = is_half(x.dtype) ? cast(x, DType::float32) : dense(x);
    labels = dense(classes);
    if (!weighted) return;
    require_same_dtype(op, "weight", *w, "logp", x);
    require_shape(op, "weight", *w, {x.shape[x.rank() - 1]}, " (one per class)");
    weight = is_half(x.dtype) ? cast(*w, DType::float32) : dense(*w);
  }
};

template <class T>
struct Run {
  Labels labels;
  const T* logp;
  const T* weight;
  const T* g;  // null: forward
  T* out;
  Reduction reduction;

  T weight_of(index label) const { return weight == nullptr ? T(1) : weight[label]; }
  void operator()() const {
    index* y = scratch<index>(kLabels, std::max<index>(labels.rows, 1));
    labels.read(y);
    g == nullptr ? forward(y) : backward(y);
  }
  void forward(const index* y) const {
    const bool whole = reduction == Reduction::none;
    double total = 0;
    for (index r = 0; r < labels.rows; ++r) {
      const T value = y[r] < 0 ? T(0) : -weight_of(y[r]) * logp[r * labels.classes + y[r]];
      if (whole) out[r] = value;
      total += static_cast<double>(value);
    }
    if (whole) return;
    const double counted = weight_of_labels(y, labels.rows, weight);
    out[0] = static_cast<T>(reduction == Reduction::sum ? total : counted == 0 ? 0.0 : total / counted);
  }
  void backward(const index* y) const {
    const double counted = weight_of_labels(y, labels.rows, weight);
    const T scale = static_cast<T>(reduction != Reduction::mean ? 1.0 : counted == 0 ? 0.0 : 1 / counted);
    const index n = labels.classes;
    parallel_for(labels.rows, std::max<index>(1, 16384 / std::max<index>(n, 1)), [&](index begin, index end) {
      std::memset(out + begin * n, 0, static_cast<std::size_t>((end - begin) * n) * sizeof(T));
      for (index r = begin; r < end; ++r) {
        if (y[r] < 0) continue;
        out[r * n + y[r]] = -weight_of(y[r]) * g[reduction == Reduction::none ? r : 0] * scale;
      }
    });
  }
};

template <class T>
void start(const char* op, const Inputs& in, const Array* g, index ignore_index, Reduction reduction,
           const Array& out) {
  const index classes = in.logp.shape[in.logp.rank() - 1], rows = in.rows_shape.count();
  Run<T> run{};
  run.labels = {op, in.labels.data, in.labels.dtype, rows, classes, ignore_index};
  run.logp = in.logp.ptr<T>();
  run.weight = in.weighted ? in.weight.ptr<T>() : nullptr;
  run.g = g == nullptr ? nullptr : g->ptr<T>();
  run.out = out.ptr<T>();
  run.reduction = reduction;
  const double bytes = static_cast<double>(g == nullptr ? rows * 12 : out.nbytes());
  launch(op, Work{static_cast<double>(rows), bytes}, {&in.logp, &in.labels, in.weighted ? &in.weight : nullptr, g},
         {&out}, run);
}

Array run(const char* op, const Inputs& in, const Array* g, index ignore_index, Reduction reduction, const Dims& shape,
          DType dtype) {
  const Array out = Array::empty(shape, in.logp.dtype);
  if (out.dtype == DType::float64) {
    start<double>(op, in, g, ignore_index, reduction, out);
  } else {
    start<float>(op, in, g, ignore_index, reduction, out);
  }
  return dense(out, dtype);
}

}  // namespace

Array nll(const Array& logp, const Array& labels, const Array* weight, index ignore_index, Reduction reduction) {
  const Inputs in("nll", logp, labels, weight);
  const Dims shape = reduction == Reduction::none ? in.rows_shape : Dims();
  return run("nll", in, nullptr, ignore_index, reduction, shape, logp.dtype);
}

Array nll_backward(const Array& logp, const Array& labels, const Array* weight, const Array& gradient,
                   index ignore_index, Reduction reduction) {
  const Inputs in("nll_backward", logp, labels, weight);
  require_same_dtype("nll_backward", "g", gradient, "logp", logp);
  require_loss_gradient("nll_backward", gradient, reduction, in.rows_shape);
  const Array g = is_half(gradient.dtype) ? cast(gradient, DType::float32) : dense(gradient);
  return run("nll_backward", in, &g, ignore_index, reduction, logp.shape, logp.dtype);
}

}  // namespace mlext
