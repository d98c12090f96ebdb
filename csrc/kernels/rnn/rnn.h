// Recurrent layers over whole sequences: one layer in one direction. Steps come first, so that what belongs to one lies together:
// sequences first, rows of a step would fall into few cache sets and as many pages (64 sequences of 256 steps, 64 units: half of
// the time).
//
//   rnn:   h_t = act(x_t + R h_{t-1} + b)                                                       act tanh or relu
//   lstm:  i, f, o = sigmoid(x_t + R h_{t-1} + b), g = tanh(the same)      gates in the order i f g o
//          c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)                       Hochreiter and Schmidhuber 1997; Gers et al. 2000
//          with peepholes p: i and f also see p c_{t-1}, o sees p c_t                          Gers and Schmidhuber 2000
//          with a projection: h_t = P o tanh(c_t)                                              Sak et al. 2014
//   gru:   r, z = sigmoid(x_t + R h_{t-1} + b)                             gates in the order r z n
//          n = tanh(x_t + r (R h_{t-1} + b)),  h_t = (1 - z) n + z h_{t-1}
//   gru_before:  the same, but n = tanh(x_t + R (r h_{t-1}) + b)                                 Cho et al. 2014
//
// x_t: the input, (N, T, C), times its weight W (G H, C), with a bias (G H) or null; R (G H, H); b (G H) or null; first states
// (N, H), null for 0; G gates. Weights may be int8 with a float32 scale per row: w = scale q, rounded to float32. y (T, N, H). With a projection (P, H), h and y have P elements, and R as many columns. Lengths (N), int64, or null: sequence n ends after lengths[n] steps, y is 0 from there on, and
// nothing is computed for it. `reverse` begins with the last step of each. float32 and float64; halves compute in float32.
// An element is a sum in an order fixed by the shapes: bits do not depend on threads nor on other sequences.
#pragma once

#include "core/types.h"

namespace mlext {

enum class Cell : int { rnn_tanh, rnn_relu, lstm, gru, gru_before };
inline constexpr int kCells = 5;
inline constexpr index kGatesOf[kCells] = {1, 1, 4, 3, 3};

// ---- what a level provides: all of a step but its product ------------------------------------------------------------

// Some units at one step of sequences, a row each. x and sums: `rows` x `width` elements for each gate, gate after gate, lstm's in
// the order i f o g; columns from `units` on may hold anything. Gates are `gate_step` elements apart in `gates`. A row of y, gates,
// before and extra is that of `place`, among all steps and sequences.
template <class T>
struct StepArgs {
  index rows, units, width;
  const index* place;
  index x_step, gate_step, state_row;  // between gates of x, of `gates`; between rows of h and c
  T *x, *sums;                         // overwritten
  const T *h_before, *peepholes;       // i f o, `gate_step` apart, or null
  T *c, *h, *y;               // h, for the next step, and y, which may be null, get the same; c of gru_before: z
  T* reset;                   // gru_before: r h
  T *gates, *before, *extra;  // null unless they are to be saved
};
template <class T>
struct StepGradientArgs {
  index units, gate_step;
  const T *gy, *y, *gates, *before, *extra, *peepholes;  // gy null: 0; before and peepholes may be null
  T* gh;                                                 // in: of h_t; out, gru: of h_{t-1} by way of z
  T* gc;                                                 // in: of c_t; out: of c_{t-1}
  T *gx, *gsums, *factor;  // of x; of the sums, if that is another array; and of the sums, for the product that follows
  const T* greset;         // gru_before, after its first product: of r h
};
// One row times some packed tiles at once, each k steps deep: out = a B + bias, or out + a B; no bias: null. Elements of B are those
// of its columns' scales if it is bytes: rounded to T before the product.
constexpr int kRowTiles = 4, kRowVectors = 3;
template <class T, class B = T>
struct RowArgs {
  index k;
  bool adds;
  const T* a;
  struct {
    index cols;
    const B* b;
    const float* scale;  // of bytes
    const T* bias;
    T* out;
  } tile[kRowTiles];
};
// [tiles - 1][vectors in a row of a tile - 1]; null where registers are too few. Sums are those of GemmTypeKernels::row_tile.
template <class T, class B = T>
using RowTable = void (*[kRowTiles][kRowVectors])(const RowArgs<T, B>&);
template <class T>
struct RecurrentTypeKernels {
  RowTable<T> row;
  RowTable<T, std::int8_t> byte_row;  // float32 alone
  void (*step[kCells])(const StepArgs<T>&);
  void (*gradient[kCells])(const StepGradientArgs<T>&);
  // What gru_before does after its second product, of r h, and, on the way back, after its first.
  void (*reset_step)(const StepArgs<T>&);
  void (*reset_gradient)(const StepGradientArgs<T>&);
};
struct RecurrentKernels {
  RecurrentTypeKernels<float> f32;
  RecurrentTypeKernels<double> f64;
};

}  // namespace mlext
