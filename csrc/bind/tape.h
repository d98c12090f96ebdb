// The three questions of the tape that every op asks, answered without a Python frame.
#pragma once

#include <pybind11/pybind11.h>

namespace mlext {

void bind_tape(pybind11::module_& m);
// Captures depend on state outside memory (modes, requires_grad); whoever changes such state calls this.
void bump_epoch();

}  // namespace mlext
