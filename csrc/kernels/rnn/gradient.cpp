// The way back: for each step, the last one first, the gradients of the gates, and their product with the recurrent weight.
#include <optional>

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
  const void* gy;
  index gy_step, gy_sequence;  // strides
  const void *gh_last, *gc_last, *y, *gates, *before, *extra;
  void *gx, *gsums, *gh, *gc, *gprojected;  // gsums null: it is gx
};

template <class T>
class BackwardWalk {
 public:
  BackwardWalk(const GemmTypeKernels<T>& gemm, const RecurrentTypeKernels<T>& kernels, const Layer& layer,
               const Order& order, index parts, const Backward& b)
      : kernels_(kernels),
        layer_(layer),
        order_(order),
        parts_(parts),
        b_(b),
        weight_(Weight<T>{gemm, layer.fed() * layer.units, layer.outputs, 1, layer.outputs, 1}.pack(layer.weight,
                                                                                                    kSlotPanels)) {
    const Matrix second = layer.second();
    if (second.data != nullptr)
      second_.emplace(Weight<T>{gemm, layer.outputs, layer.units, 1, layer.units, 1}.pack(second, kSlotSecond));
  }

  // Sequences first to last of the order.
  void run(index first, index count) const {
    const Chunk chunk(*this, first, count);
    for (index i = 0; i < count; ++i) {
      load_state(chunk.gh + i * chunk.row, b_.gh_last, sequence(first + i), layer_.outputs);
      load_state(chunk.gc + i * chunk.row, b_.gc_last, sequence(first + i), layer_.units);
    }
    index active = 0;
    for (index s = order_.length[sequence(first)] - 1; s >= 0; --s) {
      while (active < count && order_.length[sequence(first + active)] > s) ++active;
      poll_interrupt();
      step(chunk, s, active);
    }
    const index all = layer_.gates() * layer_.units;
    for (index i = 0; i < count; ++i) {
      const index n = sequence(first + i), length = order_.length[n];
      std::copy_n(chunk.gh + i * chunk.row, layer_.outputs, static_cast<T*>(b_.gh) + n * layer_.outputs);
      if (b_.gc != nullptr)
        std::copy_n(chunk.gc + i * chunk.row, layer_.units, static_cast<T*>(b_.gc) + n * layer_.units);
      clear_rest<T>(layer_, n, length, all, b_.gx);
      clear_rest<T>(layer_, n, length, all, b_.gsums);
      clear_rest<T>(layer_, n, length, layer_.outputs, b_.gprojected);
    }
  }

 private:
  // Sequences that walk together, and their workspace.
  struct Chunk {
    index first, row, wide;
    T *gh, *gc, *mid, *factors;  // mid: the result of the second product

    Chunk(const BackwardWalk& way, index begin, index count)
        : first(begin),
          row(state_row(way.weight_.kernels, std::max(way.layer_.units, way.layer_.outputs))),
          wide(state_row(way.weight_.kernels, way.layer_.gates() * way.layer_.units)),
          gh(scratch<T>(kSlotState, 3 * count * row)),
          gc(gh + count * row),
          mid(gc + count * row),
          factors(scratch<T>(kSlotFactors, count * wide)) {}
  };

  index sequence(index i) const { return order_.sequence[i]; }

  void step(const Chunk& chunk, index s, index active) const {
    const bool back = s % 2 != 0;
    if (layer_.projects()) {
      for (index i = 0; i < active; ++i) project(chunk, s, i);
      second_->multiply_all(kernels_, parts_, false, {chunk.gh, chunk.row}, {chunk.mid, chunk.row}, active, back);
    }
    const auto each = [&](auto kernel) {
      parallel_for(active, ceil_div(active, parts_), [&](index begin, index end) {
        for (index i = begin; i < end; ++i) kernel(arguments(chunk, s, i));
      });
    };
    each(kernels_.gradient[static_cast<int>(layer_.cell)]);
    if (layer_.cell == Cell::gru_before) {
      second_->multiply_all(kernels_, parts_, false, {chunk.factors + 2 * layer_.units, chunk.wide},
                            {chunk.mid, chunk.row}, active, back);
      each(kernels_.reset_gradient);
    }
    weight_.multiply_all(kernels_, parts_, is_gru(layer_.cell), {chunk.factors, chunk.wide}, {chunk.gh, chunk.row},
                         active, back);
  }

