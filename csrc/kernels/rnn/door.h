// Recurrent layers at the door: checks, and what arrays become.
#pragma once

#include <initializer_list>
#include <vector>

#include "core/array.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/launch.h"
#include "core/packs.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/rnn/layer.h"
#include "kernels/rnn/walk.h"

namespace mlext::rnn_detail {

inline void check_lengths(const char* op, const Array& lengths, index sequences) {
  require_dtype(op, "lengths", lengths, DType::int64, "");
  require_shape(op, "lengths", lengths, {sequences}, " (one per sequence)");
}

inline void check_scale(const char* op, const char* name, const Array* scale, index rows) {
  if (scale == nullptr) refuse(op, name, "a scale for each weight of int8", "None");
  require_dtype(op, name, *scale, DType::float32, "");
  require_shape(op, name, *scale, {rows}, " (one per row of its weight)");
}

inline void check_layer(const char* op, const Array& x, const RecurrentWeights& w, const Array* lengths, Cell cell) {
  require_floating(op, "x", x);
  if (x.rank() != 3) refuse(op, "x", "3 dimensions (N, T, C)", "shape ", x.shape);
  const index gates = gates_of(cell);
  const std::string rows = gates > 1 ? text(gates, " H") : "H";
  const bool bytes = w.scale_ih != nullptr || w.scale_hh != nullptr;
  if (bytes) require_dtype(op, "x", x, DType::float32, " with weights of int8");
  const auto check_dtype = [&](const char* name, const Array& weight) {
    bytes ? require_dtype(op, name, weight, DType::int8, " with scales") : require_same_dtype(op, name, weight, "x", x);
  };
  check_dtype("weight_hh", *w.hh);
  const bool projects = w.hr != nullptr;
  if (w.hh->rank() != 2 || w.hh->shape[0] < 1 || w.hh->shape[0] % gates != 0 || w.hh->shape[1] < 1 ||
      (!projects && w.hh->shape[0] != gates * w.hh->shape[1]))
    refuse(op, "weight_hh", text("shape (", rows, projects ? ", P" : ", H", ") with at least one unit"), w.hh->shape);
  const index units = w.hh->shape[0] / gates;
  check_dtype("weight_ih", *w.ih);
  require_shape(op, "weight_ih", *w.ih, {w.hh->shape[0], x.shape[2]},
                " (rows as weight_hh has, columns as x has channels)");
  if (x.shape[1] < 1) refuse(op, "x", "at least one step", "shape ", x.shape);
  const auto check_bias = [&](const char* name, const Array* bias) {
    if (bias == nullptr) return;
    require_same_dtype(op, name, *bias, "x", x);
    require_shape(op, name, *bias, {w.hh->shape[0]}, " (one per row of weight_hh)");
  };
  if (projects) {
    check_dtype("weight_hr", *w.hr);
    require_shape(op, "weight_hr", *w.hr, {w.hh->shape[1], units}, " (a row per column of weight_hh)");
  }
  if (w.peep != nullptr) {
    require_same_dtype(op, "peepholes", *w.peep, "x", x);
    require_shape(op, "peepholes", *w.peep, {3 * units}, " (one per unit for each of i, f, o)");
  }
  check_bias("bias_ih", w.bias_ih);
  check_bias("bias_hh", w.bias_hh);
  if (bytes) {
    check_scale(op, "scale_ih", w.scale_ih, w.hh->shape[0]);
    check_scale(op, "scale_hh", w.scale_hh, w.hh->shape[0]);
  }
  if (bytes && projects) check_scale(op, "scale_hr", w.scale_hr, w.hh->shape[1]);
  if (lengths != nullptr) check_lengths(op, *lengths, x.shape[0]);
}

inline void check_state(const char* op, const char* name, const Array* state, const Array& x, const Dims& shape) {
  if (state == nullptr) return;
  require_same_dtype(op, name, *state, "x", x);
  require_shape(op, name, *state, shape, " (one per sequence)");
}

// ---- arrays that need not be there ----------------------------------------------------------------------------------

// Dense and of the dtype that is computed in.
inline Array prepared(const Array* a, DType dtype) { return a != nullptr ? dense(*a, dtype) : Array(); }

// The same, but steps and sequences may lie as they like.
inline Array in_rows(const Array* a, DType dtype) {
  return a != nullptr && a->dtype == dtype && a->strides[2] == 1 ? *a : prepared(a, dtype);
}

inline Array result(bool wanted, const Dims& shape, DType dtype, Device device) {
  return wanted ? Array::empty(shape, dtype, device) : Array();
}

inline void narrow(std::initializer_list<Array*> results, DType dtype) {
  for (Array* a : results) {
    if (a->buffer) *a = dense(*a, dtype);
  }
}

// A weight, which need not be there, and its scale, if its elements are bytes.
inline Matrix matrix_of(const Array& weight, const Array& scale = Array()) {
  if (weight.data == nullptr) return {};
  return {weight.data, pack_home(weight), weight.dtype, static_cast<const float*>(scale.data), weight.device};
}

// y (T, N, H) as the x of another layer.
inline Array steps_second(const Array& y) { return y.permuted({1, 0, 2}); }

// ---- launches of one call or of several ------------------------------------------------------------------------------

template <class... Ready>
auto listed(Ready... calls) {
  std::vector<std::common_type_t<Ready...>> list;
  list.reserve(sizeof...(calls));
  (list.push_back(std::move(calls)), ...);
  return list;
}

struct Arguments {
  std::vector<const Array*> reads, writes;
};

// What runs as one has the same sizes but for the steps.
inline void check_same(const char* op, const Layer& a, const Layer& b) {
  if (a.sequences != b.sequences || a.units != b.units || a.outputs != b.outputs || a.weight.dtype != b.weight.dtype)
    refuse(op, "weight_hh", "sizes and a dtype as in the other direction or layer", "others");
}

// Calls that are ready, as one launch; nothing to do: none.
template <class Ready, class Walk>
void launch_all(const char* op, const std::vector<Ready>& calls, Walk walk) {
  Arguments arguments;
  std::vector<decltype(Ready::run)> runs;
  Work work;
  for (const Ready& call : calls) {
    call.list(arguments);
    runs.push_back(call.run);
    check_same(op, runs[0].layer, call.run.layer);
    work.flops += call.work.flops;
    work.bytes += call.work.bytes;
  }
  if (runs[0].layer.sequences == 0) return;
  launch(op, work, arguments.reads, arguments.writes, [runs, walk] { walk(runs); });
}

template <class Ready, class Finish>
auto results(std::vector<Ready>& calls, Finish finish) {
  std::vector<decltype(Ready::out)> made;
  for (Ready& call : calls) {
    finish(call.out);
    made.push_back(std::move(call.out));
  }
  return made;
}

inline Layer layer_of(Device device, const RecurrentOptions& options, DType dtype, const Dims& y, const Matrix& weight,
                      const Matrix& projection, index units, const Array& peepholes, const Array* lengths) {
  return {device, dtype,      options.cell,   options.reverse,
          y[1],   y[0],       units,          y[2],
          weight, projection, peepholes.data, lengths != nullptr ? lengths->ptr<std::int64_t>() : nullptr};
}

}  // namespace mlext::rnn_detail
