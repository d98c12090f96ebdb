#include "kernels/elementwise/transpose.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// An N x N tile in registers, transposed in log2 N steps: step d exchanges, between rows i and i + d, the lanes in which
// bit d says that they belong to the other. N log2 N shuffles for N^2 elements.
template <int d, int upper, class V, int... i>
MLEXT_INLINE V exchange(V a, V b, Lanes<i...>) {
  constexpr int n = sizeof...(i);
  if constexpr (upper) return __builtin_shufflevector(a, b, (i & d ? n + i : i + d)...);
  return __builtin_shufflevector(a, b, (i & d ? n + i - d : i)...);
}
template <int d, class V, int n>
MLEXT_INLINE void transpose_tile(V (&row)[n]) {
  using AllLanes = typename MakeLanes<n>::Type;
  for (int i = 0; i < n; ++i) {
    if (i & d) continue;
    const V a = row[i], b = row[i + d];
    row[i] = exchange<d, 0>(a, b, AllLanes{});
    row[i + d] = exchange<d, 1>(a, b, AllLanes{});
  }
  if constexpr (d > 1) transpose_tile<d / 2>(row);
}

template <class U>
MLEXT_INLINE void edge(const TransposeArgs& t, index r0, index r1, index c0, index c1) {
  const U* in = static_cast<const U*>(t.in);
  U* out = static_cast<U*>(t.out);
  for (index r = r0; r < r1; ++r) {
    for (index c = c0; c < c1; ++c) out[r * t.out_step + c] = in[c * t.in_step + r];
  }
}

// n planes become points of n numbers side by side, such as the colours of pixels, and back. With n known, the compiler
// makes whole vectors of both.
template <class U, int n>
void join(const TransposeArgs& t) {
  const U* __restrict in = static_cast<const U*>(t.in);
  U* __restrict out = static_cast<U*>(t.out);
  for (index r = 0; r < t.rows; ++r) {
    for (int c = 0; c < n; ++c) out[r * n + c] = in[c * t.in_step + r];
  }
}
template <class U, int n>
void part(const TransposeArgs& t) {
  const U* __restrict in = static_cast<const U*>(t.in);
  U* __restrict out = static_cast<U*>(t.out);
  for (index c = 0; c < t.columns; ++c) {
    for (int r = 0; r < n; ++r) out[r * t.out_step + c] = in[c * n + r];
  }
}
// false: there are more of them, or gaps.
template <class U>
bool few(const TransposeArgs& t) {
  if (t.columns == t.out_step) {
    if (t.columns == 2) return join<U, 2>(t), true;
    if (t.columns == 3) return join<U, 3>(t), true;
    if (t.columns == 4) return join<U, 4>(t), true;
  }
  if (t.rows == t.in_step) {
    if (t.rows == 2) return part<U, 2>(t), true;
    if (t.rows == 3) return part<U, 3>(t), true;
    if (t.rows == 4) return part<U, 4>(t), true;
  }
  return false;
}

// T carries the bits of 4 or 8 byte elements; nothing is computed on them.
template <class T>
void transpose_wide(const TransposeArgs& t) {
  if (few<T>(t)) return;
  constexpr int n = static_cast<int>(Vec<T>::N);
  const T* in = static_cast<const T*>(t.in);
  T* out = static_cast<T*>(t.out);
  const index rows = t.rows - t.rows % n, columns = t.columns - t.columns % n;
  // Tiles run along c: the output is written line after line, and the n input rows of the next tile are elsewhere anyway.
  for (index r = 0; r < rows; r += n) {
    for (index c = 0; c < columns; c += n) {
      typename Isa<T>::Native row[n];
      for (int i = 0; i < n; ++i) row[i] = Isa<T>::load(in + (c + i) * t.in_step + r);
      transpose_tile<n / 2>(row);
      for (int i = 0; i < n; ++i) Isa<T>::store(out + (r + i) * t.out_step + c, row[i]);
    }
  }
  edge<T>(t, 0, rows, columns, t.columns);
  edge<T>(t, rows, t.rows, 0, t.columns);
}

// Small elements: blocks of one cache line in each direction, element by element from L1.
template <class U>
void transpose_narrow(const TransposeArgs& t) {
  if (few<U>(t)) return;
  constexpr index kBlock = 64 / sizeof(U);
  for (index r = 0; r < t.rows; r += kBlock) {
    const index r1 = r + kBlock < t.rows ? r + kBlock : t.rows;
    for (index c = 0; c < t.columns; c += kBlock) {
      edge<U>(t, r, r1, c, c + kBlock < t.columns ? c + kBlock : t.columns);
    }
  }
}

}  // namespace

extern const TransposeKernels transpose_kernels;
const TransposeKernels transpose_kernels = {
    {transpose_narrow<std::uint8_t>, transpose_narrow<std::uint16_t>, transpose_wide<float>, transpose_wide<double>}};

}  // namespace mlext::MLEXT_LEVEL
