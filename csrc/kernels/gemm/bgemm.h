// Products of bfloat16 by pairs: a CPU's dot-product instruction multiplies two steps of k and adds both to a float32 sum.
//
// They are products like others (gemm.h) whose element is a pair, as bytes are in groups of four (qgemm.h), for an even k.
// The instruction rounds every addition to nearest even, like fma, but takes the second step of a pair before the first, and
// takes subnormal factors and sums for 0.
#pragma once

#include "kernels/gemm/gemm.h"

namespace mlext {

// A float32 sum; among factors, the two of bfloat16 that lie in its place, the first one in the low bits.
struct HalfPair {
  float sum;
};
template <>
struct ScalarOf<HalfPair> {
  using Type = float;
};

// What a level provides; empty (without lanes) where it has no such instruction.
using BgemmKernels = GemmTypeKernels<HalfPair>;

}  // namespace mlext
