#include <algorithm>

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
  return six(recurrent(kLayerNames[i], {x, {weights, h, c}, lengths, {static_cast<Cell>(i), reverse, saves}}));
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

// ---- several: each argument a list, an array or None for each direction or layer ----------------------------------------

struct Each {
  const char* op;
  std::size_t count;

  // The list, once it is as long as it has to be, and without None where one is needed.
  const Arrays& operator()(const char* name, const Arrays& list, bool needed = false) const {
    if (list.size() != count || (needed && std::find(list.begin(), list.end(), nullptr) != list.end()))
      refuse(op, name, text(count, " arrays, one for each direction or layer"), text(list.size(), " or None"));
    return list;
  }
};

std::vector<RecurrentLayer> layers_of(const Each& each, const Arrays& weight_ih, const Arrays& weight_hh,
                                      const Arrays& bias_ih, const Arrays& bias_hh, const Arrays& weight_hr,
                                      const Arrays& peepholes, const Arrays& scale_ih, const Arrays& scale_hh,
                                      const Arrays& scale_hr, const Arrays& h, const Arrays& c) {
  const Arrays &ih = each("weight_ih", weight_ih, true), &hh = each("weight_hh", weight_hh, true),
               &b_ih = each("bias_ih", bias_ih), &b_hh = each("bias_hh", bias_hh), &hr = each("weight_hr", weight_hr),
               &peep = each("peepholes", peepholes), &s_ih = each("scale_ih", scale_ih),
               &s_hh = each("scale_hh", scale_hh), &s_hr = each("scale_hr", scale_hr), &hs = each("h", h),
               &cs = each("c", c);
  std::vector<RecurrentLayer> layers;
  for (std::size_t k = 0; k < each.count; ++k) {
    layers.push_back({{ih[k], hh[k], b_ih[k], b_hh[k], hr[k], peep[k], s_ih[k], s_hh[k], s_hr[k]}, hs[k], cs[k]});
  }
  return layers;
}

std::tuple<Six, Six> recurrent_both_door(std::string_view cell, const Arrays& x, const Arrays& weight_ih,
                                         const Arrays& weight_hh, const Arrays& bias_ih, const Arrays& bias_hh,
                                         const Arrays& weight_hr, const Arrays& peepholes, const Arrays& scale_ih,
                                         const Arrays& scale_hh, const Arrays& scale_hr, const Arrays& h,
                                         const Arrays& c, const Arrays& lengths, bool saves) {
  const int i = cell_of(cell);
  const Each each{kLayerNames[i], 2};
  const auto layers =
      layers_of(each, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, peepholes, scale_ih, scale_hh, scale_hr, h, c);
  const Arrays &xs = each("x", x, true), &ends = each("lengths", lengths);
  const auto call = [&](std::size_t k) {
    return RecurrentCall{*xs[k], layers[k], ends[k], {static_cast<Cell>(i), k == 1, saves}};
  };
  const Recurrences both = recurrent_both(each.op, call(0), call(1));
  return {six(both[0]), six(both[1])};
}

std::vector<Six> recurrent_stack_door(std::string_view cell, const Array& x, const Arrays& weight_ih,
                                      const Arrays& weight_hh, const Arrays& bias_ih, const Arrays& bias_hh,
                                      const Arrays& weight_hr, const Arrays& peepholes, const Arrays& scale_ih,
                                      const Arrays& scale_hh, const Arrays& scale_hr, const Arrays& h, const Arrays& c,
                                      const Array* lengths, bool reverse, bool saves) {
  const int i = cell_of(cell);
  const Each each{kLayerNames[i], weight_hh.size()};
  const auto layers =
      layers_of(each, weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, peepholes, scale_ih, scale_hh, scale_hr, h, c);
  std::vector<Six> made;
  for (const Recurrence& r : recurrent_stack(each.op, x, layers, lengths, {static_cast<Cell>(i), reverse, saves}))
    made.push_back(six(r));
  return made;
}

std::tuple<Five, Five> recurrent_gradient_both_door(std::string_view cell, const Arrays& gy, const Arrays& gh,
                                                    const Arrays& gc, const Arrays& y, const Arrays& gates,
                                                    const Arrays& before, const Arrays& extra, const Arrays& weight_hh,
                                                    const Arrays& weight_hr, const Arrays& peepholes,
                                                    const Arrays& lengths) {
  const int i = cell_of(cell);
  const char* op = kCellGradientNames[i];
  const Each each{op, 2};
  const Arrays &gys = each("gy", gy), &ghs = each("gh", gh), &gcs = each("gc", gc), &ys = each("y", y, true),
               &all = each("gates", gates), &hs = each("before", before), &more = each("extra", extra),
               &hh = each("weight_hh", weight_hh, true), &hr = each("weight_hr", weight_hr),
               &peep = each("peepholes", peepholes), &ends = each("lengths", lengths);
  const auto call = [&](std::size_t k) {
    const RecurrentWeights weights{nullptr, hh[k], nullptr, nullptr, hr[k], peep[k]};
    const Recurrence left{*ys[k], {}, {}, or_none(all[k]), or_none(hs[k]), or_none(more[k])};
    return RecurrentGradientCall{gys[k], ghs[k], gcs[k], left, weights, ends[k], {static_cast<Cell>(i), k == 1, true}};
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
  door<&recurrent_stack_door>(m, "recurrent_stack",
                              {"cell", "x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "peepholes",
                               "scale_ih", "scale_hh", "scale_hr", "h", "c", "lengths", "reverse", "saves"},
                              "What recurrent gives, for each layer of a stack; arguments of layers are lists.");
  door<&recurrent_gradient_both_door>(
      m, "recurrent_gradient_both",
      {"cell", "gy", "gh", "gc", "y", "gates", "before", "extra", "weight_hh", "weight_hr", "peepholes", "lengths"},
      "What recurrent_gradient gives, for both directions; arguments are lists of two.");
}

}  // namespace mlext
