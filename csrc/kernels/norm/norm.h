// Normalisation, with gradients: values less their mean, over their deviation, times a weight, plus a bias.
//
//   y = (x - mean) / sqrt(var + eps) * weight + bias
//
// Over what, is the difference:
//   columns   x (N, L, C): mean and variance of each sample's (or all samples') L rows of each of G groups of adjacent
//             channels. Batch norm: one sample, G = C. Instance norm: G = C. Group norm: any G. weight and bias (C,).
//   rows      x (R, K): of each row. Layer norm; and RMS norm, where mean is 0 and var the mean square. weight, bias (K,).
//             Also of the sum of x and a residual, which is a second result.
//
// Numbers: variances are sums of squares about a value near the mean, never a difference of large sums; partial sums of
// some rows meet in float64, in an order that depends on shapes alone. Half types compute in float32, C below.
#pragma once

#include "core/types.h"

namespace mlext {

// Some rows of a dense array. Vectors have one value of C per column.
struct NormArgs {
  const void *x, *g;
  void* out;
  index rows, columns;
  const void *mean, *scale, *shift;  // y = (x - mean) scale + shift
  const void *by_x, *by_one;         // dx = g scale + (x - mean) by_x + by_one
  double* sums;                      // results, two per column: [2][columns]
  void* work;                        // of the sums: 4 * columns of C
};
using NormFn = void (*)(const NormArgs&);

// Some rows, each by itself.
struct NormRowsArgs {
  const void *x, *g;
  const void* residual;  // null, or what is added to x; of a gradient: that of the sum, which is added to the result
  void *out, *sum;
  index count, n;
  const void *weight, *bias;  // n of C
  void *mean, *rstd;          // `count` of C: results, or read by the gradient
  double eps;
  bool centred;   // mean is that of the row, and not 0
  void* partial;  // gradient: adds that of the weight, and of the bias, [2][n] of C
};

// The relu of [relu] is that of y. A gradient passes where y > 0, which is computed again.
struct NormKernels {
  NormFn moments[kDTypes];                                 // mean of each column, and the sum of squares about it
  NormFn apply[2][kDTypes];                                // [relu]  out = y
  NormFn gradient_sums[2][kDTypes];                        // [relu]  sums of g, and of g (x - mean)
  NormFn gradient[2][kDTypes];                             // [relu]  out = dx
  void (*rows[2][kDTypes])(const NormRowsArgs&);           // [residual]
  void (*rows_gradient[2][kDTypes])(const NormRowsArgs&);  // [residual]
};

// ---- driver ---------------------------------------------------------------------------------------------------------

struct NormOptions {
  index groups;
  bool per_sample;  // mean and var of every sample by itself
  double eps;
  bool relu;
};

// x (N, ..., C). weight and bias: null, or (C,). mean and var: results (samples, groups), of C and float64.
Array normalize(const char* op, const Array& x, const Array* weight, const Array* bias, const NormOptions& options,
                Array& mean, Array& var);
// With mean and var given, (C,) or as normalize() gives them.
Array normalize_with(const char* op, const Array& x, const Array& mean, const Array& var, const Array* weight,
                     const Array* bias, const NormOptions& options);
struct NormGradients;  // vectors.h
// constant: mean and var were given, and not made from x.
NormGradients normalize_gradient(const char* op, const Array& g, const Array& x, const Array& mean, const Array& var,
                                 const Array* weight, const Array* bias, const NormOptions& options, bool constant);
// running = (1 - momentum) running + momentum of the batch, in place; var as that of a population of which `count` values
// are a sample: var count / (count - 1).
void update_running(const Array& running_mean, const Array& running_var, const Array& mean, const Array& var,
                    double momentum, index count);

struct NormRowsOptions {
  double eps;
  bool centred;
};

// x (..., K) of the shape of weight, K its number of elements. stats: (2, rows), means and 1 / sqrt(var + eps). With a
// residual of the shape of x: of the sum of both, which `sum` becomes.
Array normalize_rows(const char* op, const Array& x, const Array* residual, const Dims& normalized, const Array* weight,
                     const Array* bias, NormRowsOptions options, Array& stats, Array& sum);
// of_sum: null, or the gradient of x that comes from elsewhere, added to this one.
NormGradients normalize_rows_gradient(const char* op, const Array& g, const Array* of_sum, const Array& x,
                                      const Array& stats, const Dims& normalized, const Array* weight, bool centred);

}  // namespace mlext
