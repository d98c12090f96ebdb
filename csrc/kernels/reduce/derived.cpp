// Reductions made of others: norm, variance, any and all, and what gradients need.
#include <algorithm>
#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/stage.h"

namespace mlext {
namespace {

// The half types by way of float32, for ops whose accumulator is float64.
Array widened(const Array& x) { return is_half(x.dtype) ? cast(x, DType::float32) : x; }

}  // namespace

Array norm(const Array& x, const Dims* axes, bool keepdims) {
  require_float("norm", x);
  const ReducedAxes checked = check_axes("norm", x, axes, keepdims);
  if (checked.count == 0) return filled(0, checked.shape, x.dtype);
  const Array wide = widened(x);
  Array out = Array::empty(checked.shape, wide.dtype);
  reduce_into("norm", ReduceOp::wide_sumsq, wide, checked, nullptr, out, {1, true});
  return dense(out, x.dtype);
}

void variance(const Array& x, const Dims* axes, bool keepdims, index ddof, Array& var, Array& mean) {
  require_float("var", x);
  const ReducedAxes checked = check_axes("var", x, axes, keepdims);
  if (checked.count == 0) {
    var = filled(NAN, checked.shape, x.dtype);
    mean = filled(NAN, checked.shape, x.dtype);
    return;
  }
  const Array wide = widened(x);
  const Array center = Array::empty(checked.shape, DType::float64);
  reduce_into("var_mean", ReduceOp::wide_sum, wide, checked, nullptr, center,
              {static_cast<double>(checked.count), false});
  var = Array::empty(checked.shape, wide.dtype);
  const double divisor = static_cast<double>(std::max<index>(checked.count - ddof, 0));
  reduce_into("var", ReduceOp::deviation, wide, checked, &center, var, {divisor, false});
  var = dense(var, x.dtype);
  mean = cast(center, x.dtype);
}

namespace {
Array as_bool(const Array& x) {
  if (x.dtype == DType::bool_) return x;
  const MapOperand operands[2] = {{&x, 0}, {nullptr, 0}};
  return elementwise(MapOp::ne, operands, 2);
}

// bool memory is 0 or 1, so `any` is its maximum and `all` its minimum.
Array test(const char* name, ReduceOp op, const Array& x, const Dims* axes, bool keepdims) {
  const ReducedAxes checked = check_axes(name, x, axes, keepdims);
  if (checked.count == 0) return filled(op == ReduceOp::min, checked.shape, DType::bool_);
  Array out = Array::empty(checked.shape, DType::bool_);
  reduce_into(name, op, as_bool(x), checked, nullptr, out, {});
  return out;
}
}  // namespace

Array any(const Array& x, const Dims* axes, bool keepdims) { return test("any", ReduceOp::max, x, axes, keepdims); }
Array all(const Array& x, const Dims* axes, bool keepdims) { return test("all", ReduceOp::min, x, axes, keepdims); }

Array sum_to(const Array& g, const Dims& shape) {
  const int added = g.rank() - shape.rank;
  if (added < 0 || !(broadcast_shapes("sum_to", g.shape, shape) == g.shape)) {
    refuse("sum_to", "shape", text("a shape that broadcasts to ", g.shape), shape);
  }
  Dims axes, strides;
  bool sums = false;
  for (int i = 0; i < g.rank(); ++i) {
    const bool reduced = i < added || shape[i - added] != g.shape[i];
    if (reduced) axes.push(i);
    sums = sums || (reduced && g.shape[i] != 1);
    if (i >= added) strides.push(g.strides[i]);
  }
  if (!sums) return added == 0 ? g : g.view(shape, strides);
  return sum(g, &axes, false).view(shape, dense_strides(shape));
}

Array max_backward(const Array& x, const Array& y, const Array& g, const Dims* axes) {
  const ReducedAxes checked = check_axes("max_backward", x, axes, true);
  require_floating("max_backward", "x", x);
  require_same_dtype("max_backward", "y", y, "x", x);
  require_same_dtype("max_backward", "g", g, "x", x);
  require_shape("max_backward", "y", y, checked.shape, ", the reduced axes kept as 1");
  require_shape("max_backward", "g", g, checked.shape, ", the reduced axes kept as 1");
  const MapOperand compared[2] = {{&x, 0}, {&y, 0}};
  const Array wide = widened(g), hits = cast(elementwise(MapOp::eq, compared, 2), wide.dtype);
  const Array ties = sum(hits, axes, true);
  const MapOperand division[2] = {{&wide, 0}, {&ties, 0}};
  const Array share = elementwise(MapOp::div, division, 2);
  const MapOperand product[2] = {{&hits, 0}, {&share, 0}};
  return dense(elementwise(MapOp::mul, product, 2), x.dtype);
}

}  // namespace mlext
