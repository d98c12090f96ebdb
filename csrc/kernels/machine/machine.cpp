#include "kernels/machine/machine.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/array.h"
#include "core/isa.h"
#include "core/parallel.h"

namespace mlext {

MLEXT_DISPATCH_OF(machine, MachineKernels, machine_kernels)

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Median rate of `work(thread)`, which returns units done, on all threads at once.
template <class F>
double median_rate(F&& work) {
  const index threads = num_threads();
  std::vector<double> rates;
  for (int repeat = 0; repeat < 9; ++repeat) {
    std::vector<double> units(static_cast<std::size_t>(threads));
    const double start = now();
    parallel_for(threads, 1, [&](index begin, index end) {
      for (index t = begin; t < end; ++t) units[static_cast<std::size_t>(t)] = work(t);
    });
    const double seconds = now() - start;
    double total = 0;
    for (const double u : units) total += u;
    rates.push_back(total / seconds);
  }
  std::nth_element(rates.begin(), rates.begin() + 4, rates.end());
  return rates[4];
}

}  // namespace

MachinePeak measure_machine(index working_set_bytes) {
  const auto& kernels = machine_kernels(Device::cpu);
  const index n = std::max<index>(working_set_bytes / 8 / 1024 * 1024, 1024);  // two arrays of floats
  const index passes = std::max<index>(1, (index{1} << 22) / n);
  std::vector<Array> x, y;
  for (int t = 0; t < num_threads(); ++t) {
    x.push_back(Array::empty({n}, DType::float32));
    y.push_back(Array::empty({n}, DType::float32));
    std::fill_n(x.back().ptr<float>(), n, 1.0f);
    std::fill_n(y.back().ptr<float>(), n, 1.0f);
  }
  alignas(64) static thread_local float sink_f32[64];
  alignas(64) static thread_local double sink_f64[64];
  alignas(64) static thread_local std::int32_t sink_i8[64];
  MachinePeak peak{};
  peak.gflops_f32 = median_rate([&](index) { return kernels.fma_f32(200000, sink_f32); }) / 1e9;
  peak.gflops_f64 = median_rate([&](index) { return kernels.fma_f64(200000, sink_f64); }) / 1e9;
  peak.gflops_bf16 = peak.gflops_f32;
  if (kernels.dot_bf16 != nullptr)
    peak.gflops_bf16 = median_rate([&](index) { return kernels.dot_bf16(200000, sink_f32); }) / 1e9;
  peak.gops_i8 = median_rate([&](index) { return kernels.dot_i8(200000, sink_i8); }) / 1e9;
  peak.read_gbytes = median_rate([&](index t) {
                       const float* data = x[static_cast<std::size_t>(t)].ptr<float>();
                       for (index p = 0; p < passes; ++p) sink_f32[0] += kernels.read(data, n);
                       return 4.0 * static_cast<double>(n * passes);
                     }) /
                     1e9;
  peak.copy_gbytes =
      median_rate([&](index t) {
        for (index p = 0; p < passes; ++p) {
          kernels.copy(x[static_cast<std::size_t>(t)].ptr<float>(), y[static_cast<std::size_t>(t)].ptr<float>(), n);
        }
        return 8.0 * static_cast<double>(n * passes);
      }) /
      1e9;
  return peak;
}

}  // namespace mlext
