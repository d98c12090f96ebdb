// Recurrent layers at the door: checks, and what arrays become.
#pragma once

#include <initializer_list>

#include "core/array.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/packs.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/rnn/layer.h"
#include "kernels/rnn/walk.h"

namespace mlext::rnn_detail {

inline void check_lengths(const char* op, const Array& lengths, index sequences) {
  require_dtype(op, "lengths", lengths, DType::int64, "");
  require_shape(op, "lengths", lengths, {sequences}, " (one per sequence)");
}

inline void check_layer(const char* op, const Array& x, const Array& weight, const Array* bias, const Array* lengths,
                        Cell cell) {
  require_floating(op, "x", x);
  if (x.rank() != 3) refuse(op, "x", "3 dimensions (T, N, G H)", "shape ", x.shape);
  require_same_dtype(op, "weight_hh", weight, "x", x);
  const index gates = gates_of(cell);
  if (weight.rank() != 2 || weight.shape[1] < 1 || weight.shape[0] != gates * weight.shape[1])
    refuse(op, "weight_hh", text("shape (", gates > 1 ? text(gates, " H") : text("H"), ", H) with at least one unit"),
           weight.shape);
  if (x.shape[2] != weight.shape[0])
    refuse(op, "weight_ih", text(weight.shape[0], " rows, as weight_hh has"), x.shape[2]);
  if (x.shape[0] < 1) refuse(op, "x", "at least one step", "shape ", x.shape);
  if (bias != nullptr) {
    require_same_dtype(op, "bias_hh", *bias, "x", x);
    require_shape(op, "bias_hh", *bias, {weight.shape[0]}, " (one per row of weight_hh)");
  }
  if (lengths != nullptr) check_lengths(op, *lengths, x.shape[1]);
}

inline void check_state(const char* op, const char* name, const Array* state, const Array& x, const Dims& shape) {
  if (state == nullptr) return;
  require_same_dtype(op, name, *state, "x", x);
  require_shape(op, name, *state, shape, " (one per sequence)");
}

// ---- arrays that need not be there ----------------------------------------------------------------------------------

// As the list of a launch wants it.
inline const Array* given(const Array& a) { return a.data != nullptr ? &a : nullptr; }

// Dense and of the dtype that is computed in.
inline Array prepared(const Array* a, DType dtype) { return a != nullptr ? dense(*a, dtype) : Array(); }

inline Array result(bool wanted, const Dims& shape, DType dtype, Device device) {
  return wanted ? Array::empty(shape, dtype, device) : Array();
}

inline void narrow(std::initializer_list<Array*> results, DType dtype) {
  for (Array* a : results) {
    if (a->buffer) *a = dense(*a, dtype);
  }
}

inline Layer layer_of(const RecurrentOptions& options, const Dims& y, const Array& weight, const Array& bias,
                      const Array* lengths) {
  return {weight.device,
          weight.dtype,
          options.cell,
          options.reverse,
          y[1],
          y[0],
          y[2],
          weight.data,
          bias.data,
          pack_home(weight),
          lengths != nullptr ? lengths->ptr<std::int64_t>() : nullptr};
}

}  // namespace mlext::rnn_detail
