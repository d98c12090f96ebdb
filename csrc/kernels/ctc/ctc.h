// Connectionist temporal classification: the loss of scores of frames whose labels are known, but not when they come (Graves
// et al. 2006, "Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent Neural Networks").
//
// x (N, T, C): scores; p_t = softmax(x_t). Labels l (N, S), of which sequence n has target_lengths[n] (null: S) in its first
// input_lengths[n] frames (null: T). A path has a class for each frame; it spells what is left of it when repeats are merged and
// blanks dropped after that. With B the blank,
//   loss = -log sum over the paths that spell l of prod_t p_t[path_t]                                              (their (8))
//   dx_t[c] = p_t[c] - P(path_t = c | the path spells l)                                                          (their (16))
// The sum is that of the forward variables (their (6), (7)) over the states B l_1 B l_2 B ... l_S B. Here those of blanks, b, and
// of labels, l, have strips of their own:
//   b_t[u] = p_t[B] (b[u] + l[u - 1]),   l_t[u] = p_t[l_u] (l[u] + b[u] + (l_u != l_(u-1) ? l[u - 1] : 0))    with b, l of t - 1
// The backward variables mirror this. No path at all (too few frames, scores of -infinity): the loss is infinity, the gradient
// NaN in the frames that count; or both are 0 if `zero_infinity`. NaN in a frame that counts, or softmax without a value there,
// makes both NaN. Labels and scores beyond their lengths are not read, gradients there are 0. No frames and no labels: 0. N, T
// and S may be 0. The mean is that of loss / max(target length, 1), 0 for no sequences.
//
// Variables are float64 with an exponent of their own, a float64 too: nothing underflows, and T frames cost less than 8 T u
// of relative accuracy, 1e-11 for 10,000, where logarithms of sums would round a number of the size of the loss in each. What
// softmax divides by belongs to every path: it is added to the loss and does not take part. A loss above 3e299 is infinity.
#pragma once

#include "core/types.h"

namespace mlext {

// One sequence. T: the type of the scores, float or double.
struct CtcArgs {
  const void* x;         // T, (frames, classes)
  const index* classes;  // of the labels, count of them, and that of the blank behind them
  index frames, row, count;
  index width;  // elements of a strip: a multiple of 8 above count
  // Workspace. The first two fill before the gradient is asked for; `starts` null: it will not be.
  double* kept;       // variables and probabilities of the last `frames_kept` frames: 6 width each
  double* starts;     // the frame before each `frames_kept` frames: 6 width each
  double* backwards;  // 4 width
  double* values;     // width
  double* skips;      // width + 8
  double* sums;       // gradient: row, all 0, which they are again afterwards
  index frames_kept;  // at least 1
  void* tops;         // T, frames + 16: the largest score of a frame
  void* tails;        // T, the same: log of the sum of exp(score - top)
  void* shares;       // T, as sums
  void* out;          // T, the gradient times `scale`, as x
  double scale;
};
struct CtcKernels {
  // [0] float, [1] double. The gradient follows the loss, and only if that is finite.
  double (*loss[2])(const CtcArgs&);
  void (*gradient[2])(const CtcArgs&);
};

// ---- driver ---------------------------------------------------------------------------------------------------------

enum class Reduction : int;  // kernels/softmax/cross_entropy.h

struct CtcOptions {
  index blank;
  bool zero_infinity;
  Reduction reduction;
  bool with_gradient;
};
// The loss and, if asked for, its gradient, that of the sum of the losses for `none`. The gradient of half types is float32.
void ctc(const Array& prediction, const Array& target, const Array* input_lengths, const Array* target_lengths,
         const CtcOptions& options, Array& loss, Array& gradient);

}  // namespace mlext