  // The gradient of a projected h, all of it, which is also left for the weight's.
  void project(const Chunk& chunk, index s, index i) const {
    const index n = sequence(chunk.first + i), t = layer_.step(order_.length[n], s);
    T* gh = chunk.gh + i * chunk.row;
    const T* gy = gy_of(n, t);
    for (index u = 0; u < layer_.outputs && gy != nullptr; ++u) gh[u] += gy[u];
    std::copy_n(gh, layer_.outputs, static_cast<T*>(b_.gprojected) + layer_.place(n, t, layer_.outputs));
  }

  const T* gy_of(index n, index t) const {
    return b_.gy != nullptr ? static_cast<const T*>(b_.gy) + n * b_.gy_sequence + t * b_.gy_step : nullptr;
  }

  StepGradientArgs<T> arguments(const Chunk& chunk, index s, index i) const {
    const index n = sequence(chunk.first + i), t = layer_.step(order_.length[n], s);
    const index one = layer_.place(n, t, layer_.units), all = one * layer_.gates();
    const auto of = [](const void* p, index at) { return p != nullptr ? static_cast<const T*>(p) + at : nullptr; };
    const bool projects = layer_.projects();
    StepGradientArgs<T> args{};
    args.units = args.gate_step = layer_.units;
    args.gy = projects ? nullptr : gy_of(n, t);
    args.y = of(b_.y, one);
    args.gates = of(b_.gates, all);
    args.before = of(b_.before, one);
    args.extra = of(b_.extra, one);
    args.peepholes = static_cast<const T*>(layer_.peepholes);
    args.gh = (projects ? chunk.mid : chunk.gh) + i * chunk.row;
    args.gc = chunk.gc + i * chunk.row;
    args.gx = static_cast<T*>(b_.gx) + all;
    args.gsums = b_.gsums != nullptr ? static_cast<T*>(b_.gsums) + all : nullptr;
    args.factor = chunk.factors + i * chunk.wide;
    args.greset = chunk.mid + i * chunk.row;
    return args;
  }

  const RecurrentTypeKernels<T>& kernels_;
  const Layer& layer_;
  const Order& order_;
  const index parts_;  // of a step, each the work of one thread
  const Backward& b_;
  const Weight<T> weight_;
  std::optional<Weight<T>> second_;  // of the projection, or of r h
};

void check_gradient(const char* op, const RecurrentGradientCall& call, index units) {
  const Array &weight = *call.weights.hh, &y = call.left.y;
  const index steps = y.shape[0], n = y.shape[1], outputs = y.shape[2], gates = gates_of(call.options.cell);
  const auto check = [&](const char* name, const Array* g, const Dims& expected) {
    if (g == nullptr) return;
    require_same_dtype(op, name, *g, "weight_hh", weight);
    require_shape(op, name, *g, expected, "");
  };
  require_shape(op, "weight_hh", weight, {gates * units, outputs}, "");
  check("gy", call.gy, y.shape);
  check("gh", call.gh, {n, outputs});
  check("gc", call.gc, {n, units});
  const auto check_left = [&](const char* name, const Array& a, const Dims& expected) {
    require_dtype(op, name, a, accumulate_dtype(weight.dtype), " (as the layer left it)");
    require_shape(op, name, a, expected, " (as the layer left it)");
  };
  require_same_dtype(op, "y", y, "weight_hh", weight);
  if (gates > 1) {
    check_left("gates", call.left.gates, {steps, n, gates * units});
    check_left("before", call.left.before, y.shape);
    check_left("extra", call.left.extra, {steps, n, units});
  }
  if (call.lengths != nullptr) check_lengths(op, *call.lengths, n);
}

