// A layer in one direction: what comes in, what it leaves, and its launch. forward.h has the steps.
#include "kernels/rnn/layer.h"

#include "core/dtype.h"
#include "core/isa.h"
#include "core/launch.h"
#include "kernels/rnn/door.h"
#include "kernels/rnn/forward.h"

namespace mlext {

MLEXT_DISPATCH(GemmKernels, gemm_kernels)
MLEXT_DISPATCH(RecurrentKernels, recurrent_kernels)

namespace rnn_detail {
namespace {

// A call whose arguments were checked: what it reads, as the kernels want it, and what it will leave.
struct Ready {
  Recurrence out;
  Array x, w_ih, w_hh, b_ih, b_hh, h, c, w_hr, peep, s_ih, s_hh, s_hr;
  const Array* lengths;
  Run<Forward> run{};
  Work work{};

  void list(Arguments& to) const {
    to.reads.insert(to.reads.end(), {&x, &w_ih, &w_hh, given(b_ih), given(b_hh), given(h), given(c), given(w_hr),
                                     given(peep), given(s_ih), given(s_hh), given(s_hr), lengths});
    to.writes.insert(to.writes.end(),
                     {&out.y, &out.h, given(out.c), given(out.gates), given(out.before), given(out.extra)});
  }
};

Ready ready(const char* op, const RecurrentCall& call) {
  const auto& [x, given, lengths, options] = call;
  const auto& [w, h, c] = given;
  check_layer(op, x, w, lengths, options.cell);
  const index n = x.shape[0], steps = x.shape[1], outputs = w.hh->shape[1], gates = gates_of(options.cell),
              units = w.hh->shape[0] / gates;
  const DType dtype = accumulate_dtype(x.dtype);
  const Dims all{steps, n, outputs}, last{n, outputs};
  check_state(op, "h", h, x, last);
  check_state(op, "c", c, x, {n, units});
  const auto make = [&, &x = x](bool wanted, const Dims& shape) { return result(wanted, shape, dtype, x.device); };
  const bool gated = gates > 1;
  Ready r{{make(true, all), make(true, last), make(options.cell == Cell::lstm, {n, units}),
           make(options.saves && gated, {steps, n, gates * units}), make(options.saves, all),
           make(options.saves && gated, {steps, n, units})},
          in_rows(&x, dtype),
          dense(*w.ih),
          dense(*w.hh),
          prepared(w.bias_ih, dtype),
          prepared(w.bias_hh, dtype),
          prepared(h, dtype),
          prepared(c, dtype),
          prepared(w.hr, w.hh->dtype),
          prepared(w.peep, dtype),
          prepared(w.scale_ih, dtype),
          prepared(w.scale_hh, dtype),
          prepared(w.scale_hr, dtype),
          lengths};
  const Layer layer = layer_of(x.device, options, dtype, all, matrix_of(r.w_hh, r.s_hh), matrix_of(r.w_hr, r.s_hr),
                               units, r.peep, lengths);
  const Recurrence& out = r.out;
  r.run = {
      layer,
      {matrix_of(r.w_ih, r.s_ih), r.x.data, r.b_ih.data, r.b_hh.data, r.h.data, r.c.data, x.shape[2], r.x.strides[0],
       r.x.strides[1], out.y.data, out.h.data, out.c.data, out.gates.data, out.before.data, out.extra.data}};
  const double of_x = 2.0 * static_cast<double>(n * steps) * static_cast<double>(gates * units * x.shape[2]);
  r.work = {of_x + layer.flops(), static_cast<double>(r.x.nbytes() + r.w_ih.nbytes() + r.w_hh.nbytes() +
                                                      out.y.nbytes() + out.gates.nbytes())};
  return r;
}

Recurrences run_all(const char* op, std::vector<Ready> calls, DType dtype) {
  launch_all(op, calls, [](const std::vector<Run<Forward>>& runs) {
    const Device device = runs[0].layer.device;
    walk<ForwardWalk>(gemm_kernels(device), recurrent_kernels(device), runs);
  });
  return results(calls, [&](Recurrence& out) { narrow({&out.y, &out.h, &out.c}, dtype); });
}

}  // namespace
}  // namespace rnn_detail

Recurrence recurrent(const char* op, const RecurrentCall& call) {
  return rnn_detail::run_all(op, rnn_detail::listed(rnn_detail::ready(op, call)), call.x.dtype)[0];
}

Recurrences recurrent_both(const char* op, const RecurrentCall& there, const RecurrentCall& back) {
  using namespace rnn_detail;
  return run_all(op, listed(ready(op, there), ready(op, back)), there.x.dtype);
}

Recurrences recurrent_stack(const char* op, const Array& x, const std::vector<RecurrentLayer>& layers,
                            const Array* lengths, const RecurrentOptions& options) {
  using namespace rnn_detail;
  if (is_half(x.dtype)) {  // a layer reads what the one before it made in float32 and then rounded
    Recurrences made;
    for (const RecurrentLayer& layer : layers) {
      const Array from = made.empty() ? x : steps_second(made.back().y);
      made.push_back(recurrent(op, {from, layer, lengths, options}));
    }
    return made;
  }
  std::vector<Ready> calls;
  for (const RecurrentLayer& layer : layers) {
    const Array from = calls.empty() ? x : steps_second(calls.back().out.y);
    calls.push_back(ready(op, {from, layer, lengths, options}));
  }
  launch_all(op, calls, [](const std::vector<Run<Forward>>& runs) {
    const Device device = runs[0].layer.device;
    walk_stack<ForwardWalk>(gemm_kernels(device), recurrent_kernels(device), runs);
  });
  return results(calls, [](Recurrence&) {});
}

}  // namespace mlext
