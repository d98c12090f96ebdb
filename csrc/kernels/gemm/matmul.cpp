// Matrix products over arrays: shapes are checked here, views become strides, and the product is one launch.
#include <algorithm>

#include "core/array.h"
#include "core/dtype.h"
#include "core/launch.h"
#include "core/packs.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/gemm.h"
#include "kernels/shape/shape.h"

namespace mlext {
namespace {

// An array seen as matrices: the last two dimensions, and the ones before as batch.
struct Matrices {
  const void* data;
  index rows, cols, row, col;
  Dims batch, batch_strides;
};

Matrices matrices(const Array& a, bool is_left) {
  Matrices m;
  m.data = a.data;
  const int rank = a.rank();
  if (rank == 1) {
    m.rows = is_left ? 1 : a.shape[0];
    m.cols = is_left ? a.shape[0] : 1;
    m.row = is_left ? 0 : a.strides[0];
    m.col = is_left ? a.strides[0] : 0;
    return m;
  }
  m.rows = a.shape[rank - 2];
  m.cols = a.shape[rank - 1];
  m.row = a.strides[rank - 2];
  m.col = a.strides[rank - 1];
  for (int i = 0; i < rank - 2; ++i) {
    m.batch.push(a.shape[i]);
    m.batch_strides.push(a.strides[i]);
  }
  return m;
}

// (B, M, K) times one (K, N) is one product with B * M rows as far as the batch and the rows of the left factor lie at
// one common stride. `batch` is the result's and shrinks along.
void fold_batch_into_rows(Matrices& a, const Matrices& b, Dims& batch) {
  if (b.batch.count() != 1 || b.batch.rank > a.batch.rank) return;
  while (a.batch.rank > 0) {
    const int last = a.batch.rank - 1;
    const index size = a.batch[last], stride = a.batch_strides[last];
    if (size != 1 && a.rows != 1 && stride != a.rows * a.row) return;
    if (a.rows == 1) a.row = stride;
    a.rows *= size;
    --a.batch.rank;
    --a.batch_strides.rank;
    --batch.rank;
  }
}

index batch_stride(const Matrices& m, int rank, int i) {
  const int own = i - (rank - m.batch.rank);
  return own < 0 || m.batch[own] == 1 ? 0 : m.batch_strides[own];
}

// Describes out = a b for a dense `out` with shape `batch` + (rows, cols).
GemmArgs describe(const Matrices& a, const Matrices& b, const Dims& batch, const Array& out) {
  GemmArgs g;
  g.device = out.device;
  g.dtype = g.out_dtype = out.dtype;
  g.m = a.rows;
  g.n = b.cols;
  g.k = a.cols;
  g.a = a.data;
  g.b = b.data;
  g.c = out.data;
  g.a_row = a.row;
  g.a_col = a.col;
  g.b_row = b.row;
  g.b_col = b.col;
  g.c_row = g.n;
  index stride = g.m * g.n;
  g.batch_rank = batch.rank;
  for (int i = batch.rank - 1; i >= 0; --i) {
    g.batch[i] = batch[i];
    g.a_batch[i] = batch_stride(a, batch.rank, i);
    g.b_batch[i] = batch_stride(b, batch.rank, i);
    g.c_batch[i] = stride;
    stride *= batch[i];
  }
  return g;
}

Work work_of(const GemmArgs& g, const Dims& batch) {
  const double m = static_cast<double>(g.m), n = static_cast<double>(g.n), k = static_cast<double>(g.k);
  const double count = static_cast<double>(batch.count());
  return {2 * m * n * k * count, (m * k + k * n + m * n) * count * static_cast<double>(item_size(g.dtype))};
}

void check_batches(const Array& a, const Array& b, const Dims& a_batch, const Dims& b_batch) {
  for (int i = 1; i <= std::min(a_batch.rank, b_batch.rank); ++i) {
    const index x = a_batch[a_batch.rank - i], y = b_batch[b_batch.rank - i];
    if (x == y || x == 1 || y == 1) continue;
    refuse("matmul", "b", text("batch dimensions that broadcast with ", a_batch, " of a ", a.shape), b_batch, " of b ",
           b.shape);
  }
}

void check_factors(const char* op, const Array& a, const Array& b) {
  require_floating(op, "a", a);
  require_same_dtype(op, "b", b, "a", a);
}

}  // namespace

Array matmul(const Array& a, const Array& b) {
  check_factors("matmul", a, b);
  require_min_rank("matmul", "a", a, 1);
  require_min_rank("matmul", "b", b, 1);
  Matrices left = matrices(a, true), right = matrices(b, false);
  if (left.cols != right.rows) {
    const std::string expected = b.rank() == 1 ? text("(", left.cols, ",)") : text("(", left.cols, ", n)");
    refuse("matmul", "b",
           text("shape ", b.rank() > 2 ? "(..., " + expected.substr(1) : expected, " to match a of shape ", a.shape),
           b.shape);
  }
  check_batches(a, b, left.batch, right.batch);
  Dims batch = broadcast_shapes("matmul", left.batch, right.batch);
  Dims shape = batch;
  if (a.rank() > 1) shape.push(left.rows);
  if (b.rank() > 1) shape.push(right.cols);
  Array out = Array::empty(shape, a.dtype, a.device);
  if (out.size() == 0) return out;
  fold_batch_into_rows(left, right, batch);
  GemmArgs g = describe(left, right, batch, out);
  if (b.rank() == 2) g.b_home = pack_home(b);
  launch("matmul", work_of(g, batch), {&a, &b}, {&out}, [g] { gemm(g); });
  return out;
}

Dims linear_shape(const Array& x, const Array& weight) {
  Dims shape = x.shape;
  shape[x.rank() - 1] = weight.shape[0];
  return shape;
}

Array linear(const Array& x, const Array& weight, const Array* bias, const Array* residual, Activation activation,
             Array* pre) {
  require_floating("linear", "x", x);
  require_min_rank("linear", "x", x, 1);
  require_same_dtype("linear", "weight", weight, "x", x);
  const index features = x.shape[x.rank() - 1];
  if (weight.rank() != 2 || weight.shape[1] != features) {
    refuse("linear", "weight", text("shape (out, ", features, ") to match x of shape ", x.shape), weight.shape);
  }
  if (bias != nullptr) {
    require_same_dtype("linear", "bias", *bias, "x", x);
    require_shape("linear", "bias", *bias, {weight.shape[0]}, "");
  }
  const Dims shape = linear_shape(x, weight);
  if (residual != nullptr) {
    require_same_dtype("linear", "residual", *residual, "x", x);
    require_shape("linear", "residual", *residual, shape, "to be added to the result");
  }
  Array out = Array::empty(shape, x.dtype, x.device);
  if (pre != nullptr) *pre = Array::empty(shape, x.dtype, x.device);
  if (out.size() == 0) return out;
  const Array vector = bias != nullptr ? dense(*bias) : Array(),
              added = residual != nullptr ? dense(*residual) : Array();
  Matrices left = matrices(x, true), right = matrices(weight, false);
  std::swap(right.rows, right.cols);
  std::swap(right.row, right.col);
  Dims batch = left.batch;
  fold_batch_into_rows(left, right, batch);
  GemmArgs g = describe(left, right, batch, out);
  g.bias_n = vector.data;
  g.residual = added.data;
  g.beta = residual != nullptr;
  g.b_home = pack_home(weight);
  g.activation = activation;
  g.pre = pre != nullptr ? pre->data : nullptr;
  const Array *bias_read = bias != nullptr ? &vector : nullptr, *added_read = residual != nullptr ? &added : nullptr;
  launch("linear", work_of(g, batch), {&x, &weight, bias_read, added_read}, {&out, pre}, [g] { gemm(g); });
  return out;
}

Array linear_weight_gradient(const Array& g, const Array& x) {
  check_factors("linear_weight_gradient", g, x);
  require_min_rank("linear_weight_gradient", "x", x, 1);
  Dims expected = x.shape;
  if (g.rank() > 0) expected[x.rank() - 1] = g.shape[g.rank() - 1];
  require_shape("linear_weight_gradient", "g", g, expected, "to match x");
  const index outputs = g.shape[g.rank() - 1], features = x.shape[x.rank() - 1];
  Array out = Array::empty({outputs, features}, x.dtype, x.device);
  if (out.size() == 0) return out;
  const index samples = x.size() / features;
  const Array rows = x.rank() == 2 ? x : reshape(x, {samples, features});
  const Array slopes = x.rank() == 2 ? g : reshape(g, {samples, outputs});
  Matrices left = matrices(slopes, true);
  std::swap(left.rows, left.cols);
  std::swap(left.row, left.col);
  const GemmArgs product = describe(left, matrices(rows, false), Dims(), out);
  launch("linear_weight_gradient", work_of(product, Dims()), {&slopes, &rows}, {&out}, [product] { gemm(product); });
  return out;
}

Array gemm(const Array& a, const Array& b, const Array* c, double alpha, double beta) {
  check_factors("gemm", a, b);
  if (a.rank() != 2) refuse("gemm", "a", "2 dimensions", "shape ", a.shape);
  if (b.rank() != 2 || b.shape[0] != a.shape[1]) {
    refuse("gemm", "b", text("shape (", a.shape[1], ", n) to match a of shape ", a.shape), b.shape);
  }
  const Dims shape{a.shape[0], b.shape[1]};
  if (c != nullptr) {
    require_same_dtype("gemm", "c", *c, "a", a);
    require_shape("gemm", "c", *c, shape, "");
  }
  const bool reads_c = c != nullptr && beta != 0;
  const Array added = reads_c ? dense(*c) : Array();
  Array out = Array::empty(shape, a.dtype, a.device);
  if (out.size() == 0) return out;
  GemmArgs g = describe(matrices(a, true), matrices(b, false), Dims(), out);
  g.alpha = alpha;
  g.beta = reads_c ? beta : 0;
  g.residual = added.data;
  launch("gemm", work_of(g, Dims()), {&a, &b, reads_c ? &added : nullptr}, {&out}, [g] { gemm(g); });
  return out;
}

}  // namespace mlext
