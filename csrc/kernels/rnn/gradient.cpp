// The way back: for each step, the last one first, the gradients of the gates, and their product with the recurrent weight.
#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "kernels/rnn/door.h"
#include "kernels/rnn/layer.h"
#include "kernels/rnn/walk.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH(RecurrentKernels, recurrent_kernels)

namespace rnn_detail {
namespace {

// Memory of a call.
struct Backward {
  const void *gy, *gh_last, *gc_last, *y, *gates, *before, *extra;
  void *gx, *gsums, *gh, *gc;  // gsums null: it is gx
};

template <class T>
class BackwardWalk {
 public:
  BackwardWalk(const GemmTypeKernels<T>& gemm, const RecurrentTypeKernels<T>& kernels, const Layer& layer,
               const Order& order, const Backward& b)
      : kernels_(kernels),
        layer_(layer),
        order_(order),
        b_(b),
        weight_(Weight<T>{gemm, layer.gates() * layer.units, layer.units, 1, layer.units, 1}.pack(
            layer.dtype, layer.weight, kSlotPanels)) {}

  // Sequences first to last of the order_.
  void run(index first, index count) const {
    const index row = state_row(weight_.kernels, layer_.units), wide = state_row(weight_.kernels, weight_.k);
    T* gh = scratch<T>(kSlotState, 2 * count * row);
    T* gc = gh + count * row;
    T* factors = scratch<T>(kSlotFactors, count * wide);
    for (index i = 0; i < count; ++i) {
      load_state(gh + i * row, b_.gh_last, order_.sequence[first + i], layer_.units);
      load_state(gc + i * row, b_.gc_last, order_.sequence[first + i], layer_.units);
    }
    index active = 0;
    for (index s = order_.length[order_.sequence[first]] - 1; s >= 0; --s) {
      while (active < count && order_.length[order_.sequence[first + active]] > s) ++active;
      poll_interrupt();
      for (index i = 0; i < active; ++i)
        step(order_.sequence[first + i], s, gh + i * row, gc + i * row, factors + i * wide);
      for (index panel = 0; panel < weight_.panels.count; ++panel) {
        weight_.multiply(panel, 0, nullptr, layer_.cell == Cell::gru, {factors, wide},
                         {gh + weight_.column(panel), row}, active);
      }
    }
    for (index i = 0; i < count; ++i) {
      const index n = order_.sequence[first + i];
      std::copy_n(gh + i * row, layer_.units, static_cast<T*>(b_.gh) + n * layer_.units);
      if (b_.gc != nullptr) std::copy_n(gc + i * row, layer_.units, static_cast<T*>(b_.gc) + n * layer_.units);
      clear_rest<T>(layer_, n, order_.length[n], weight_.k, b_.gx);
      if (b_.gsums != nullptr) clear_rest<T>(layer_, n, order_.length[n], weight_.k, b_.gsums);
    }
  }

 private:
  void step(index n, index s, T* gh, T* gc, T* factor) const {
    const index t = layer_.step(order_.length[n], s);
    const index one = layer_.place(n, t, layer_.units), all = layer_.place(n, t, weight_.k);
    const auto of = [](const void* p, index at) { return p != nullptr ? static_cast<const T*>(p) + at : nullptr; };
    StepGradientArgs<T> args{};
    args.units = args.gate_step = layer_.units;
    args.gy = of(b_.gy, one);
    args.y = of(b_.y, one);
    args.gates = of(b_.gates, all);
    args.before = of(b_.before, one);
    args.extra = of(b_.extra, one);
    args.gh = gh;
    args.gc = gc;
    args.gx = static_cast<T*>(b_.gx) + all;
    args.gsums = b_.gsums != nullptr ? static_cast<T*>(b_.gsums) + all : nullptr;
    args.factor = factor;
    kernels_.gradient[static_cast<int>(layer_.cell)](args);
  }

  const RecurrentTypeKernels<T>& kernels_;
  const Layer& layer_;
  const Order& order_;
  const Backward& b_;
  const Weight<T> weight_;
};

}  // namespace
}  // namespace rnn_detail

RecurrentGradients recurrent_gradient(const char* op, const Array* gy, const Array* gh, const Array* gc,
                                      const Recurrence& left, const Array& weight, const Array* lengths,
                                      const RecurrentOptions& options) {
  using namespace rnn_detail;
  if (left.y.rank() != 3) refuse(op, "y", "3 dimensions (T, N, H)", "shape ", left.y.shape);
  const Dims shape = left.y.shape;
  const index steps = shape[0], n = shape[1], units = shape[2], gates = gates_of(options.cell);
  const DType given_dtype = weight.dtype, dtype = accumulate_dtype(given_dtype);
  const auto check = [&](const char* name, const Array* g, const Dims& expected) {
    if (g == nullptr) return;
    require_same_dtype(op, name, *g, "weight_hh", weight);
    require_shape(op, name, *g, expected, "");
  };
  require_shape(op, "weight_hh", weight, {gates * units, units}, "");
  check("gy", gy, shape);
  check("gh", gh, {n, units});
  check("gc", gc, {n, units});
  const auto check_left = [&](const char* name, const Array& a, const Dims& expected) {
    require_dtype(op, name, a, dtype, " (as the layer left it)");
    require_shape(op, name, a, expected, " (as the layer left it)");
  };
  require_same_dtype(op, "y", left.y, "weight_hh", weight);
  if (gates > 1) {
    check_left("gates", left.gates, {steps, n, gates * units});
    check_left("before", left.before, shape);
    check_left("extra", left.extra, shape);
  }
  if (lengths != nullptr) check_lengths(op, *lengths, n);
  const Dims wide{steps, n, gates * units}, last{n, units};
  const auto make = [&](bool wanted, const Dims& of) { return result(wanted, of, dtype, weight.device); };
  RecurrentGradients out{make(true, wide), make(options.cell == Cell::gru, wide), make(true, last),
                         make(options.cell == Cell::lstm, last)};
  if (last.count() > 0) {
    const Array of_y = prepared(gy, dtype), of_h = prepared(gh, dtype), of_c = prepared(gc, dtype),
                w = dense(weight, dtype), y = dense(left.y, dtype);
    const Layer layer = layer_of(options, shape, w, lengths);
    const Backward b{of_y.data,       of_h.data,  of_c.data,     y.data,     left.gates.data, left.before.data,
                     left.extra.data, out.x.data, out.sums.data, out.h.data, out.c.data};
    launch(op, {layer.flops(), static_cast<double>(left.gates.nbytes() + w.nbytes() + out.x.nbytes())},
           {given(of_y), given(of_h), given(of_c), &w, &y, given(left.gates), given(left.before), given(left.extra),
            lengths},
           {&out.x, given(out.sums), &out.h, given(out.c)},
           [layer, b] { walk<BackwardWalk>(gemm_kernels(layer.device), recurrent_kernels(layer.device), layer, b); });
  }
  narrow({&out.x, &out.sums, &out.h, &out.c}, given_dtype);
  if (options.cell != Cell::gru) out.sums = out.x;
  return out;
}

}  // namespace mlext
