#include "kernels/shape/shape.h"

#include "bind/door.h"
#include "bind/families.h"

namespace mlext {
namespace {

Array reshape_door(Kept x, Dims shape) { return reshape(x.array, shape); }
Array permute_door(Kept x, Dims axes) { return permute(x.array, axes); }
Array broadcast_door(Kept x, Dims shape) { return broadcast_view(x.array, shape); }
Array slice_door(Kept x, Dims starts, Dims stops, Dims steps) { return slice(x.array, starts, stops, steps); }
Array select_door(Kept x, index axis, index at) { return select(x.array, axis, at); }
Array expand_dims_door(Kept x, Dims axes) { return expand_dims(x.array, axes); }
Array squeeze_door(Kept x, std::optional<Dims> axes) { return squeeze(x.array, axes ? &*axes : nullptr); }
Array flip_door(Kept x, Dims axes) { return flip(x.array, axes); }

// Dims has room for kMaxRank sizes only; a split may have more parts, so they come as an int64 array.
std::vector<Array> split_door(Kept x, Indices sizes, index axis) {
  const int d = check_axis("split", axis, x.array.rank());
  if (sizes.array.rank() != 1) refuse("split", "sizes", "one dimension", sizes.array.shape);
  std::vector<Array> out;
  index start = 0;
  for (index i = 0; i < sizes.array.size(); ++i) {
    const index size = visit_dtype(sizes.array.dtype, [&]<class T>(Type<T>) -> index {
      if constexpr (std::is_integral_v<T>) return static_cast<index>(sizes.array.ptr<T>()[i * sizes.array.strides[0]]);
      return -1;
    });
    if (size < 0 || size > x.array.shape[d] - start) {
      refuse("split", "sizes", text("sizes of 0 or more that add up to ", x.array.shape[d], ", the size of axis ", d),
             size, " at position ", i);
    }
    out.push_back(part(x.array, d, start, size));
    start += size;
  }
  if (start != x.array.shape[d]) {
    refuse("split", "sizes", text("a sum of ", x.array.shape[d], ", the size of axis ", d), start);
  }
  return out;
}

Array concat_door(const Arrays& arrays, index axis) {
  return concat(arrays.data(), static_cast<index>(arrays.size()), axis);
}
Array join_door(const Arrays& arrays, index axis) {
  return join(arrays.data(), static_cast<index>(arrays.size()), axis);
}
Array pad_door(const Array& x, Dims before, Dims after, double value, std::string_view mode) {
  if (mode == "constant") return pad(x, before, after, value, PadMode::constant);
  if (mode == "edge") return pad(x, before, after, 0, PadMode::edge);
  if (mode == "reflect") return pad(x, before, after, 0, PadMode::reflect);
  refuse("pad", "mode", "'constant', 'edge' or 'reflect'", "'", mode, "'");
}
Array tile_door(const Array& x, Dims repeats) { return tile(x, repeats); }
template <bool upper>
Array triangle_door(const Array& x, index k) {
  return triangle(x, k, upper);
}

Array take_door(const Array& x, Indices indices, index axis) { return take(x, indices.array, axis); }
Array take_backward_door(Dims shape, Indices indices, const Array& g, index axis) {
  return take_backward(shape, indices.array, g, axis);
}
Array take_along_door(const Array& x, Indices indices, index axis) { return take_along(x, indices.array, axis); }
Array take_along_backward_door(Dims shape, Indices indices, const Array& g, index axis) {
  return take_along_backward(shape, indices.array, g, axis);
}
Array one_hot_door(Indices indices, index classes, DType dtype) { return one_hot(indices.array, classes, dtype); }

std::tuple<Array, Array> sort_door(const Array& x, index axis, bool descending) {
  Array indices;
  Array values = sort(x, axis, descending, indices);
  return {std::move(values), std::move(indices)};
}
std::tuple<Array, Array> topk_door(const Array& x, index k, index axis) {
  Array indices;
  Array values = topk(x, k, axis, indices);
  return {std::move(values), std::move(indices)};
}

}  // namespace

void bind_shape(py::module_& m) {
  door<&reshape_door>(m, "reshape", {"x", "shape"}, "x with another shape; a view where strides allow.");
  door<&permute_door>(m, "permute", {"x", "axes"}, "View with axes in another order.");
  door<&broadcast_door>(m, "broadcast_to", {"x", "shape"}, "View with sizes of 1 repeated.");
  door<&slice_door>(m, "slice", {"x", "starts", "stops", "steps"},
                    "View of start, start + step, ... along every axis, as from slice.indices().");
  door<&select_door>(m, "select", {"x", "axis", "index"}, "View without the axis, at one position of it.");
  door<&expand_dims_door>(m, "expand_dims", {"x", "axes"}, "View with axes of size 1 at these places of the result.");
  door<&squeeze_door>(m, "squeeze", {"x", "axes"}, "View without these axes of size 1; None: without any.");
  door<&flip_door>(m, "flip", {"x", "axes"}, "View with these axes reversed.");
  door<&split_door>(m, "split", {"x", "sizes", "axis"}, "Views of consecutive parts; sizes is an integer array.");
  door<&join_door>(m, "join", {"arrays", "axis"},
                   "Slices of an array as a view of it, or arrays joined along an axis.");
  door<&concat_door>(m, "concat", {"arrays", "axis"}, "Arrays joined along an axis.");
  door<&pad_door>(m, "pad", {"x", "before", "after", "value", "mode"}, "x with a border; constant, edge or reflect.");
  door<&repeat>(m, "repeat", {"x", "repeats", "axis"}, "Every element along the axis repeated.");
  door<&tile_door>(m, "tile", {"x", "repeats"}, "x repeated as a whole along every axis.");
  door<&triangle_door<false>>(m, "tril", {"x", "k"}, "Zero above diagonal k of the last two axes.");
  door<&triangle_door<true>>(m, "triu", {"x", "k"}, "Zero below diagonal k of the last two axes.");
  door<&arange>(m, "arange", {"start", "stop", "step", "dtype"}, "start, start + step, ... before stop.", true);
  door<&eye>(m, "eye", {"rows", "columns", "k", "dtype"}, "Ones on diagonal k, zeros elsewhere.", true);
  door<&take_door>(m, "take", {"x", "indices", "axis"}, "Elements of x along the axis, chosen by indices.");
  door<&take_backward_door>(m, "take_backward", {"shape", "indices", "g", "axis"},
                            "Zeros of a shape with g added at indices: the adjoint of take.");
  door<&take_along_door>(m, "take_along", {"x", "indices", "axis"},
                         "One index along the axis per element of the result.");
  door<&take_along_backward_door>(m, "take_along_backward", {"shape", "indices", "g", "axis"},
                                  "The adjoint of take_along.");
  door<&one_hot_door>(m, "one_hot", {"indices", "classes", "dtype"},
                      "1 at the index, 0 elsewhere, along a new last axis.");
  door<&sort_door>(m, "sort", {"x", "axis", "descending"}, "(values, int64 indices); stable, NaN greatest.");
  door<&topk_door>(m, "topk", {"x", "k", "axis"}, "(values, int64 indices) of the k largest, largest first.");
}

}  // namespace mlext
