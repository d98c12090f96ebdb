// One registration function per kernel family; module.cpp calls them.
#pragma once

#include <pybind11/pybind11.h>

namespace mlext {

#define MLEXT_FAMILIES(X) \
  X(attention)            \
  X(conv)                 \
  X(ctc)                  \
  X(elementwise)          \
  X(gemm)                 \
  X(loss) X(machine) X(norm) X(pool) X(random) X(reduce) X(rnn) X(rotary) X(shape) X(softmax) X(update) X(vecmath)

#define MLEXT_DECLARE(family) void bind_##family(pybind11::module_& m);
MLEXT_FAMILIES(MLEXT_DECLARE)
#undef MLEXT_DECLARE

}  // namespace mlext
