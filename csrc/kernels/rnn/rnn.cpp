// The way there: for each step the recurrent product, panel by panel, and what the cell makes of it.
#include "kernels/rnn/layer.h"

#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "kernels/rnn/door.h"
#include "kernels/rnn/walk.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH(RecurrentKernels, recurrent_kernels)

namespace rnn_detail {
namespace {

// Memory of a call.
struct Forward {
  void* x;
  const void *h_first, *c_first;
  void *y, *h, *c, *before, *extra;
  bool saves;
};

template <class T>
struct ForwardWalk {
  const Layer& layer;
  const Forward& f;
  const RecurrentTypeKernels<T>& kernels;
  const Weight<T>& weight;
  const Order& order;

  static Weight<T> weight_of(const GemmTypeKernels<T>& gemm, const Layer& layer) {
    return {gemm, layer.units, layer.units, layer.gates(), 1, layer.units};
  }

  // Sequences first to last of the order.
  void run(index first, index count) const {
    const index row = state_row(weight.kernels, layer.units), width = weight.width(0), gates = layer.gates();
    T* state = scratch<T>(kSlotState, 3 * count * row);
    T* sums = scratch<T>(kSlotFactors, gates * count * width);
    T *h = state, *next = h + count * row, *c = next + count * row;
    for (index i = 0; i < count; ++i) {
      load_state(h + i * row, f.h_first, order.sequence[first + i], layer.units);
      if (layer.cell == Cell::lstm) load_state(c + i * row, f.c_first, order.sequence[first + i], layer.units);
      if (order.length[order.sequence[first + i]] == 0) leave(order.sequence[first + i], h + i * row, c + i * row);
    }
    index active = count;
    for (index s = 0;; ++s) {
      while (active > 0 && order.length[order.sequence[first + active - 1]] <= s) --active;
      if (active == 0) break;
      poll_interrupt();
      for (index panel = 0; panel < weight.panels.count; ++panel) {
        multiply(panel, h, row, active, sums, count * width);
        for (index i = 0; i < active; ++i)
          step(order.sequence[first + i], s, panel, sums + i * width, count * width, h + i * row, c + i * row,
               next + i * row);
      }
      std::swap(h, next);
      for (index i = 0; i < active; ++i) {
        const index n = order.sequence[first + i];
        if (order.length[n] == s + 1) leave(n, h + i * row, c + i * row);
      }
    }
    for (index i = 0; i < count; ++i) {
      const index n = order.sequence[first + i];
      clear_rest<T>(layer, n, order.length[n], layer.units, f.y);
      if (f.before != nullptr) clear_rest<T>(layer, n, order.length[n], layer.units, f.before);
    }
  }

 private:
  void multiply(index panel, const T* h, index row, index active, T* sums, index sum_step) const {
    for (index gate = 0; gate < layer.gates(); ++gate) {
      gemm_detail::PanelProduct<T> product = weight.product(panel, gate, active);
      product.tile.a = h;
      product.tile.a_row = row;
      product.tile.in = product.tile.out = sums + gate * sum_step;
      product.tile.in_row = product.tile.out_row = weight.width(0);
      if (layer.bias != nullptr)
        product.tile.bias = static_cast<const T*>(layer.bias) + gate * layer.units + weight.column(panel);
      gemm_detail::multiply_panel(weight.kernels, product);
    }
  }

  void step(index n, index s, index panel, const T* sums, index sum_step, const T* h, T* c, T* next) const {
    const index t = layer.step(order.length[n], s), u = weight.column(panel);
    const index one = layer.place(n, t, layer.units) + u, all = layer.place(n, t, layer.gates() * layer.units) + u;
    StepArgs<T> args{};
    args.units = weight.cols(panel);
    args.gate_step = layer.units;
    args.sum_step = sum_step;
    args.sums = sums;
    args.x = static_cast<const T*>(f.x) + all;
    args.h_before = h + u;
    args.c_before = args.c = c + u;
    args.h = next + u;
    args.y = static_cast<T*>(f.y) + one;
    if (f.saves) {
      args.gates = layer.gates() > 1 ? static_cast<T*>(f.x) + all : nullptr;
      args.before = static_cast<T*>(f.before) + one;
      args.extra = f.extra != nullptr ? static_cast<T*>(f.extra) + one : nullptr;
    }
    kernels.step[static_cast<int>(layer.cell)](args);
  }

  void leave(index n, const T* h, const T* c) const {
    std::copy_n(h, layer.units, static_cast<T*>(f.h) + n * layer.units);
    if (f.c != nullptr) std::copy_n(c, layer.units, static_cast<T*>(f.c) + n * layer.units);
  }
};

}  // namespace
}  // namespace rnn_detail

Recurrence recurrent(const char* op, const Array& x, const Array& weight, const Array* bias, const Array* h,
                     const Array* c, const Array* lengths, const RecurrentOptions& options) {
  using namespace rnn_detail;
  check_layer(op, x, weight, bias, lengths, options.cell);
  const index steps = x.shape[0], n = x.shape[1], units = weight.shape[1];
  const DType dtype = accumulate_dtype(x.dtype);
  check_state(op, "h", h, x, {n, units});
  check_state(op, "c", c, x, {n, units});
  const bool cells = options.cell == Cell::lstm;
  const Dims all{steps, n, units}, last{n, units};
  const auto make = [&](bool wanted, const Dims& shape) { return result(wanted, shape, dtype, x.device); };
  Recurrence out;
  out.y = make(true, all);
  out.h = make(true, last);
  out.c = make(cells, last);
  out.before = make(options.saves, all);
  out.extra = make(options.saves && gates_of(options.cell) > 1, all);
  const Array inputs = dense(x, dtype), w = dense(weight, dtype), b = prepared(bias, dtype),
              h_first = prepared(h, dtype), c_first = prepared(c, dtype);
  if (options.saves) out.gates = inputs;
  if (last.count() > 0) {
    const Layer layer = layer_of(options, all, w, b, lengths);
    const Forward f{inputs.data, h_first.data,    c_first.data,   out.y.data,   out.h.data,
                    out.c.data,  out.before.data, out.extra.data, options.saves};
    launch(op, {layer.flops(), static_cast<double>(inputs.nbytes() + w.nbytes() + out.y.nbytes())},
           {&inputs, &w, given(b), given(h_first), given(c_first), lengths},
           {&out.y, &out.h, given(out.c), given(out.before), given(out.extra), given(out.gates)},
           [layer, f] { walk<ForwardWalk>(gemm_kernels(layer.device), recurrent_kernels(layer.device), layer, f); });
  }
  narrow({&out.y, &out.h, &out.c}, x.dtype);
  return out;
}

}  // namespace mlext
