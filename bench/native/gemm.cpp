// GEMM from C++, without Python: time, GFLOP/s and per cent of this machine's measured peak.
//   bench_gemm [threads]            the built-in sizes
//   bench_gemm threads m n k [NN|NT|TN|TT]
// Every figure is the best of many runs: on a shared machine the best is the one that was not disturbed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "core/allocator.h"
#include "core/dtype.h"
#include "core/isa.h"
#include "core/parallel.h"
#include "kernels/gemm/gemm.h"
#include "kernels/machine/machine.h"

namespace {

using mlext::GemmArgs;
using Size = mlext::index;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// One thread is timed by its own CPU time, which other processes on the machine disturb less.
double stopwatch() { return mlext::num_threads() > 1 ? now() : static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

struct Peak {
  double f32 = 0, f64 = 0;
};

// The best seen so far: measured again around every size, since the machine may be busy at any one time.
void raise(Peak& peak) {
  for (int i = 0; i < 10; ++i) {
    const mlext::MachinePeak once = mlext::measure_machine(1 << 20);
    peak.f32 = std::max(peak.f32, once.gflops_f32);
    peak.f64 = std::max(peak.f64, once.gflops_f64);
  }
}

// Pooled memory, as arrays have it: huge pages where it is large.
template <class T>
mlext::BufferRef filled(Size count) {
  mlext::BufferRef buffer(mlext::default_pool().take(static_cast<std::size_t>(count) * sizeof(T)));
  T* values = static_cast<T*>(buffer->data);
  for (Size i = 0; i < count; ++i) values[i] = static_cast<T>(i % 17) / 16 - static_cast<T>(0.5);
  return buffer;
}

double best_seconds(const GemmArgs& args) {
  const double begin = now();
  gemm(args);
  const int repeats = std::clamp(static_cast<int>(1e-3 / std::max(now() - begin, 1e-9)), 1, 10000);
  double best = 1e30;
  for (const double end = now() + 0.5; now() < end;) {
    const double start = stopwatch();
    for (int i = 0; i < repeats; ++i) gemm(args);
    best = std::min(best, (stopwatch() - start) / repeats);
  }
  return best;
}

template <class T>
void report(Size m, Size n, Size k, const char* form, double peak) {
  const mlext::BufferRef a = filled<T>(m * k), b = filled<T>(k * n), c = filled<T>(m * n);
  const bool transposed_a = form[0] == 'T', transposed_b = form[1] == 'T';
  GemmArgs args;
  args.dtype = args.out_dtype = mlext::kDTypeOf<T>;
  args.m = m;
  args.n = n;
  args.k = k;
  args.a = a->data;
  args.b = b->data;
  args.c = c->data;
  args.a_row = transposed_a ? 1 : k;
  args.a_col = transposed_a ? m : 1;
  args.b_row = transposed_b ? 1 : n;
  args.b_col = transposed_b ? k : 1;
  args.c_row = n;
  const double seconds = best_seconds(args);
  const double gflops = 2e-9 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / seconds;
  std::printf("%-8s %s %5lld x %5lld x %5lld %12.3f us %8.1f GFLOP/s %5.1f %%\n", mlext::dtype_name(mlext::kDTypeOf<T>),
              form, static_cast<long long>(m), static_cast<long long>(n), static_cast<long long>(k), seconds * 1e6,
              gflops, 100 * gflops / peak);
}

void report_both(Size m, Size n, Size k, const char* form, Peak& peak) {
  raise(peak);
  report<float>(m, n, k, form, peak.f32);
  report<double>(m, n, k, form, peak.f64);
}

}  // namespace

int main(int argc, char** argv) {
  mlext::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  Peak peak;
  for (int i = 0; i < 20; ++i) raise(peak);
  std::printf("level %s, %d threads, peak %.1f float32, %.1f float64 GFLOP/s\n",
              mlext::level_name(mlext::active_level()), mlext::num_threads(), peak.f32, peak.f64);
  if (argc > 4) {
    report_both(std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4]), argc > 5 ? argv[5] : "NN", peak);
    return 0;
  }
  for (const Size n : {8, 16, 32, 64, 96, 127, 128, 192, 256, 512, 1024, 2048}) report_both(n, n, n, "NN", peak);
  for (const Size m : {1, 4, 16, 64}) report_both(m, 1024, 1024, "NT", peak);
  return 0;
}
