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
struct BackwardWalk {
  const Layer& layer;
  const Backward& b;
  const RecurrentTypeKernels<T>& kernels;
  const Weight<T>& weight;
  const Order& order;

  static Weight<T> weight_of(const GemmTypeKernels<T>& gemm, const Layer& layer) {
    return {gemm, layer.gates() * layer.units, layer.units, 1, layer.units, 1};
  }

  // Sequences first to last of the order.
  void run(index first, index count) const {
    const index row = state_row(weight.kernels, layer.units), wide = state_row(weight.kernels, weight.k);
    T* gh = scratch<T>(kSlotState, 2 * count * row);
    T* gc = gh + count * row;
    T* factors = scratch<T>(kSlotFactors, count * wide);
    for (index i = 0; i < count; ++i) {
      load_state(gh + i * row, b.gh_last, order.sequence[first + i], layer.units);
      load_state(gc + i * row, b.gc_last, order.sequence[first + i], layer.units);
    }
    index active = 0;
    for (index s = order.length[order.sequence[first]] - 1; s >= 0; --s) {
      while (active < count && order.length[order.sequence[first + active]] > s) ++active;
      poll_interrupt();
      for (index i = 0; i < active; ++i)
        step(order.sequence[first + i], s, gh + i * row, gc + i * row, factors + i * wide);
      for (index panel = 0; panel < weight.panels.count; ++panel) multiply(panel, factors, wide, active, gh, row);
    }
    for (index i = 0; i < count; ++i) {
      const index n = order.sequence[first + i];
      std::copy_n(gh + i * row, layer.units, static_cast<T*>(b.gh) + n * layer.units);
      if (b.gc != nullptr) std::copy_n(gc + i * row, layer.units, static_cast<T*>(b.gc) + n * layer.units);
      clear_rest<T>(layer, n, order.length[n], weight.k, b.gx);
      if (b.gsums != nullptr) clear_rest<T>(layer, n, order.length[n], weight.k, b.gsums);
    }
  }

 private:
  void multiply(index panel, const T* factors, index wide, index active, T* gh, index row) const {
    gemm_detail::PanelProduct<T> product = weight.product(panel, 0, active);
    product.tile.a = factors;
    product.tile.a_row = wide;
    product.tile.in = product.tile.out = gh + weight.column(panel);
    product.tile.in_row = product.tile.out_row = row;
    product.tile.beta = layer.cell == Cell::gru;
    gemm_detail::multiply_panel(weight.kernels, product);
  }

  void step(index n, index s, T* gh, T* gc, T* factor) const {
    const index t = layer.step(order.length[n], s);
    const index one = layer.place(n, t, layer.units), all = layer.place(n, t, weight.k);
    const auto of = [](const void* p, index at) { return p != nullptr ? static_cast<const T*>(p) + at : nullptr; };
    StepGradientArgs<T> args{};
    args.units = args.gate_step = layer.units;
    args.gy = of(b.gy, one);
    args.y = of(b.y, one);
    args.gates = of(b.gates, all);
    args.before = of(b.before, one);
    args.extra = of(b.extra, one);
    args.gh = gh;
    args.gc = gc;
    args.gx = static_cast<T*>(b.gx) + all;
    args.gsums = b.gsums != nullptr ? static_cast<T*>(b.gsums) + all : nullptr;
    args.factor = factor;
    kernels.gradient[static_cast<int>(layer.cell)](args);
  }
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
    const Layer layer = layer_of(options, shape, w, Array(), lengths);
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
