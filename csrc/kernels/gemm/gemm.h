// Matrix product: C = act(alpha * A B + bias + beta * R), where R is C itself or a residual to add, with an optional second
// output holding the value before `act`.
//
// A is (m, k), B is (k, n), C is (m, n); each is a pointer with a row and a column stride in elements. Any stride is
// legal, zero and negative included, so a transpose is a swapped pair and a broadcast row is a zero stride. C must not
// overlap A, B, the biases or a residual, and no two elements of C may be the same memory.
//   - k = 0 gives act(bias + beta * R). beta = 0 overwrites: R is never read. Empty m or n does nothing.
//   - NaN and infinity propagate as in IEEE arithmetic; no zero is ever skipped.
//   - Each element is a sum over k in an order fixed by the shape and the strides alone: the bits do not depend on the
//     number of threads nor on the values in other rows or columns.
//   - float32 and float64 compute in their own type; bfloat16 and float16 accumulate in float32, and C may be either the
//     same half type or float32. Products of bfloat16 by pairs (bgemm.h) take subnormal factors and sums for 0.
#pragma once

#include "core/types.h"

namespace mlext {

struct Buffer;

#define MLEXT_ACTIVATIONS(X) X(none) X(relu) X(relu6) X(sigmoid) X(tanh) X(gelu) X(gelu_tanh) X(silu)
enum class Activation : std::uint8_t {
#define MLEXT_NAME(name) name,
  MLEXT_ACTIVATIONS(MLEXT_NAME)
#undef MLEXT_NAME
};

// How reals become bytes.
struct ByteStep {
  float inverse, zero;
};

inline constexpr int kMaxBatchRank = kMaxRank - 2;

struct GemmArgs {
  Device device = Device::cpu;
  DType dtype = DType::float32;      // of A, B and the biases
  DType out_dtype = DType::float32;  // of C, R and `pre`
  index m = 0, n = 0, k = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  index a_row = 0, a_col = 1;
  index b_row = 0, b_col = 1;
  index c_row = 0, c_col = 1;
  double alpha = 1, beta = 0;

  // What B lies in, if B is likely to be a factor again: its panels may be kept there (core/packs.h). Or null.
  Buffer* b_home = nullptr;

  // Epilogue; null means absent.
  Activation activation = Activation::none;
  const void* residual = nullptr;  // R, at the strides of C; null is C
  const void* bias_n = nullptr;    // n values, one per column
  const void* bias_m = nullptr;    // m values, one per row
  void* pre = nullptr;             // gets the value before the activation; strides of C
  // Of bytes (qgemm.h): v = act(scale_n * sum + offset_n), one value per column; c = v, or clamp(round(v * inverse) + zero, 0,
  // 255) if out_dtype is uint8. Without a scale C is the int32 sum.
  const float* scale_n = nullptr;
  const float* offset_n = nullptr;
  ByteStep out_step{};

