// Recurrent layers over arrays: checked, launched. rnn.h has the formulas and the layout.
#pragma once

#include <vector>

#include "core/array.h"
#include "kernels/rnn/rnn.h"

namespace mlext {

constexpr bool is_gru(Cell cell) { return cell == Cell::gru || cell == Cell::gru_before; }
constexpr index gates_of(Cell cell) { return kGatesOf[static_cast<int>(cell)]; }

// What a layer leaves. For a gradient, and only then: `gates` (T, N, G H), all but of rnn; `before`, h_{t-1}, shaped as y; and
// `extra` (T, N, H), c_{t-1} (lstm), R h_{t-1} + b of n (gru) or r h_{t-1} (gru_before).
struct Recurrence {
  Array y, h, c;  // of all steps; of the last one, c of lstm alone
  Array gates, before, extra;
};
struct RecurrentWeights {
  const Array *ih, *hh, *bias_ih, *bias_hh;    // a bias may be null
  const Array *hr = nullptr, *peep = nullptr;  // lstm: projection (P, H) and peepholes (3 H) of i f o, or null
  // Of int8 weights, one per row, float32; null: the weights have the dtype of x.
  const Array *scale_ih = nullptr, *scale_hh = nullptr, *scale_hr = nullptr;
};
struct RecurrentOptions {
  Cell cell;
  bool reverse, saves;
};
struct RecurrentLayer {
  RecurrentWeights weights;
  const Array *h, *c;  // first states, each may be null
};
struct RecurrentCall {
  const Array& x;
  RecurrentLayer layer;
  const Array* lengths;  // may be null
  RecurrentOptions options;
};
Recurrence recurrent(const char* op, const RecurrentCall& call);
// Both directions of a layer, of the same sizes but for their steps: side by side, where there are threads for it.
using Recurrences = std::vector<Recurrence>;
Recurrences recurrent_both(const char* op, const RecurrentCall& there, const RecurrentCall& back);
// Layers of which each reads what the one before it makes, of the same sizes but for the first one's channels: a layer some steps
// behind the one before it, where there are threads for it.
Recurrences recurrent_stack(const char* op, const Array& x, const std::vector<RecurrentLayer>& layers,
                            const Array* lengths, const RecurrentOptions& options);

// From the gradients of y, h and c, each may be null, and what the layer left: y (rnn), gates and extra (lstm, gru), before (gru).
struct RecurrentGradients {
  Array x, sums;    // of x W; and of R h + b, which is the same array but for gru
  Array h, c;       // of the first states
  Array projected;  // of all h, if there is a projection
};
struct RecurrentGradientCall {
  const Array *gy, *gh, *gc;
  Recurrence left;
  RecurrentWeights weights;
  const Array* lengths;
  RecurrentOptions options;
};
RecurrentGradients recurrent_gradient(const char* op, const RecurrentGradientCall& call);
using BothGradients = std::vector<RecurrentGradients>;
BothGradients recurrent_gradient_both(const char* op, const RecurrentGradientCall& there,
                                      const RecurrentGradientCall& back);

}  // namespace mlext
