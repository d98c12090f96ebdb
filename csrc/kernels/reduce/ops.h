// What one reduction does with vectors, and the cascade that keeps long sums accurate.
#pragma once

#include "kernels/reduce/reduce.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

// A functor has: start() the identity, step(acc, x, center), join(a, b) of two partial results, lanes(acc).
struct SumOp {
  template <class V>
  static MLEXT_INLINE V start() {
    return V::zero();
  }
  template <class V>
  static MLEXT_INLINE V step(V acc, V x, V) {
    return acc + x;
  }
  template <class V>
  static MLEXT_INLINE V join(V a, V b) {
    return a + b;
  }
  template <class V>
  static MLEXT_INLINE typename V::Scalar lanes(V a) {
    return reduce_add(a);
  }
};

struct SquareOp : SumOp {
  template <class V>
  static MLEXT_INLINE V step(V acc, V x, V) {
    return fma(x, x, acc);
  }
};

struct DeviationOp : SumOp {
  template <class V>
  static MLEXT_INLINE V step(V acc, V x, V center) {
    const V d = x - center;
    return fma(d, d, acc);
  }
};

struct ProductOp {
  template <class V>
  static MLEXT_INLINE V start() {
    return V(typename V::Scalar(1));
  }
  template <class V>
  static MLEXT_INLINE V step(V acc, V x, V) {
    return acc * x;
  }
  template <class V>
  static MLEXT_INLINE V join(V a, V b) {
    return a * b;
  }
  template <class V>
  static MLEXT_INLINE typename V::Scalar lanes(V a) {
    return V::I::fold(a.v, [](auto x, auto y) { return x * y; });
  }
};

struct MaxOp {
  template <class V>
  static MLEXT_INLINE V start() {
    return V(-typename V::Scalar(__builtin_inf()));
  }
  template <class V>
  static MLEXT_INLINE V step(V acc, V x, V) {
    return max_nan(acc, x);
  }
  template <class V>
  static MLEXT_INLINE V join(V a, V b) {
    return max_nan(a, b);
  }
  template <class V>
  static MLEXT_INLINE typename V::Scalar lanes(V a) {
    return reduce_max(a);
  }
};

struct MinOp {
  template <class V>
  static MLEXT_INLINE V start() {
    return V(typename V::Scalar(__builtin_inf()));
  }
  template <class V>
  static MLEXT_INLINE V step(V acc, V x, V) {
    return min_nan(acc, x);
  }
  template <class V>
  static MLEXT_INLINE V join(V a, V b) {
    return min_nan(a, b);
  }
  template <class V>
  static MLEXT_INLINE typename V::Scalar lanes(V a) {
    return reduce_min(a);
  }
};

// Partial results joined like the carries of a binary counter: level k holds one result of 2^k blocks whenever bit k of
// the count is set. The depth of the tree is log2 of the number of blocks, and nothing is kept but one value per level.
template <class V, class Op>
struct Cascade {
  V level[48];
  index blocks = 0;

  MLEXT_INLINE void push(V acc) {
    int k = 0;
    for (; blocks >> k & 1; ++k) acc = Op::join(level[k], acc);
    level[k] = acc;
    ++blocks;
  }
  MLEXT_INLINE V finish(V acc) const {
    for (int k = 0; blocks >> k; ++k) {
      if (blocks >> k & 1) acc = Op::join(level[k], acc);
    }
    return acc;
  }
};

// ---- integers: exact in any order, so plain loops that the compiler vectorises --------------------------------------
// Unsigned accumulators wrap where signed ones would be undefined.
struct IntSum {
  using Acc = std::uint64_t;
  template <class S>
  static MLEXT_INLINE Acc run(Acc acc, S x) {
    return acc + static_cast<Acc>(static_cast<std::int64_t>(x));
  }
};
struct IntProduct {
  using Acc = std::uint64_t;
  template <class S>
  static MLEXT_INLINE Acc run(Acc acc, S x) {
    return acc * static_cast<Acc>(static_cast<std::int64_t>(x));
  }
};
struct IntMax {
  template <class S>
  static MLEXT_INLINE S run(S acc, S x) {
    return acc > x ? acc : x;
  }
};
struct IntMin {
  template <class S>
  static MLEXT_INLINE S run(S acc, S x) {
    return acc < x ? acc : x;
  }
};

}  // namespace mlext::MLEXT_LEVEL
