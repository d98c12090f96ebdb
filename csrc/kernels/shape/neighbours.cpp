// Slices of one array that lie one behind the other: what was cut is joined without a copy.
#include "core/array.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/shape/shape.h"

namespace mlext {
namespace {

// Whether they are slices of one array along the axis, which leave out nothing between them.
bool neighbours(const Array* const* arrays, index count, int axis) {
  for (index i = 1; i < count; ++i) {
    const Array &before = *arrays[i - 1], &a = *arrays[i];
    if (!a.buffer || a.buffer.get() != before.buffer.get() || a.dtype != before.dtype || a.rank() != before.rank())
      return false;
    for (int d = 0; d < a.rank(); ++d) {
      if (a.strides[d] != before.strides[d] || (d != axis && a.shape[d] != before.shape[d])) return false;
    }
    if (a.data != before.shifted(before.shape[axis] * before.strides[axis]).data) return false;
  }
  return true;
}

Dims whole_shape(const Array* const* arrays, index count, int axis) {
  Dims shape = arrays[0]->shape;
  for (index i = 1; i < count; ++i) shape[axis] += arrays[i]->shape[axis];
  return shape;
}

}  // namespace

Array join(const Array* const* arrays, index count, index axis) {
  bool there = count > 0;
  for (index i = 0; i < count; ++i) there = there && arrays[i] != nullptr;
  if (!there) return concat(arrays, count, axis);  // which refuses them
  const int d = check_axis("join", axis, arrays[0]->rank());
  if (!neighbours(arrays, count, d)) return concat(arrays, count, axis);
  return arrays[0]->view(whole_shape(arrays, count, d), arrays[0]->strides);
}

void rooms_like(const Array* const* arrays, index count, int axis, DType dtype, Array* made) {
  const Device device = arrays[0]->device;
  if (!neighbours(arrays, count, axis)) {
    for (index i = 0; i < count; ++i) made[i] = Array::empty(arrays[i]->shape, dtype, device);
    return;
  }
  const Array whole = Array::empty(whole_shape(arrays, count, axis), dtype, device);
  index at = 0;
  for (index i = 0; i < count; ++i) {
    made[i] = whole.shifted(at * whole.strides[axis]).view(arrays[i]->shape, whole.strides);
    at += arrays[i]->shape[axis];
  }
}

}  // namespace mlext
