#include "kernels/elementwise/order.h"

#include <algorithm>

namespace mlext {

MemoryOrder::MemoryOrder(const MapOperand* operands, int count, const Dims& shape) {
  const Array* first = nullptr;
  for (int i = 0; i < count && first == nullptr; ++i) {
    if (operands[i].array != nullptr && operands[i].array->shape == shape) first = operands[i].array;
  }
  if (first == nullptr || first->is_dense()) return;
  Dims order;
  for (int axis = 0; axis < shape.rank; ++axis) order.push(axis);
  auto stride = [&](index axis) { return first->strides[static_cast<int>(axis)]; };
  std::stable_sort(order.v, order.v + order.rank, [&](index a, index b) { return stride(a) > stride(b); });
  const Array turned = first->permuted(order);
  if (!turned.is_dense()) return;
  axes = order;
  sizes = turned.shape;
  back = order;
  for (int i = 0; i < order.rank; ++i) back[static_cast<int>(order[i])] = i;
}

}  // namespace mlext
