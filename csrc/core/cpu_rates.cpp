// Whether instructions that a CPU has are worth using, timed once: some CPUs take an instruction apart into so many steps
// that what it replaces is faster.
#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>

#include "core/isa.h"

namespace mlext {

#if defined(__x86_64__)

namespace {

// 256 rounds of twelve independent sums of zeros by instruction `op`, more than its latency takes to hide.
#define MLEXT_SUM(op, i) op " %%zmm12, %%zmm12, %%zmm" #i "\n\t"
#define MLEXT_SUMS(op, a, b, c, d) MLEXT_SUM(op, a) MLEXT_SUM(op, b) MLEXT_SUM(op, c) MLEXT_SUM(op, d)
#define MLEXT_ROUNDS(op)                                                                                               \
  asm volatile("vzeroall\n\tmovl $256, %%ecx\n1:\n\t" MLEXT_SUMS(op, 0, 1, 2, 3) MLEXT_SUMS(op, 4, 5, 6, 7)            \
                   MLEXT_SUMS(op, 8, 9, 10, 11) "decl %%ecx\n\tjnz 1b\n\tvzeroupper"                                   \
               :                                                                                                       \
               :                                                                                                       \
               : "ecx", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
                 "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

// The least of several times: the others were interrupted, or the wide units had to wake up first.
double best_time(void (*rounds)()) {
  using Clock = std::chrono::steady_clock;
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < 32; ++run) {
    const Clock::time_point start = Clock::now();
    rounds();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

// vdpbf16ps does the work of two fmas of float32 and spares the widening, but rounds and flushes in its own way: worth it
// if it takes at most 4/3 of the time of one. It takes as long as one on Zen 5, and four times as long on Emerald Rapids.
bool pairs_pay() {
  const double fma = best_time([] { MLEXT_ROUNDS("vfmadd231ps"); });
  const double pairs = best_time([] { MLEXT_ROUNDS("vdpbf16ps"); });
  return 3 * pairs <= 4 * fma;
}

}  // namespace

bool level_pays(Level level) {
  const bool has_pairs = std::string_view(level_features(level)).find("avx512bf16") != std::string_view::npos;
  return !has_pairs || pairs_pay();
}

#else

bool level_pays(Level) { return true; }

#endif

}  // namespace mlext
