// How many parts a length falls into, and where they begin.
#pragma once

#include <algorithm>

#include "core/types.h"

namespace mlext::gemm_detail {

// Division of non-negative numbers. 64-bit division takes 40 to 90 cycles on many CPUs, which small products would feel.
inline index divide(index a, index b) {
  if (((a | b) >> 32) == 0) return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
  return a / b;
}
inline index ceil_div(index a, index b) { return divide(a + b - 1, b); }

// n things in parts that differ by one at most.
struct Split {
  index count = 1, base = 1, extra = 0;

  static Split of(index n, index largest) {
    if (n <= largest) return {1, n, 0};
    const index count = ceil_div(n, largest), base = divide(n, count);
    return {count, base, n - count * base};
  }
  index size(index i) const { return base + (i < extra ? 1 : 0); }
  index begin(index i) const { return i * base + std::min(i, extra); }
};

}  // namespace mlext::gemm_detail
