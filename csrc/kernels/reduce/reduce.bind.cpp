#include "kernels/reduce/reduce.h"

#include "bind/door.h"
#include "bind/families.h"

namespace mlext {
namespace {

using Axes = std::optional<Dims>;
const Dims* pointer(const Axes& axes) { return axes ? &*axes : nullptr; }

Array sum_door(const Array& x, Axes axes, bool keepdims) { return sum(x, pointer(axes), keepdims); }
Array mean_door(const Array& x, Axes axes, bool keepdims) { return mean(x, pointer(axes), keepdims); }
Array norm_door(const Array& x, Axes axes, bool keepdims) { return norm(x, pointer(axes), keepdims); }
Array any_door(const Array& x, Axes axes, bool keepdims) { return any(x, pointer(axes), keepdims); }
Array all_door(const Array& x, Axes axes, bool keepdims) { return all(x, pointer(axes), keepdims); }
Array sumsq_door(const Array& x, Axes axes, bool keepdims) {
  return reduce("sumsq", ReduceOp::sumsq, x, pointer(axes), keepdims);
}
Array prod_door(const Array& x, Axes axes, bool keepdims) {
  return reduce("prod", ReduceOp::prod, x, pointer(axes), keepdims);
}
Array max_door(const Array& x, Axes axes, bool keepdims) {
  return reduce("max", ReduceOp::max, x, pointer(axes), keepdims);
}
Array min_door(const Array& x, Axes axes, bool keepdims) {
  return reduce("min", ReduceOp::min, x, pointer(axes), keepdims);
}
std::tuple<Array, Array> var_door(const Array& x, Axes axes, bool keepdims, index ddof) {
  std::tuple<Array, Array> out;
  variance(x, pointer(axes), keepdims, ddof, std::get<0>(out), std::get<1>(out));
  return out;
}
Array argmax_door(const Array& x, std::optional<index> axis, bool keepdims) {
  return arg_extreme("argmax", false, x, axis ? &*axis : nullptr, keepdims);
}
Array argmin_door(const Array& x, std::optional<index> axis, bool keepdims) {
  return arg_extreme("argmin", true, x, axis ? &*axis : nullptr, keepdims);
}
Array max_backward_door(const Array& x, const Array& y, const Array& g, Axes axes) {
  return max_backward(x, y, g, pointer(axes));
}
Array sum_to_door(Kept g, Dims shape) { return sum_to(g.array, shape); }
Array cumsum_door(const Array& x, index axis, bool reverse) { return cumsum(x, axis, reverse); }

}  // namespace

void bind_reduce(py::module_& m) {
  door<&sum_door>(m, "sum", {"x", "axes", "keepdims"}, "Sum; int64 for integers and bool.");
  door<&mean_door>(m, "mean", {"x", "axes", "keepdims"}, "Mean; NaN over no elements.");
  door<&sumsq_door>(m, "sumsq", {"x", "axes", "keepdims"}, "Sum of squares.");
  door<&norm_door>(m, "norm", {"x", "axes", "keepdims"}, "Square root of the sum of squares.");
  door<&prod_door>(m, "prod", {"x", "axes", "keepdims"}, "Product; int64 for integers and bool.");
  door<&max_door>(m, "max", {"x", "axes", "keepdims"}, "Maximum; NaN if any element is.");
  door<&min_door>(m, "min", {"x", "axes", "keepdims"}, "Minimum; NaN if any element is.");
  door<&any_door>(m, "any", {"x", "axes", "keepdims"}, "Whether any element is nonzero.");
  door<&all_door>(m, "all", {"x", "axes", "keepdims"}, "Whether all elements are nonzero.");
  door<&var_door>(m, "var", {"x", "axes", "keepdims", "ddof"}, "(variance, mean): sum (x - mean)^2 / (n - ddof).");
  door<&argmax_door>(m, "argmax", {"x", "axis", "keepdims"}, "Position of the first maximum, or NaN.");
  door<&argmin_door>(m, "argmin", {"x", "axis", "keepdims"}, "Position of the first minimum, or NaN.");
  door<&max_backward_door>(m, "max_backward", {"x", "y", "g", "axes"},
                           "Gradient of max or min, shared equally among ties; y and g have keepdims shapes.");
  door<&sum_to_door>(m, "sum_to", {"g", "shape"}, "g summed down to a shape that broadcasts to g's.");
  door<&cumsum_door>(m, "cumsum", {"x", "axis", "reverse"}, "Running sum along an axis, from its end if reverse.");
}

}  // namespace mlext
