#include <pybind11/stl.h>

#include "bind/door.h"
#include "bind/families.h"
#include "kernels/pool/pool.h"

namespace mlext {
namespace {

// What errors and profiles call it.
constexpr const char* kPoolNames[] = {"max_pool2d", "avg_pool2d"};
constexpr const char* kPoolGradientNames[] = {"max_pool2d_gradient", "avg_pool2d_gradient"};

// `geometry`: sizes, strides, padding before and padding after, of rows and of columns each. `special` is the option that only
// the kind has.
template <PoolKind kKind>
PoolOptions pool_options(const char* op, const Dims& geometry, bool adaptive, bool ceil_mode, bool special) {
  if (geometry.rank != 8) refuse(op, "geometry", "8 sizes", geometry);
  const auto& v = geometry.v;
  return {{v[0], v[2], v[4], v[6]},           {v[1], v[3], v[5], v[7]},         adaptive, ceil_mode,
          kKind == PoolKind::mean && special, kKind == PoolKind::max && special};
}

template <PoolKind kKind>
Array pool_door(const Array& x, Dims geometry, bool adaptive, bool ceil_mode, bool special) {
  const char* op = kPoolNames[static_cast<int>(kKind)];
  return pool(op, kKind, x, pool_options<kKind>(op, geometry, adaptive, ceil_mode, special));
}

template <PoolKind kKind>
Array pool_gradient_door(const Array& g, const Array& x, const Array& y, Dims geometry, bool adaptive, bool ceil_mode,
                         bool special) {
  const char* op = kPoolGradientNames[static_cast<int>(kKind)];
  return pool_gradient(op, kKind, g, x, y, pool_options<kKind>(op, geometry, adaptive, ceil_mode, special));
}

}  // namespace

void bind_pool(py::module_& m) {
  const auto max = {"x", "geometry", "adaptive", "ceil_mode", "rectified"};
  const auto mean = {"x", "geometry", "adaptive", "ceil_mode", "counts_padding"};
  const auto from_max = {"g", "x", "y", "geometry", "adaptive", "ceil_mode", "rectified"};
  const auto from_mean = {"g", "x", "y", "geometry", "adaptive", "ceil_mode", "counts_padding"};
  door<&pool_door<PoolKind::max>>(m, kPoolNames[0], max, "The largest value under each window.");
  door<&pool_door<PoolKind::mean>>(m, kPoolNames[1], mean, "The mean under each window.");
  door<&pool_gradient_door<PoolKind::max>>(m, kPoolGradientNames[0], from_max, "The gradient of max_pool2d.");
  door<&pool_gradient_door<PoolKind::mean>>(m, kPoolGradientNames[1], from_mean, "The gradient of avg_pool2d.");
}

}  // namespace mlext
