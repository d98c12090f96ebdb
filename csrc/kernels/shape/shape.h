// Arrays in other shapes and orders: views, which launch nothing, and kernels that move elements.
//
// A view shares memory and version number with its source. Kernels that only move elements take every dtype; those that add
// gradients up take floating ones and do it in a fixed order, so their result does not depend on threads.
#pragma once

#include "core/types.h"

namespace mlext {

// out[at[j] * out_step ...] += g[j * g_step ...] for the j with low <= at[j] < high: n elements each, j in order.
struct ScatterArgs {
  const std::int64_t* at;
  index count;
  const void* g;
  index g_step;
  void* out;
  index out_step;
  index low, high;
  index n;
};

struct ShapeKernels {
  void (*scatter_add[2])(const ScatterArgs&);  // float32, float64
};

// ---- views (views.cpp) ----------------------------------------------------------------------------------------------
Array reshape(const Array& x, Dims shape);  // one size may be -1; copies only if no strides do
Array permute(const Array& x, const Dims& axes);
Array broadcast_view(const Array& x, const Dims& shape);
// Along every axis start, start + step, ... before stop, as from Python's slice.indices(): negative steps stop at -1.
Array slice(const Array& x, const Dims& starts, const Dims& stops, const Dims& steps);
Array select(const Array& x, index axis, index at);
Array expand_dims(const Array& x, const Dims& axes);  // axes of the result
Array squeeze(const Array& x, const Dims* axes);      // null: every axis of size 1
Array flip(const Array& x, const Dims& axes);
Array move_axis(const Array& x, int from, int to);
// Start and size of one part along an axis.
Array part(const Array& x, int axis, index start, index size);

// ---- kernels that move elements (shape.cpp) -------------------------------------------------------------------------
Array concat(const Array* const* arrays, index count, index axis);
// Of slices that lie one behind the other along an axis of one array: a view of them all (neighbours.cpp). Of others: concat.
Array join(const Array* const* arrays, index count, index axis);
// Fresh arrays with their shapes, which are such slices if they are.
void rooms_like(const Array* const* arrays, index count, int axis, DType dtype, Array* made);
enum class PadMode { constant, edge, reflect };
Array pad(const Array& x, const Dims& before, const Dims& after, double value, PadMode mode);  // pad.cpp
Array repeat(const Array& x, index repeats, index axis);
Array tile(const Array& x, const Dims& repeats);
Array triangle(const Array& x, index k, bool upper);  // of the last two axes
Array arange(double start, double stop, double step, DType dtype);
Array eye(index rows, index columns, index k, DType dtype);
Array one_hot(const Array& indices, index classes, DType dtype);

// ---- gather and scatter (gather.cpp): indices of any integer dtype, -n .. n-1 ---------------------------------------
Array take(const Array& x, const Array& indices, index axis);
Array take_backward(const Dims& shape, const Array& indices, const Array& g, index axis);
Array take_along(const Array& x, const Array& indices, index axis);
Array take_along_backward(const Dims& shape, const Array& indices, const Array& g, index axis);

// ---- order (sort.cpp): NaN is greater than every number; equal elements keep their order ----------------------------
Array sort(const Array& x, index axis, bool descending, Array& indices);
Array topk(const Array& x, index k, index axis, Array& indices);

}  // namespace mlext
