// Loop: the common iteration space of several strided operands, with as few axes as their strides allow.
#pragma once

#include "core/array.h"

namespace mlext {

inline constexpr int kMaxOperands = 4;

struct Loop {
  int operands = 0;
  int rank = 0;  // at least 1
  index shape[kMaxRank] = {1};
  index step[kMaxOperands][kMaxRank] = {};  // in elements; 0 where an operand is broadcast
  index itemsize[kMaxOperands] = {};

  // Adds an operand whose shape broadcasts to `target`.
  void add(const Array& a, const Dims& target);
  // Call once after the last add: drops axes of size 1 and joins axes that every operand crosses without a jump.
  void collapse();

  index inner() const { return shape[rank - 1]; }
  index outer() const;
  // Byte offset of operand `o` at the outer index `at` (row-major over all axes but the last).
  index offset(int o, index at) const;
};

}  // namespace mlext
