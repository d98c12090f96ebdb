// What this machine can do: the peaks that profiles and benchmarks are measured against.
#pragma once

#include "core/types.h"

namespace mlext {

struct MachineKernels {
  // Runs `rounds` rounds of independent fused multiply-adds in registers; returns the FLOPs done. `sink` takes a result so
  // that nothing is optimised away.
  double (*fma_f32)(index rounds, float* sink);
  double (*fma_f64)(index rounds, double* sink);
  // The same with products of bytes, summed in int32: multiplications and additions.
  double (*dot_i8)(index rounds, std::int32_t* sink);
  // The same with pairs of bfloat16, summed in float32; null where products of bfloat16 are products of float32.
  double (*dot_bf16)(index rounds, float* sink);
  // Sums n floats (n a multiple of 1024).
  float (*read)(const float* x, index n);
  void (*copy)(const float* x, float* y, index n);
};

struct MachinePeak {
  double gflops_f32, gflops_f64;  // all threads
  double gflops_bf16;
  double gops_i8;
  double read_gbytes;  // one stream of `working_set` bytes per thread
  double copy_gbytes;  // read + written
};

// Medians of several runs on the active level with the current number of threads; about 20 ms per figure.
MachinePeak measure_machine(index working_set_bytes);

}  // namespace mlext