  // Independent products, in nested order; strides in elements, 0 broadcasts. Biases are shared by all of them.
  int batch_rank = 0;
  index batch[kMaxBatchRank] = {};
  index a_batch[kMaxBatchRank] = {};
  index b_batch[kMaxBatchRank] = {};
  index c_batch[kMaxBatchRank] = {};
};

// Runs now, on this thread and the pool (inline when called from inside parallel_for). For drivers, inside a launch.
void gemm(const GemmArgs& args);

// ---- over arrays: checked, launched, the result fresh and dense -----------------------------------------------------

// a @ b by NumPy's rules: 1-d arguments are a row (a) or a column (b) that vanishes from the result, leading dimensions
// broadcast. One floating dtype.
Array matmul(const Array& a, const Array& b);
// act(x weight^T + bias + residual): x (..., C), weight (O, C), bias (O) or null, residual (..., O) or null. If `pre` is not
// null it gets the value before act.
Array linear(const Array& x, const Array& weight, const Array* bias, const Array* residual, Activation activation,
             Array* pre);
// The shape of the result of a linear map: x (..., C), weight (O, ..).
Dims linear_shape(const Array& x, const Array& weight);
// The gradient of linear() for its weight, g^T x: g (..., O), x (..., C), result (O, C).
Array linear_weight_gradient(const Array& g, const Array& x);
// alpha * a b + beta * c of matrices; c null is zero.
Array gemm(const Array& a, const Array& b, const Array* c, double alpha, double beta);

// ---- what a level provides ------------------------------------------------------------------------------------------

// Memory to bring near while a tile is computed: `count` pieces of as many cache lines as a row of the tile has, `step`
// bytes apart.
struct Ahead {
  const void* begin;
  index step, count;
};

// What alpha and beta are in a compute type.
template <class T>
struct ScalarOf {
  using Type = T;
};
template <class T>
using Scalar = typename ScalarOf<T>::Type;

// One piece of C in the compute type T (float or double):
//   out[i, j] = alpha * sum_k a[i, k] b[k, j] + bias[j] + beta * in[i, j], then limited to 0 to `top` unless that is 0
// in and out have unit column stride; out may be in; in is not read when beta is 0; bias may be null.
//
// k may come in runs of equal length, between which A and B jump: the rows of an image under a filter.
template <class T>
struct TileArgs {
  index rows, cols, k;  // steps of k in a run
  const T* a;
  index a_row, a_col;
  const T* b;
  index b_row, b_col;
  const T* bias;
  const T* in;
  index in_row;
  T* out;
  index out_row;
  Scalar<T> alpha, beta;
  Scalar<T> top;       // 0, or relu and no more than this
  T* packed;           // only for `pack_tile`
  const Ahead* ahead;  // only for `stream_tile`: a list whose last entry counts more rows than there can be
  index runs = 1;
  const index* a_jumps = nullptr;  // elements from the end of each run, but the last, to the begin of the next
  const index* b_jumps = nullptr;  // the same of B; null: it goes on
};

// Moves a finished tile to C, or is C itself: v = tile + beta * in + bias_m; pre = v; c = act(v).
template <class T>
struct FinishArgs {
  index rows, cols;
  const T* tile;  // unit column stride
  index tile_row;
  DType out_dtype;
  void* c;
  void* pre;       // or null
  const void* in;  // at the strides of C
  index c_row, c_col;
  Scalar<T> beta;
  const T* bias_m;       // or null
  const float* scale_n;  // of bytes
  const float* offset_n;
  ByteStep out_step;
  Activation activation;
};

inline constexpr int kMaxTileVectors = 4;
inline constexpr int kMaxTileRows = 16;
inline constexpr int kTallHeights = 5;    // into which many rows split
inline constexpr int kStreamHeights = 9;  // and those of few rows times a B of three vectors that comes from L3
inline constexpr index kGemvCols = 1024;  // the widest piece `gemv` takes

template <class T>
struct GemmTypeKernels {
  index lanes;                    // elements of T in a vector
  int group;                      // steps of k in an element: 1, but of bytes and pairs
  int max_vectors;                // the widest tile, in vectors
  int stream_vectors;             // the same of `stream_tile`
  int max_rows[kMaxTileVectors];  // the tallest tile that is 1, 2, .. vectors wide

  // [vectors - 1][rows - 1]: `rows` is fixed by the entry, and so are columns up to idle lanes of the last vector; B has unit
  // column stride. In idle lanes they may read what lies between one row of B and the end of the next.
  void (*tile[kMaxTileVectors][kMaxTileRows])(const TileArgs<T>&);
  // The same for a_col 1, faster.
  void (*row_tile[kMaxTileVectors][kMaxTileRows])(const TileArgs<T>&);
  // The same for B in L2 or L3. [.][how many rows less than max_rows]; null where there are no rows left.
  void (*stream_tile[kMaxTileVectors][kStreamHeights])(const TileArgs<T>&);
  // The same for B in place; leaves its rows at `packed`, one behind the other, each as long as the whole vectors that hold
  // it. Null where it would not pay.
  void (*pack_tile[kMaxTileVectors][kTallHeights])(const TileArgs<T>&);
  void (*gemv)(const TileArgs<T>&);  // one row, B with unit column stride
  // Any rows and cols; A with unit column stride, B with unit row stride, of T or (to float) a half type at the same place.
  void (*dot)(DType b_dtype, const TileArgs<T>&);
  // dst[i * dst_row + j] = src[i * src_row + j * src_col], from T or (to float) a half type; the last vector of a row is
  // filled up. Bytes and pairs differ by the factor that they belong to (qgemm.h, bgemm.h).
  using Pack = void(DType src_dtype, const void* src, index src_row, index src_col, index rows, index cols, T* dst,
                    index dst_row);
  Pack* pack_a;
  Pack* pack_b;
  void (*finish)(const FinishArgs<T>&);
};

struct GemmKernels {
  GemmTypeKernels<float> f32;
  GemmTypeKernels<double> f64;
};

}  // namespace mlext