// A call whose arguments were checked: what it reads, as the kernels want it, and what it will leave.
struct Ready {
  RecurrentGradients out;
  Array gy, gh, gc, w, y, gates, before, extra, w_hr, peep;
  const Array* lengths;
  Run<Backward> run{};
  Work work{};

  void list(Arguments& to) const {
    to.reads.insert(to.reads.end(), {given(gy), given(gh), given(gc), &w, &y, given(gates), given(before), given(extra),
                                     given(w_hr), given(peep), lengths});
    to.writes.insert(to.writes.end(), {&out.x, given(out.sums), &out.h, given(out.c), given(out.projected)});
  }
};

Ready ready(const char* op, const RecurrentGradientCall& call) {
  const auto& [gy, gh, gc, left, weights, lengths, options] = call;
  if (left.y.rank() != 3) refuse(op, "y", "3 dimensions (T, N, H)", "shape ", left.y.shape);
  const Array& weight = *weights.hh;
  const Dims shape = left.y.shape;
  const index steps = shape[0], n = shape[1], outputs = shape[2], gates = gates_of(options.cell);
  const index units = weights.hr != nullptr ? weights.hr->shape[1] : outputs;
  const DType dtype = accumulate_dtype(weight.dtype);
  check_gradient(op, call, units);
  const Dims wide{steps, n, gates * units}, last{n, outputs};
  const auto make = [&](bool wanted, const Dims& of) { return result(wanted, of, dtype, weight.device); };
  Ready r{{make(true, wide), make(options.cell == Cell::gru, wide), make(true, last),
           make(options.cell == Cell::lstm, {n, units}), make(weights.hr != nullptr, shape)},
          in_rows(gy, dtype),
          prepared(gh, dtype),
          prepared(gc, dtype),
          dense(weight),
          dense(left.y, dtype),
          left.gates,
          left.before,
          left.extra,
          prepared(weights.hr, weight.dtype),
          prepared(weights.peep, dtype),
          lengths};
  const Layer layer =
      layer_of(weight.device, options, dtype, shape, matrix_of(r.w), matrix_of(r.w_hr), units, r.peep, lengths);
  r.run = {layer,
           {r.gy.data, r.gy.strides[0], r.gy.strides[1], r.gh.data, r.gc.data, r.y.data, r.gates.data, r.before.data,
            r.extra.data, r.out.x.data, r.out.sums.data, r.out.h.data, r.out.c.data, r.out.projected.data}};
  r.work = {layer.flops(), static_cast<double>(r.gates.nbytes() + r.w.nbytes() + r.out.x.nbytes())};
  return r;
}

BothGradients run_all(const char* op, std::vector<Ready> calls, const RecurrentGradientCall& call) {
  launch_all(op, calls, [](const std::vector<Run<Backward>>& runs) {
    const Device device = runs[0].layer.device;
    walk<BackwardWalk>(gemm_kernels(device), recurrent_kernels(device), runs);
  });
  return results(calls, [&](RecurrentGradients& out) {
    narrow({&out.x, &out.sums, &out.h, &out.c, &out.projected}, call.weights.hh->dtype);
    if (call.options.cell != Cell::gru) out.sums = out.x;
  });
}

}  // namespace
}  // namespace rnn_detail

RecurrentGradients recurrent_gradient(const char* op, const RecurrentGradientCall& call) {
  return rnn_detail::run_all(op, rnn_detail::listed(rnn_detail::ready(op, call)), call)[0];
}

BothGradients recurrent_gradient_both(const char* op, const RecurrentGradientCall& there,
                                      const RecurrentGradientCall& back) {
  using namespace rnn_detail;
  return run_all(op, listed(ready(op, there), ready(op, back)), there);
}

}  // namespace mlext
