// Softmax attention (Vaswani et al. 2017, equation 1), without its matrix of scores.
//
//   s_ij = cap(scale q_i k_j) - slope |i + shift - j| + mask_ij,  p_ij = exp(s_ij) / sum_j exp(s_ij),  o_i = sum_j p_ij v_j
//
// q (N, Tq, H, D), k (N, Tk, G, D), v (N, Tk, G, Dv), o (N, Tq, H, Dv); query head h uses key head h / (H / G). Strides are any,
// but features of a head are contiguous. cap(s) = c tanh(s / c), or s. Query i sees keys from i + shift - left to i + shift + right
// that its sequence has, and that a boolean mask does not hide; shift 0, or keys - queries of the sequence (bottom right). One that
// sees none gets 0, and no gradient. With dropout p_ij is kept / (1 - p) for the sum over v.
//
// Keys pass by in blocks: of each query there are the largest score so far, the sum of exponentials and the sum of values, which
// are scaled when the largest score grows (Milakov and Gimelshein 2018; Rabe and Staats 2021; Dao et al. 2022). Scores are taken in
// powers of two. The gradient makes probabilities again, from the largest score and the sum: memory is O(T).
//
// Keys and values may be bytes, with what a step of each one's features stands for: k_j becomes k_scale_j k_j, and v_j likewise.
// There is no gradient then.
//
// Half types compute in float32. An element is a sum in an order fixed by the shapes: bits do not depend on threads.
#pragma once

#include "core/types.h"

namespace mlext {

// ---- what a level provides: all but the products ---------------------------------------------------------------------

// A tile of scores: a row for each query, `row` elements apart; columns from `begin` to `end` are keys that some of them see.
template <class T>
struct ScoreTile {
  index rows, begin, end, row;
  T* s;
  const index *first, *last;  // what each row sees, from `begin` to `end`; empty: first = last
};

// What comes between a product and its exponential, where there is more than a scale; in place.
template <class T>
struct AlterArgs {
  ScoreTile<T> tile;
  T scale, cap;             // cap 0: none
  const T* slope;           // of each row, or null
  const index* own;         // of each row: the column that is i + shift
  const void* const* mask;  // of each row: its first column, or null. float and double add, bool hides
  bool hides;
  T* steepness;  // gets ds / d(scale q k) as far as cap is concerned, at the rows of s; or null
};

// s becomes exp2(factor (s - max)), 0 where not seen. `largest` and `sum` (a vector of partial sums for each row) follow, and so
// does o, when the largest score grows.
template <class T>
struct SoftenArgs {
  ScoreTile<T> tile;
  T factor;
  T *largest, *sum;  // the largest score seen so far, or minus infinity; Vec<T>::N sums each
  T* o;
  index o_row, o_cols;
};

// From scores s and gradients of probabilities: p, and gradients of scores, `scale` included.
template <class T>
struct ScoreGradientArgs {
  ScoreTile<T> tile;  // s: p, and dropped where `kept` says so
  T* g;               // at the rows of s
  T factor, scale;
  const T *stats, *along;  // of each row: (largest, 1 / sum), and the sum of its gradient times o
  const T* steepness;      // or null
  const bool* kept;        // at the rows of s, or null
  T keep_scale;
};

// Rows of a cached operand: of `dtype`, and each with a factor, `scale_row` apart, if scale is not null, as bytes have one.
template <class T>
struct CachedRows {
  const void* data;
  index row;
  DType dtype;
  const T* scale;
  index scale_row;
};

// out[r, j] = sum of q[r] k[j], for few rows.
template <class T>
struct ScoreArgs {
  index rows, keys, width;
  const T* q;
  index q_row;
  CachedRows<T> k;
  T* out;
  index out_row;
};

// out[r] += sum over j of p[r, j] v[j], for few rows.
template <class T>
struct WeighArgs {
  index rows, keys, cols;
  const T* p;
  index p_row;
  CachedRows<T> v;
  T* out;
  index out_row;
};

// What parts of the keys left of some rows becomes their result: o divided by the sum of exponentials. stats may be null.
template <class T>
struct JoinArgs {
  index rows, parts, cols;
  T factor;
  const T *largest, *sum, *o;  // of the first part; of the others `step` elements further on
  index step, o_row;
  DType dtype;
  void* out;
  index out_row;
  T* stats;
};

// out[r] = sum of a[r] b[r].
template <class T>
struct AlongArgs {
  index rows, n;
  DType dtype;
  const void* a;
  index a_row;
  const void* b;
  index b_row;
  T* out;
  index out_row;
};

// Rows of each head that `score` and `weigh` take at once, and rows that are few: keys and values are not packed for them.
inline constexpr index kScoreRows = 4, kFewRows = 8;

template <class T>
struct AttentionTypeKernels {
  void (*alter)(const AlterArgs<T>&);
  void (*soften)(const SoftenArgs<T>&);
  void (*drop)(const ScoreTile<T>&, const bool* kept, T scale);  // s = kept ? s scale : 0
  void (*gradient)(const ScoreGradientArgs<T>&);
  void (*score)(const ScoreArgs<T>&);  // rows: at most kScoreRows
  void (*weigh)(const WeighArgs<T>&);  // the same
  void (*join)(const JoinArgs<T>&);
  void (*along)(const AlongArgs<T>&);
  void (*add)(index n, const T* from, T* to);  // to += from
};
struct AttentionKernels {
  AttentionTypeKernels<float> f32;
  AttentionTypeKernels<double> f64;
};

}  // namespace mlext
