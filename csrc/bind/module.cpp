// mlext._C: registers everything, in one list.
#include <pybind11/pybind11.h>

#include "bind/arrays.h"
#include "bind/families.h"
#include "bind/runtime.h"
#include "bind/tape.h"

PYBIND11_MODULE(_C, m, pybind11::mod_gil_not_used()) {
  m.doc() = "Kernels and runtime of mlext. Use the mlext package; this module has no stable interface.";
  m.attr("__version__") = MLEXT_VERSION;
  mlext::bind_runtime(m);
  mlext::bind_arrays(m);
  mlext::bind_tape(m);
  mlext::bind_operation(m);
  mlext::bind_program(m);
#define MLEXT_BIND(family) mlext::bind_##family(m);
  MLEXT_FAMILIES(MLEXT_BIND)
#undef MLEXT_BIND
}
