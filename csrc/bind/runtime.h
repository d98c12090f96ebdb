// What is not about arrays: threads, levels, memory, profile, checks; and captured programs.
#pragma once

#include <pybind11/pybind11.h>

namespace mlext {

void bind_runtime(pybind11::module_& m);
void bind_program(pybind11::module_& m);

}  // namespace mlext
