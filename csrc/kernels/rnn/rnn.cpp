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

Recurrence recurrent(const char* op, const Array& x, const RecurrentWeights& weights, const Array* h, const Array* c,
                     const Array* lengths, const RecurrentOptions& options) {
  using namespace rnn_detail;
  check_layer(op, x, weights, lengths, options.cell);
  const index n = x.shape[0], steps = x.shape[1], outputs = weights.hh->shape[1], gates = gates_of(options.cell),
              units = weights.hh->shape[0] / gates;
  const DType dtype = accumulate_dtype(x.dtype);
  const Dims all{steps, n, outputs}, last{n, outputs};
  check_state(op, "h", h, x, last);
  check_state(op, "c", c, x, {n, units});
  const auto make = [&](bool wanted, const Dims& shape) { return result(wanted, shape, dtype, x.device); };
  const bool gated = gates > 1;
  Recurrence out{make(true, all),
                 make(true, last),
                 make(options.cell == Cell::lstm, {n, units}),
                 make(options.saves && gated, {steps, n, gates * units}),
                 make(options.saves, all),
                 make(options.saves && gated, {steps, n, units})};
  const Array inputs = x.dtype == dtype && x.strides[2] == 1 ? x : dense(x, dtype), w_ih = dense(*weights.ih),
              w_hh = dense(*weights.hh), b_ih = prepared(weights.bias_ih, dtype),
              b_hh = prepared(weights.bias_hh, dtype), h_first = prepared(h, dtype), c_first = prepared(c, dtype),
              w_hr = prepared(weights.hr, w_hh.dtype), peep = prepared(weights.peep, dtype),
              s_ih = prepared(weights.scale_ih, dtype), s_hh = prepared(weights.scale_hh, dtype),
              s_hr = prepared(weights.scale_hr, dtype);
  if (last.count() > 0) {
    const Layer layer =
        layer_of(x.device, options, dtype, all, matrix_of(w_hh, s_hh), matrix_of(w_hr, s_hr), units, peep, lengths);
    const Forward f{matrix_of(w_ih, s_ih), inputs.data,     b_ih.data,     b_hh.data,
                    h_first.data,          c_first.data,    x.shape[2],    inputs.strides[0],
                    inputs.strides[1],     out.y.data,      out.h.data,    out.c.data,
                    out.gates.data,        out.before.data, out.extra.data};
    const double of_x = 2.0 * static_cast<double>(n * steps) * static_cast<double>(gates * units * x.shape[2]);
    launch(op,
           {of_x + layer.flops(),
            static_cast<double>(inputs.nbytes() + w_ih.nbytes() + w_hh.nbytes() + out.y.nbytes() + out.gates.nbytes())},
           {&inputs, &w_ih, &w_hh, given(b_ih), given(b_hh), given(h_first), given(c_first), given(w_hr), given(peep),
            given(s_ih), given(s_hh), given(s_hr), lengths},
           {&out.y, &out.h, given(out.c), given(out.gates), given(out.before), given(out.extra)},
           [layer, f] { walk<ForwardWalk>(gemm_kernels(layer.device), recurrent_kernels(layer.device), layer, f); });
  }
  narrow({&out.y, &out.h, &out.c}, x.dtype);
  return out;
}

}  // namespace mlext
