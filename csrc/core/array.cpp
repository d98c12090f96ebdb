#include "core/array.h"

#include <algorithm>

namespace mlext {

Dims dense_strides(const Dims& shape) {
  Dims strides;
  strides.rank = shape.rank;
  index step = 1;
  for (int i = shape.rank - 1; i >= 0; --i) {
    strides[i] = step;
    step *= std::max<index>(shape[i], 1);
  }
  return strides;
}

Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b) {
  Dims out;
  out.rank = std::max(a.rank, b.rank);
  for (int i = 0; i < out.rank; ++i) {
    const int ia = a.rank - out.rank + i;
    const int ib = b.rank - out.rank + i;
    const index na = ia < 0 ? 1 : a[ia];
    const index nb = ib < 0 ? 1 : b[ib];
    if (na != nb && na != 1 && nb != 1) {
      throw ValueError(text(op, ": shapes ", a, " and ", b, " do not broadcast: expected equal sizes or 1 along axis ",
                            i - out.rank, ", got ", na, " and ", nb));
    }
    out[i] = na == 1 ? nb : na;
  }
  return out;
}

int check_axis(const char* op, index axis, int rank) {
  if (axis < -rank || axis >= rank) {
    throw IndexError(
        text(op, ": argument 'axis': expected ", -rank, " to ", rank - 1, " for ", rank, " dimensions, got ", axis));
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

Array Array::empty(const Dims& shape, DType dtype, Device device) {
  if (device != Device::cpu) throw RuntimeError("device 'cuda' is not available: mlext.cuda.why_not() says why");
  Array out;
  index bytes = item_size(dtype);
  for (index n : shape) {
    if (n < 0) throw ValueError(text("expected sizes of 0 or more, got shape ", shape));
    if (__builtin_mul_overflow(bytes, std::max<index>(n, 1), &bytes)) {
      throw MemoryError(text("cannot allocate ", dtype, " ", shape, ": the number of bytes overflows"));
    }
  }
  out.shape = shape;
  out.strides = dense_strides(shape);
  out.dtype = dtype;
  out.buffer = BufferRef(current_pool().take(static_cast<std::size_t>(out.size() * item_size(dtype))));
  out.data = out.buffer->data;
  return out;
}

bool Array::is_dense() const {
  index step = 1;
  bool dense = true;
  for (int i = shape.rank - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != step) dense = false;
    step *= shape[i];
  }
  return dense || step == 0;
}

Array Array::shifted(index elements) const {
  Array out = *this;
  out.data = static_cast<char*>(data) + elements * item_size(dtype);
  return out;
}

Array Array::view(const Dims& new_shape, const Dims& new_strides) const {
  Array out = *this;
  out.shape = new_shape;
  out.strides = new_strides;
  return out;
}

Array Array::broadcast_to(const Dims& target) const {
  Array out = *this;
  out.shape = target;
  out.strides = Dims();
  out.strides.rank = target.rank;
  for (int i = 0; i < target.rank; ++i) {
    const int mine = rank() - target.rank + i;
    out.strides[i] = mine < 0 || (shape[mine] == 1 && target[i] != 1) ? 0 : strides[mine];
  }
  return out;
}

Array Array::permuted(const Dims& order) const {
  Dims new_shape, new_strides;
  for (const index axis : order) {
    new_shape.push(shape[static_cast<int>(axis)]);
    new_strides.push(strides[static_cast<int>(axis)]);
  }
  return view(new_shape, new_strides);
}

std::ostream& operator<<(std::ostream& out, const Dims& dims) {
  out << '(';
  for (int i = 0; i < dims.rank; ++i) out << (i ? ", " : "") << dims[i];
  return out << (dims.rank == 1 ? ",)" : ")");
}

std::ostream& operator<<(std::ostream& out, DType dtype) { return out << dtype_name(dtype); }

std::ostream& operator<<(std::ostream& out, const Array& array) { return out << array.dtype << ' ' << array.shape; }

void require_floating(const char* op, const char* name, const Array& a) {
  if (!is_floating(a.dtype)) {
    refuse<TypeError>(op, name, "a floating dtype (float32, float64, bfloat16 or float16)", a.dtype);
  }
}

void require_dtype(const char* op, const char* name, const Array& a, DType dtype, const char* why) {
  if (a.dtype != dtype) refuse<TypeError>(op, name, text(dtype, why), a.dtype);
}

void require_same_dtype(const char* op, const char* name, const Array& a, const char* reference, const Array& b) {
  if (a.dtype != b.dtype) refuse<TypeError>(op, name, text(b.dtype, " (dtype of '", reference, "')"), a.dtype);
}

void require_shape(const char* op, const char* name, const Array& a, const Dims& expected, const std::string& why) {
  if (!(a.shape == expected)) refuse(op, name, text("shape ", expected, why), a.shape);
}

void require_min_rank(const char* op, const char* name, const Array& a, int rank) {
  if (a.rank() < rank) refuse(op, name, text(rank, " or more dimensions"), "shape ", a.shape);
}

void require_writable(const char* op, const char* name, const Array& a) {
  if (a.buffer && a.buffer->read_only) throw ValueError(text(op, ": argument '", name, "' is read-only"));
}

}  // namespace mlext
