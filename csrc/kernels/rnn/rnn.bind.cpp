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

Six six(const Recurrence& r) {
  const auto some = [&](const Array& a) { return or_nothing(a, r.y.dtype); };
  return {r.y, r.h, some(r.c), some(r.gates), some(r.before), some(r.extra)};
}

Six recurrent_door(std::string_view cell, const Array& x, const Array& weight_ih, const Array& weight_hh,
                   const Array* bias_ih, const Array* bias_hh, const Array* weight_hr, const Array* peepholes,
                   const Array* scale_ih, const Array* scale_hh, const Array* scale_hr, const Array* h, const Array* c,
                   const Array* lengths, bool reverse, bool saves) {
  const int i = cell_of(cell);
  const RecurrentWeights weights{&weight_ih, &weight_hh, bias_ih,  bias_hh, weight_hr,
                                 peepholes,  scale_ih,   scale_hh, scale_hr};
  return six(recurrent(kLayerNames[i], {x, weights, h, c, lengths, {static_cast<Cell>(i), reverse, saves}}));
}

using Five = std::tuple<Array, Array, Array, Array, Array>;

Five five(const RecurrentGradients& g) {
  const auto some = [&](const Array& a) { return or_nothing(a, g.x.dtype); };
  return {g.x, g.sums, g.h, some(g.c), some(g.projected)};
}

Array or_none(const Array* a) { return a != nullptr ? *a : Array(); }

Five recurrent_gradient_door(std::string_view cell, const Array* gy, const Array* gh, const Array* gc, const Array& y,
                             const Array* gates, const Array* before, const Array* extra, const Array& weight_hh,
                             const Array* weight_hr, const Array* peepholes, const Array* lengths, bool reverse) {
  const int i = cell_of(cell);
  const RecurrentWeights weights{nullptr, &weight_hh, nullptr, nullptr, weight_hr, peepholes};
  const Recurrence left{y, {}, {}, or_none(gates), or_none(before), or_none(extra)};
  return five(recurrent_gradient(kCellGradientNames[i],
                                 {gy, gh, gc, left, weights, lengths, {static_cast<Cell>(i), reverse, true}}));
}

// ---- both directions: each argument a list of two, that of the way from the first step on first ------------------------

// Two arrays of a list, either of which may be null, or must not.
struct Two {
  const Array* of[2];

  Two(const char* op, const char* name, const Arrays& list, bool needed = false) {
    if (list.size() != 2 || (needed && (list[0] == nullptr || list[1] == nullptr)))
      refuse(op, name, "two arrays, one for each direction", text(list.size(), " or None"));
    of[0] = list[0], of[1] = list[1];
  }
};

std::tuple<Six, Six> recurrent_both_door(std::string_view cell, const Arrays& x, const Arrays& weight_ih,
                                         const Arrays& weight_hh, const Arrays& bias_ih, const Arrays& bias_hh,
                                         const Arrays& weight_hr, const Arrays& peepholes, const Arrays& scale_ih,
                                         const Arrays& scale_hh, const Arrays& scale_hr, const Arrays& h,
                                         const Arrays& c, const Arrays& lengths, bool saves) {
  const int i = cell_of(cell);
  const char* op = kLayerNames[i];
  const Two xs(op, "x", x, true), ih(op, "weight_ih", weight_ih, true), hh(op, "weight_hh", weight_hh, true),
      b_ih(op, "bias_ih", bias_ih), b_hh(op, "bias_hh", bias_hh), hr(op, "weight_hr", weight_hr),
      peep(op, "peepholes", peepholes), s_ih(op, "scale_ih", scale_ih), s_hh(op, "scale_hh", scale_hh),
      s_hr(op, "scale_hr", scale_hr), hs(op, "h", h), cs(op, "c", c), ends(op, "lengths", lengths);
  const auto call = [&](int k) {
    const RecurrentWeights weights{ih.of[k],   hh.of[k],   b_ih.of[k], b_hh.of[k], hr.of[k],
                                   peep.of[k], s_ih.of[k], s_hh.of[k], s_hr.of[k]};
    return RecurrentCall{*xs.of[k], weights, hs.of[k], cs.of[k], ends.of[k], {static_cast<Cell>(i), k == 1, saves}};
  };
  const Recurrences both = recurrent_both(op, call(0), call(1));
  return {six(both[0]), six(both[1])};
}

std::tuple<Five, Five> recurrent_gradient_both_door(std::string_view cell, const Arrays& gy, const Arrays& gh,
                                                    const Arrays& gc, const Arrays& y, const Arrays& gates,
                                                    const Arrays& before, const Arrays& extra, const Arrays& weight_hh,
                                                    const Arrays& weight_hr, const Arrays& peepholes,
                                                    const Arrays& lengths) {
  const int i = cell_of(cell);
  const char* op = kCellGradientNames[i];
  const Two gys(op, "gy", gy), ghs(op, "gh", gh), gcs(op, "gc", gc), ys(op, "y", y, true), all(op, "gates", gates),
      hs(op, "before", before), more(op, "extra", extra), hh(op, "weight_hh", weight_hh, true),
      hr(op, "weight_hr", weight_hr), peep(op, "peepholes", peepholes), ends(op, "lengths", lengths);
  const auto call = [&](int k) {
    const RecurrentWeights weights{nullptr, hh.of[k], nullptr, nullptr, hr.of[k], peep.of[k]};
    const Recurrence left{*ys.of[k], {}, {}, or_none(all.of[k]), or_none(hs.of[k]), or_none(more.of[k])};
    return RecurrentGradientCall{
        gys.of[k], ghs.of[k], gcs.of[k], left, weights, ends.of[k], {static_cast<Cell>(i), k == 1, true}};
  };
  const BothGradients both = recurrent_gradient_both(op, call(0), call(1));
  return {five(both[0]), five(both[1])};
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
  door<&recurrent_both_door>(m, "recurrent_both",
                             {"cell", "x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peepholes",
                              "scale_ih", "scale_hh", "scale_hr", "h", "c", "lengths", "saves"},
                             "What recurrent gives, for both directions; arguments are lists of two.");
  door<&recurrent_gradient_both_door>(
      m, "recurrent_gradient_both",
      {"cell", "gy", "gh", "gc", "y", "gates", "before", "extra", "weight_hh", "weight_hr", "peepholes", "lengths"},
      "What recurrent_gradient gives, for both directions; arguments are lists of two.");
}

}  // namespace mlext
