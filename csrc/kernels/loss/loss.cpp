#include "kernels/loss/loss.h"

#include <algorithm>

#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/softmax/labels.h"

namespace mlext {

MLEXT_DISPATCH(LossKernels, loss_kernels)

namespace {

// Elements per kernel call, and per partial sum: chains of at most 4096 / (4 * 4) at the narrowest level.
constexpr index kBlock = 4096;
constexpr index kBlocksPerChunk = 4;
enum Slot { kPattern, kPartials, kValues };

// Everything one launch needs, by value. What a loss may have beside p and t is multiplied onto a block that is near.
struct Run {
  LossFn map;  // value or a gradient
  LossSumFn sum;
  LossFn product;
  LossSumFn product_sum;
  bool sums;
  LossArgs args;
  const void* weight;      // or null
  const void* gradient;    // or null; one per element if g_step is 1
  const void* pos_weight;  // or null
  index g_step;
  index size;     // of an element
  index classes;  // of pos_weight
  double divisor;

  template <class T>
  double run_block(index begin, const T* pattern) const;
  template <class T>
  void run() const;
  void operator()() const { size == 4 ? run<float>() : run<double>(); }
};

template <class T>
const T* at(const void* p, index i) {
  return static_cast<const T*>(p) + i;
}

template <class T>
double Run::run_block(index begin, const T* pattern) const {
  LossArgs part = args;
  part.p = at<T>(args.p, begin);
  part.t = at<T>(args.t, begin);
  if (pattern != nullptr) part.extra = pattern + begin % classes;
  part.n = std::min(kBlock, args.n - begin);
  if (sums && weight == nullptr) return sum(part);
  part.out = sums ? scratch<T>(kValues, kBlock) : static_cast<T*>(args.out) + begin;
  if (gradient != nullptr && g_step == 0) part.factor *= static_cast<double>(*at<T>(gradient, 0));
  map(part);
  part.factor = 1;
  part.p = part.out;
  if (weight != nullptr) {
    part.t = at<T>(weight, begin);
    if (sums) return product_sum(part);
    product(part);
  }
  if (g_step == 1) {
    part.t = at<T>(gradient, begin);
    product(part);
  }
  return 0;
}

template <class T>
void Run::run() const {
  // pos_weight repeated for a block that starts at any class.
  T* pattern = nullptr;
  if (pos_weight != nullptr) {
    const index count = classes + std::min(kBlock, args.n);
    pattern = scratch<T>(kPattern, count);
    for (index i = 0; i < count; ++i) pattern[i] = *at<T>(pos_weight, i % classes);
  }
  const index blocks = (args.n + kBlock - 1) / kBlock;
  double* partials = sums ? scratch<double>(kPartials, std::max<index>(blocks, 1)) : nullptr;
  parallel_for(blocks, kBlocksPerChunk, [&](index begin, index end) {
    for (index b = begin; b < end; ++b) {
      const double part = run_block<T>(b * kBlock, pattern);
      if (sums) partials[b] = part;
    }
  });
  if (sums) *static_cast<T*>(args.out) = static_cast<T>(ordered_sum(partials, blocks) / divisor);
}

// The checked arguments, dense and in the compute type.
struct Inputs {
  Array pred, target, weight, pos_weight;
  bool weighted, pos_weighted;

  Inputs(const char* name, const Array& p, const Array& t, const Array* w, const Array* positive)
      : weighted(w != nullptr), pos_weighted(positive != nullptr) {
    require_floating(name, "pred", p);
    require_same_dtype(name, "target", t, "pred", p);
    if (!(p.shape == t.shape)) {
      throw ValueError(text(name, ": argument 'target': expected the shape of 'pred' ", p.shape, ", got ", t.shape,
                            "; losses do not broadcast, use reshape() or broadcast_to()"));
    }
    pred = computable(p);
    target = computable(t);
    if (weighted) {
      require_same_dtype(name, "weight", *w, "pred", p);
      require_shape(name, "weight", *w, p.shape, " (shape of 'pred')");
      weight = computable(*w);
    }
    if (pos_weighted) {
      require_same_dtype(name, "pos_weight", *positive, "pred", p);
      const index classes = p.rank() == 0 ? 1 : p.shape[p.rank() - 1];
      if (positive->rank() > 1 || (positive->size() != 1 && positive->size() != classes)) {
        refuse(name, "pos_weight", text("shape () or (", classes, ",), one per class"), "shape ", positive->shape);
      }
      pos_weight = computable(*positive);
    }
  }

