// Array: a strided view of a buffer. Shape, strides (in elements), dtype and device over shared memory; nothing else.
// A copy of an Array is another view of the same memory.
#pragma once

#include <initializer_list>
#include <type_traits>
#include <utility>

#include "core/allocator.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/types.h"

namespace mlext {

// Up to kMaxRank sizes or strides.
struct Dims {
  int rank = 0;
  index v[kMaxRank] = {};

  Dims() = default;
  Dims(std::initializer_list<index> values) {
    for (index value : values) push(value);
  }
  index& operator[](int i) { return v[i]; }
  index operator[](int i) const { return v[i]; }
  void push(index value) {
    if (rank == kMaxRank) throw ValueError(text("expected at most ", kMaxRank, " dimensions"));
    v[rank++] = value;
  }
  const index* begin() const { return v; }
  const index* end() const { return v + rank; }
  index count() const {
    index n = 1;
    for (int i = 0; i < rank; ++i) n *= v[i];
    return n;
  }
  bool operator==(const Dims& other) const {
    if (rank != other.rank) return false;
    for (int i = 0; i < rank; ++i) {
      if (v[i] != other.v[i]) return false;
    }
    return true;
  }
};

// Row-major strides of a shape.
Dims dense_strides(const Dims& shape);
// The common shape under NumPy's broadcasting rule; ValueError naming `op` and both shapes if there is none.
Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b);
// -1 .. rank-1 made 0 .. rank-1; IndexError naming `op` and the valid range.
int check_axis(const char* op, index axis, int rank);

class Array {
 public:
  void* data = nullptr;
  BufferRef buffer;  // empty: memory borrowed from the caller for the length of one call
  Dims shape;
  Dims strides;
  DType dtype = DType::float32;
  Device device = Device::cpu;

  // Fresh, uninitialised, row-major. Filling it is a kernel's work, so that a replay fills it again.
  static Array empty(const Dims& shape, DType dtype, Device device = Device::cpu);

  int rank() const { return shape.rank; }
  index size() const { return shape.count(); }
  index nbytes() const { return size() * item_size(dtype); }
  bool is_dense() const;

  template <class T>
  T* ptr() const {
    return static_cast<T*>(data);
  }
  // Element offset from `data`.
  Array shifted(index elements) const;
  // Same memory, other geometry.
  Array view(const Dims& new_shape, const Dims& new_strides) const;
  // Strides set to 0 along broadcast axes; the shape must be compatible.
  Array broadcast_to(const Dims& target) const;
  // Axis i of the result is axis order[i] of this one; every axis once.
  Array permuted(const Dims& order) const;

  void written() const {
    if (buffer) buffer->version.fetch_add(1, std::memory_order_relaxed);
  }
};

// "float32 (2, 3)": for error texts.
std::ostream& operator<<(std::ostream& out, const Array& array);

// Memory so many bytes further on; null stays null.
template <class P>
P* moved(P* p, index bytes) {
  using Byte = std::conditional_t<std::is_const_v<P>, const char, char>;
  return p == nullptr ? p : reinterpret_cast<P*>(reinterpret_cast<Byte*>(p) + bytes);
}

// ---- arrays that need not be there ------------------------------------------------------------------------------

// As the list of a launch wants it: null for none.
inline const Array* given(const Array& a) { return a.data != nullptr ? &a : nullptr; }
// As a result at the door: without elements for none.
inline Array or_nothing(const Array& a, DType dtype) { return a.buffer ? a : Array::empty({0}, dtype); }

// ---- checks at the door -------------------------------------------------------------------------------------------
void require_floating(const char* op, const char* name, const Array& a);
void require_dtype(const char* op, const char* name, const Array& a, DType dtype, const char* why);
void require_same_dtype(const char* op, const char* name, const Array& a, const char* reference, const Array& b);
void require_shape(const char* op, const char* name, const Array& a, const Dims& expected, const std::string& why);
void require_min_rank(const char* op, const char* name, const Array& a, int rank);
void require_writable(const char* op, const char* name, const Array& a);

}  // namespace mlext
