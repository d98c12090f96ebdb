#include <optional>

#include "core/array.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/shape/shape.h"

namespace mlext {
namespace {

// Fills in a size of -1; ValueError unless the shape has `size` elements.
Dims complete_shape(const Dims& wanted, const Array& x) {
  Dims shape = wanted;
  int open = -1;
  index known = 1;
  for (int i = 0; i < shape.rank; ++i) {
    if (shape[i] == -1) {
      if (open >= 0) refuse("reshape", "shape", "at most one size of -1", wanted);
      open = i;
    } else if (shape[i] < 0) {
      refuse("reshape", "shape", "sizes of 0 or more, or one -1", shape[i], " at position ", i, " of ", wanted);
    } else if (__builtin_mul_overflow(known, shape[i], &known)) {
      refuse("reshape", "shape", text(x.size(), " elements, as x ", x.shape, " has"), wanted);
    }
  }
  if (open >= 0) {
    if (known == 0 || x.size() % known != 0) {
      refuse("reshape", "shape", text("sizes that divide the ", x.size(), " elements of x ", x.shape), wanted);
    }
    shape[open] = x.size() / known;
  } else if (known != x.size()) {
    refuse("reshape", "shape", text(x.size(), " elements, as x ", x.shape, " has"), wanted, " with ", known);
  }
  return shape;
}

// The strides under which x's memory has `shape`, if there are any. Old and new axes are cut into the shortest groups of
// equal size; within a group the old axes must follow each other without a jump.
std::optional<Dims> strides_for(const Array& x, const Dims& shape) {
  if (x.size() == 0 || x.is_dense()) return dense_strides(shape);
  Dims old_shape, old_strides, strides;
  for (int i = 0; i < x.rank(); ++i) {
    if (x.shape[i] == 1) continue;
    old_shape.push(x.shape[i]);
    old_strides.push(x.strides[i]);
  }
  strides.rank = shape.rank;
  int i = 0, j = 0;  // the group starts: old axis i, new axis j
  while (i < old_shape.rank && j < shape.rank) {
    int i_end = i + 1, j_end = j + 1;
    index old_size = old_shape[i], new_size = shape[j];
    while (old_size != new_size) {
      if (new_size < old_size) {
        new_size *= shape[j_end++];
      } else {
        old_size *= old_shape[i_end++];
      }
    }
    for (int k = i; k + 1 < i_end; ++k) {
      if (old_strides[k] != old_strides[k + 1] * old_shape[k + 1]) return std::nullopt;
    }
    index step = old_strides[i_end - 1];
    for (int k = j_end - 1; k >= j; --k) {
      strides[k] = step;
      step *= shape[k];
    }
    i = i_end;
    j = j_end;
  }
  for (; j < shape.rank; ++j) strides[j] = 1;  // sizes of 1
  return strides;
}

void require_one_per_axis(const char* op, const char* name, const Dims& values, const Array& x) {
  if (values.rank != x.rank()) {
    refuse(op, name, text("one int per dimension of x ", x.shape), values.rank, " of them");
  }
}

// Which of `rank` axes are listed.
struct AxisSet {
  bool has[kMaxRank] = {};

