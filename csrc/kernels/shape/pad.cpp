#include <algorithm>
#include <cstring>

#include "core/element.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/shape/axis.h"
#include "kernels/shape/shape.h"

namespace mlext {
namespace {

struct Pad {
  Dims in_shape, in_strides, out_shape, before;
  PadMode mode;
  Element value;
  const char* in;
  char* out;

  // The input position for output position `at` along axis d, or -1.
  index source(int d, index at) const {
    const index i = at - before[d], n = in_shape[d];
    if (i >= 0 && i < n) return i;
    if (mode == PadMode::constant) return -1;
    if (mode == PadMode::edge) return i < 0 ? 0 : n - 1;
    return i < 0 ? -i : 2 * (n - 1) - i;  // pads are narrower than the axis
  }

  void row(index at) const {
    const int last = out_shape.rank - 1;
    const index width = out_shape[last], size = value.size;
    char* to = out + at * width * size;
    index from = 0;
    for (int d = last - 1; d >= 0; --d) {
      const index i = source(d, at % out_shape[d]);
      at /= out_shape[d];
      if (i < 0) return value.fill(to, width);
      from += i * in_strides[d];
    }
    const index step = in_strides[last], left = before[last], n = in_shape[last];
    auto put = [&](index c) {
      const index i = source(last, c);
      std::memcpy(to + c * size, i < 0 ? reinterpret_cast<const char*>(value.bytes) : in + (from + i * step) * size,
                  static_cast<std::size_t>(size));
    };
    const bool constant = mode == PadMode::constant;
    if (constant) {
      value.fill(to, left);
      value.fill(to + (left + n) * size, width - left - n);
    }
    for (index c = 0; !constant && c < left; ++c) put(c);
    if (step == 1) {
      std::memcpy(to + left * size, in + from * size, static_cast<std::size_t>(n * size));
    } else {
      for (index c = left; c < left + n; ++c) put(c);
    }
    for (index c = left + n; !constant && c < width; ++c) put(c);
  }

  // An axis that gets nothing becomes part of the one before it, where both are one in memory: rows get longer, and fewer.
  void collapse() {
    for (int d = in_shape.rank - 1; d > 0 && mode == PadMode::constant; --d) {
      const bool kept = in_shape[d] == out_shape[d], one = in_strides[d - 1] == in_strides[d] * in_shape[d];
      if (!kept || !one) continue;
      before[d - 1] *= in_shape[d];
      out_shape[d - 1] *= out_shape[d];
      in_shape[d - 1] *= in_shape[d];
      in_strides[d - 1] = in_strides[d];
      for (Dims* dims : {&in_shape, &in_strides, &out_shape, &before}) {
        std::copy(dims->v + d + 1, dims->v + dims->rank, dims->v + d);
        --dims->rank;
      }
    }
  }
};

Dims padded_shape(const Array& x, const Dims& before, const Dims& after, PadMode mode) {
  if (before.rank != x.rank()) refuse("pad", "before", text("one int per dimension of x ", x.shape), before);
  if (after.rank != x.rank()) refuse("pad", "after", text("one int per dimension of x ", x.shape), after);
  Dims shape;
  for (int d = 0; d < x.rank(); ++d) {
    if (before[d] < 0) refuse("pad", "before", "widths of 0 or more", before);
    if (after[d] < 0) refuse("pad", "after", "widths of 0 or more", after);
    const index most = std::max(before[d], after[d]);
    if (mode == PadMode::reflect && most > 0 && most >= x.shape[d]) {
      refuse("pad", before[d] == most ? "before" : "after", text("less than the size ", x.shape[d], " of axis ", d),
             most);
    }
    if (mode == PadMode::edge && most > 0 && x.shape[d] == 0) {
      refuse("pad", "x", "a size of 1 or more where edges are repeated", x.shape);
    }
    shape.push(before[d] + x.shape[d] + after[d]);
  }
  return shape;
}

}  // namespace

Array pad(const Array& x, const Dims& before, const Dims& after, double value, PadMode mode) {
  require_representable("pad", "value", value, x.dtype);
  const Dims shape = padded_shape(x, before, after, mode);
  if (x.rank() == 0) return cast(x, x.dtype);
  Array out = Array::empty(shape, x.dtype);
  if (out.size() == 0) return out;
  Pad run{x.shape, x.strides, shape, before, mode, Element(value, x.dtype), x.ptr<char>(), out.ptr<char>()};
  run.collapse();
  const index width = run.out_shape[run.out_shape.rank - 1], rows = out.size() / width;
  launch("pad", Work{0, 2.0 * static_cast<double>(out.nbytes())}, {&x}, {&out}, [run, rows, width] {
    parallel_for(rows, rows_per_chunk(width * run.value.size), [&](index begin, index end) {
      for (index r = begin; r < end; ++r) run.row(r);
    });
  });
  return out;
}

}  // namespace mlext
