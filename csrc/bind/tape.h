// What every op asks of the tape, answered without a Python frame.
#pragma once

#include <pybind11/pybind11.h>

namespace mlext {

void bind_tape(pybind11::module_& m);
void bind_operation(pybind11::module_& m);
// Recording is on and some value is a Tensor that requires a gradient.
bool any_tracked(PyObject* const* values, Py_ssize_t count);
// Captures depend on state outside memory (modes, requires_grad); whoever changes such state calls this.
void bump_epoch();

}  // namespace mlext
