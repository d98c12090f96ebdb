// csrc/simd under test: every Vec operation and math function of every ISA level, callable on plain
// buffers. Nothing in the library uses this family; tests/test_simd.py does.
#pragma once

#include "core/types.h"

namespace mlext {

// One operation for one pair of element types: out[i] = op(a[i], b[i], c[i]) for i < n, by partial loads and stores of 1 to N
// lanes. Conversions use whole vectors as far as they go.
struct VecmathOp {
  const char* name;
  DType in, out;
  int arity;
  void (*run)(const void* a, const void* b, const void* c, void* out, index n);
};

struct VecmathKernels {
  const VecmathOp* ops;
  index count;
};

// Selects the level by its name, whatever the active one is. ValueError for a level that is unknown
// or that this CPU lacks, for an operation that does not exist for these types, and for a missing
// operand.
void vecmath_run(const char* level, const char* op, DType in, DType out_dtype, const void* a, const void* b,
                 const void* c, void* out, index n);

}  // namespace mlext
