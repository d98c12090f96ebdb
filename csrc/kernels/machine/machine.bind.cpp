#include "kernels/machine/machine.h"

#include "bind/families.h"

namespace mlext {

void bind_machine(pybind11::module_& m) {
  m.def(
      "measure_machine",
      [](index working_set_bytes) {
        MachinePeak peak;
        {
          pybind11::gil_scoped_release release;
          peak = measure_machine(working_set_bytes);
        }
        pybind11::dict out;
        out["gflops_f32"] = peak.gflops_f32;
        out["gflops_f64"] = peak.gflops_f64;
        out["gflops_bf16"] = peak.gflops_bf16;
        out["gops_i8"] = peak.gops_i8;
        out["read_gbytes"] = peak.read_gbytes;
        out["copy_gbytes"] = peak.copy_gbytes;
        return out;
      },
      pybind11::arg("working_set_bytes"),
      "Measured peaks of the active level and thread count; memory rates for two arrays of this size in all.");
}

}  // namespace mlext