  AxisSet(const char* op, const Dims& axes, int rank) {
    for (index axis : axes) {
      const int i = check_axis(op, axis, rank);
      if (has[i]) refuse(op, "axes", "different axes", axes);
      has[i] = true;
    }
  }
};

}  // namespace

Array reshape(const Array& x, Dims wanted) {
  const Dims shape = complete_shape(wanted, x);
  if (const auto strides = strides_for(x, shape)) return x.view(shape, *strides);
  return dense(x).view(shape, dense_strides(shape));
}

Array permute(const Array& x, const Dims& axes) {
  require_one_per_axis("permute", "axes", axes, x);
  AxisSet("permute", axes, x.rank());
  Dims order;
  for (index axis : axes) order.push(check_axis("permute", axis, x.rank()));
  return x.permuted(order);
}

Array move_axis(const Array& x, int from, int to) {
  Dims axes;
  for (int i = 0; i < x.rank(); ++i) {
    if (i != from) axes.push(i);
  }
  axes.push(0);
  for (int i = axes.rank - 1; i > to; --i) axes[i] = axes[i - 1];
  axes[to] = from;
  return permute(x, axes);
}

Array broadcast_view(const Array& x, const Dims& shape) {
  for (index n : shape) {
    if (n < 0) refuse("broadcast_to", "shape", "sizes of 0 or more", shape);
  }
  if (shape.rank < x.rank() || !(broadcast_shapes("broadcast_to", x.shape, shape) == shape)) {
    refuse("broadcast_to", "shape", text("a shape that x ", x.shape, " broadcasts to"), shape);
  }
  return x.broadcast_to(shape);
}

Array slice(const Array& x, const Dims& starts, const Dims& stops, const Dims& steps) {
  require_one_per_axis("slice", "starts", starts, x);
  require_one_per_axis("slice", "stops", stops, x);
  require_one_per_axis("slice", "steps", steps, x);
  Dims shape, strides;
  index offset = 0;
  for (int i = 0; i < x.rank(); ++i) {
    const index step = steps[i], span = stops[i] - starts[i];
    if (step == 0) refuse("slice", "steps", "steps other than 0", steps);
    const index n = (span > 0) == (step > 0) && span != 0 ? (span + step - (step > 0 ? 1 : -1)) / step : 0;
    const index last = starts[i] + (n - 1) * step;
    if (n > 0 && (starts[i] < 0 || starts[i] >= x.shape[i] || last < 0 || last >= x.shape[i])) {
      throw IndexError(text("slice: argument 'starts': expected elements 0 to ", x.shape[i] - 1, " along axis ", i,
                            ", got ", starts[i], " to ", last));
    }
    shape.push(n);
    strides.push(x.strides[i] * step);
    if (n > 0) offset += starts[i] * x.strides[i];
  }
  return (shape.count() == 0 ? x : x.shifted(offset)).view(shape, strides);
}

Array select(const Array& x, index axis, index at) {
  const int d = check_axis("select", axis, x.rank());
  const index n = x.shape[d];
  if (at < -n || at >= n) {
    throw IndexError(
        text("select: argument 'index': expected ", -n, " to ", n - 1, " for axis ", d, " of size ", n, ", got ", at));
  }
  Dims shape, strides;
  for (int i = 0; i < x.rank(); ++i) {
    if (i == d) continue;
    shape.push(x.shape[i]);
    strides.push(x.strides[i]);
  }
  return x.shifted((at < 0 ? at + n : at) * x.strides[d]).view(shape, strides);
}

Array part(const Array& x, int axis, index start, index size) {
  Array out = size == 0 ? x : x.shifted(start * x.strides[axis]);
  out.shape[axis] = size;
  return out;
}

Array expand_dims(const Array& x, const Dims& axes) {
  const int rank = x.rank() + axes.rank;
  if (rank > kMaxRank) refuse("expand_dims", "axes", text("at most ", kMaxRank, " dimensions in the result"), rank);
  const AxisSet added("expand_dims", axes, rank);
  Dims shape, strides;
  for (int i = 0, from = 0; i < rank; ++i) {
    shape.push(added.has[i] ? 1 : x.shape[from]);
    strides.push(added.has[i] ? 0 : x.strides[from]);
    from += !added.has[i];
  }
  return x.view(shape, strides);
}

Array squeeze(const Array& x, const Dims* axes) {
  const AxisSet listed("squeeze", axes == nullptr ? Dims() : *axes, x.rank());
  Dims shape, strides;
  for (int i = 0; i < x.rank(); ++i) {
    if (listed.has[i] && x.shape[i] != 1) {
      refuse("squeeze", "axes", text("axes of size 1 of x ", x.shape), "axis ", i, " of size ", x.shape[i]);
    }
    if (listed.has[i] || (axes == nullptr && x.shape[i] == 1)) continue;
    shape.push(x.shape[i]);
    strides.push(x.strides[i]);
  }
  return x.view(shape, strides);
}

Array flip(const Array& x, const Dims& axes) {
  const AxisSet flipped("flip", axes, x.rank());
  Dims strides = x.strides;
  index offset = 0;
  for (int i = 0; i < x.rank(); ++i) {
    if (!flipped.has[i]) continue;
    offset += (x.shape[i] - 1) * x.strides[i];
    strides[i] = -x.strides[i];
  }
  return (x.size() == 0 ? x : x.shifted(offset)).view(x.shape, strides);
}

}  // namespace mlext
