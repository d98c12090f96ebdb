#include "kernels/reduce/geometry.h"

#include <algorithm>

namespace mlext {

ReducedAxes check_axes(const char* op, const Array& x, const Dims* axes, bool keepdims) {
  ReducedAxes out;
  if (axes == nullptr) std::fill_n(out.reduced, x.rank(), true);
  for (int i = 0; axes != nullptr && i < axes->rank; ++i) {
    const int axis = check_axis(op, (*axes)[i], x.rank());
    if (out.reduced[axis]) throw ValueError(text(op, ": argument 'axes': expected each axis once, got ", *axes));
    out.reduced[axis] = true;
  }
  for (int i = 0; i < x.rank(); ++i) {
    if (out.reduced[i]) out.count *= x.shape[i];
    out.kept_dims.push(out.reduced[i] ? 1 : x.shape[i]);
    if (keepdims || !out.reduced[i]) out.shape.push(out.kept_dims[i]);
  }
  return out;
}

Geometry::Geometry(const Array& x, const bool* is_reduced) {
  for (int i = 0; i < x.rank(); ++i) {
    const Axis axis{x.shape[i], x.strides[i]};
    if (axis.size == 1) continue;
    if (is_reduced[i]) {
      reduced_axis[reduced++] = axis;
    } else {
      add_kept(axis);
    }
  }
  merge_reduced();
}

void Geometry::add_kept(Axis axis) {
  if (kept > 0 && kept_axis[kept - 1].stride == axis.stride * axis.size) {
    kept_axis[kept - 1] = {kept_axis[kept - 1].size * axis.size, axis.stride};
  } else {
    kept_axis[kept++] = axis;
  }
}

void Geometry::merge_reduced() {
  std::stable_sort(reduced_axis, reduced_axis + reduced, [](Axis a, Axis b) { return a.stride > b.stride; });
  int count = 0;
  for (int i = 0; i < reduced; ++i) {
    const Axis axis = reduced_axis[i];
    if (count > 0 && reduced_axis[count - 1].stride == axis.stride * axis.size) {
      reduced_axis[count - 1] = {reduced_axis[count - 1].size * axis.size, axis.stride};
    } else {
      reduced_axis[count++] = axis;
    }
  }
  if (count == 0) reduced_axis[count++] = {1, 1};
  reduced = count;
}

index Geometry::outputs() const {
  index n = 1;
  for (int i = 0; i < kept; ++i) n *= kept_axis[i].size;
  return n;
}

index Plan::outer() const {
  index n = 1;
  for (int i = 0; i < rank - 1; ++i) n *= axis[i].size;
  return n;
}

index Plan::offset(index at) const {
  index elements = 0;
  for (int i = rank - 2; i >= 0; --i) {
    elements += at % axis[i].size * axis[i].stride;
    at /= axis[i].size;
  }
  return elements;
}

bool take_axis(Geometry& g, Plan& plan) {
  // Sorted by stride, so a contiguous axis is the last; so is the one that columns take.
  const Axis taken = g.reduced_axis[g.reduced - 1];
  plan.rank = 0;
  for (int i = 0; i < g.reduced - 1; ++i) plan.axis[plan.rank++] = g.reduced_axis[i];
  for (int i = 0; i < g.kept; ++i) plan.axis[plan.rank++] = g.kept_axis[i];
  if (plan.rank == 0) plan.axis[plan.rank++] = {1, 1};
  plan.n = taken.size;
  plan.step = taken.stride;
  plan.columns = plan.inner_stride() == 1 && (plan.n == 1 || plan.step != 1);
  if (!plan.columns && plan.n > 1 && plan.step != 1) return false;
  // The intermediate result: dense over plan.axis.
  index step = 1;
  for (int i = g.kept - 1; i >= 0; --i) {
    g.kept_axis[i].stride = step;
    step *= g.kept_axis[i].size;
  }
  for (int i = g.reduced - 2; i >= 0; --i) {
    g.reduced_axis[i].stride = step;
    step *= g.reduced_axis[i].size;
  }
  --g.reduced;
  Geometry merged;
  for (int i = 0; i < g.kept; ++i) merged.add_kept(g.kept_axis[i]);
  merged.reduced = g.reduced;
  std::copy_n(g.reduced_axis, g.reduced, merged.reduced_axis);
  merged.merge_reduced();
  g = merged;
  return true;
}

}  // namespace mlext
