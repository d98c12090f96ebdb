#include "kernels/vecmath/vecmath.h"

#include <cstring>
#include <string>

#include "core/dtype.h"
#include "core/error.h"
#include "core/isa.h"

namespace mlext {

MLEXT_FOR_EACH_LEVEL(MLEXT_DECLARE_TABLE, VecmathKernels, vecmath_kernels)

namespace {

const VecmathKernels& kernels_of(const char* level) {
  static const VecmathKernels* const rows[kLevels] = {MLEXT_FOR_EACH_LEVEL(MLEXT_TABLE_ROW, vecmath_kernels)};
  for (int i = 0; i < kLevels; ++i) {
    if (std::strcmp(level_name(static_cast<Level>(i)), level) != 0) continue;
    if (!level_available(static_cast<Level>(i))) refuse("_simd", "level", "a level this CPU can run", level);
    return *rows[i];
  }
  refuse("_simd", "level", "an ISA level of this build", level);
}

const VecmathOp& find_op(const VecmathKernels& kernels, const char* name, DType in, DType out) {
  for (index i = 0; i < kernels.count; ++i) {
    const VecmathOp& op = kernels.ops[i];
    if (std::strcmp(op.name, name) == 0 && op.in == in && op.out == out) return op;
  }
  refuse("_simd", "op", text("an operation from ", in, " to ", out), name);
}

}  // namespace

void vecmath_run(const char* level, const char* op, DType in, DType out_dtype, const void* a, const void* b,
                 const void* c, void* out, index n) {
  const VecmathOp& found = find_op(kernels_of(level), op, in, out_dtype);
  if (found.arity > 1 && b == nullptr) refuse("_simd", "b", text("an array, as ", op, " has two operands"), "None");
  if (found.arity > 2 && c == nullptr) refuse("_simd", "c", text("an array, as ", op, " has three operands"), "None");
  found.run(a, b, c, out, n);
}

}  // namespace mlext
