#include "kernels/rnn/layer.h"

#include "bind/door.h"
#include "bind/families.h"

namespace mlext {
namespace {

// What callers, errors and profiles call a cell.
constexpr const char* kCellNames[kCells] = {"rnn_tanh", "rnn_relu", "lstm", "gru", "gru_before"};
constexpr const char* kCellGradientNames[kCells] = {"rnn_gradient", "rnn_gradient", "lstm_gradient", "gru_gradient",
                                                    "gru_gradient"};
constexpr const char* kLayerNames[kCells] = {"rnn", "rnn", "lstm", "gru", "gru"};

int cell_of(std::string_view name) {
  for (int i = 0; i < kCells; ++i) {
    if (name == kCellNames[i]) return i;
  }
  throw ValueError(
      text("recurrent: argument 'cell': expected one of rnn_tanh, rnn_relu, lstm, gru, gru_before, got '", name, "'"));
}

using Six = std::tuple<Array, Array, Array, Array, Array, Array>;

Six recurrent_door(std::string_view cell, const Array& x, const Array& weight_ih, const Array& weight_hh,
                   const Array* bias_ih, const Array* bias_hh, const Array* weight_hr, const Array* peepholes,
                   const Array* scale_ih, const Array* scale_hh, const Array* scale_hr, const Array* h, const Array* c,
                   const Array* lengths, bool reverse, bool saves) {
  const int i = cell_of(cell);
  const RecurrentWeights weights{&weight_ih, &weight_hh, bias_ih,  bias_hh, weight_hr,
                                 peepholes,  scale_ih,   scale_hh, scale_hr};
  const Recurrence r = recurrent(kLayerNames[i], x, weights, h, c, lengths, {static_cast<Cell>(i), reverse, saves});
  const auto some = [&](const Array& a) { return or_nothing(a, x.dtype); };
  return {r.y, r.h, some(r.c), some(r.gates), some(r.before), some(r.extra)};
}

using Five = std::tuple<Array, Array, Array, Array, Array>;

Five recurrent_gradient_door(std::string_view cell, const Array* gy, const Array* gh, const Array* gc, const Array& y,
                             const Array* gates, const Array* before, const Array* extra, const Array& weight_hh,
                             const Array* weight_hr, const Array* peepholes, const Array* lengths, bool reverse) {
  const int i = cell_of(cell);
  Recurrence left;
  left.y = y;
  if (gates != nullptr) left.gates = *gates;
  if (before != nullptr) left.before = *before;
  if (extra != nullptr) left.extra = *extra;
  const RecurrentWeights weights{nullptr, &weight_hh, nullptr, nullptr, weight_hr, peepholes};
  const RecurrentGradients g = recurrent_gradient(kCellGradientNames[i], gy, gh, gc, left, weights, lengths,
                                                  {static_cast<Cell>(i), reverse, true});
  const auto some = [&](const Array& a) { return or_nothing(a, y.dtype); };
  return {g.x, g.sums, g.h, some(g.c), some(g.projected)};
}

}  // namespace

void bind_rnn(py::module_& m) {
  door<&recurrent_door>(m, "recurrent",
                        {"cell", "x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peepholes",
                         "scale_ih", "scale_hh", "scale_hr", "h", "c", "lengths", "reverse", "saves"},
                        "(y, h, c, gates, before, extra) of a layer in one direction.");
  door<&recurrent_gradient_door>(m, "recurrent_gradient",
                                 {"cell", "gy", "gh", "gc", "y", "gates", "before", "extra", "weight_hh", "weight_hr",
                                  "peepholes", "lengths", "reverse"},
                                 "(gx, gsums, gh, gc, gprojected) of a layer in one direction.");
}

}  // namespace mlext