  static Array computable(const Array& a) { return is_half(a.dtype) ? cast(a, DType::float32) : dense(a); }
};

Run make_run(LossOp op, const LossKernels& kernels, const Inputs& in, const LossOptions& options) {
  const bool wide = in.pred.dtype == DType::float64;
  Run run{};
  run.map = kernels.value[static_cast<int>(op)][wide];
  run.sum = kernels.sum[static_cast<int>(op)][wide];
  run.product = kernels.product[wide];
  run.product_sum = kernels.product_sum[wide];
  run.args.p = in.pred.data;
  run.args.t = in.target.data;
  run.args.n = in.pred.size();
  run.args.factor = 1;
  run.args.parameter[0] = options.parameter[0];
  run.args.parameter[1] = options.parameter[1];
  run.size = item_size(in.pred.dtype);
  run.weight = in.weighted ? in.weight.data : nullptr;
  run.pos_weight = in.pos_weighted && in.pred.size() > 0 ? in.pos_weight.data : nullptr;
  run.classes = in.pos_weighted ? in.pos_weight.size() : 1;
  switch (options.reduction) {
    case LossReduction::mean:
      run.divisor = static_cast<double>(in.pred.size());
      break;
    case LossReduction::batchmean:
      run.divisor = in.pred.rank() == 0 ? 1 : static_cast<double>(in.pred.shape[0]);
      break;
    default:
      run.divisor = 1;
  }
  return run;
}

void start(const char* name, const Inputs& in, const Array* g, const Array& out, const Run& run) {
  const double n = static_cast<double>(in.pred.size());
  const double arrays = 2 + in.weighted + !run.sums + (run.g_step != 0);
  launch(name, Work{n * 8, n * arrays * static_cast<double>(run.size)},
         {&in.pred, &in.target, in.weighted ? &in.weight : nullptr, in.pos_weighted ? &in.pos_weight : nullptr, g},
         {&out}, run);
}

}  // namespace

Array loss(LossOp op, const Array& pred, const Array& target, const Array* weight, const Array* pos_weight,
           const LossOptions& options) {
  const Inputs in(options.name, pred, target, weight, pos_weight);
  const bool whole = options.reduction == LossReduction::none;
  Run run = make_run(op, loss_kernels(pred.device), in, options);
  run.sums = !whole;
  const Array out = Array::empty(whole ? in.pred.shape : Dims(), in.pred.dtype);
  run.args.out = out.data;
  start(options.name, in, nullptr, out, run);
  return dense(out, pred.dtype);
}

Array loss_backward(LossOp op, const Array& pred, const Array& target, const Array* weight, const Array* pos_weight,
                    const Array& gradient, const LossOptions& options, bool of_target) {
  const Inputs in(options.name, pred, target, weight, pos_weight);
  require_same_dtype(options.name, "g", gradient, "pred", pred);
  const bool whole = options.reduction == LossReduction::none;
  require_loss_gradient(options.name, gradient, whole ? Reduction::none : Reduction::sum, pred.shape);
  const Array g = Inputs::computable(gradient), out = Array::empty(in.pred.shape, in.pred.dtype);
  const auto& kernels = loss_kernels(pred.device);
  const auto& fns = of_target ? kernels.grad_target : kernels.grad;
  Run run = make_run(op, kernels, in, options);
  run.map = fns[static_cast<int>(op)][in.pred.dtype == DType::float64];
  run.gradient = g.data;
  run.g_step = whole;
  run.args.factor = 1 / run.divisor;
  run.args.out = out.data;
  start(options.name, in, &g, out, run);
  return dense(out, pred.dtype);
}

}  // namespace mlext
