#include "kernels/machine/machine.h"

#include "simd/vec_int.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// Two FMA ports x 4 cycles latency need 8 chains in flight; 12 leave room and still fit the 16 registers of AVX2.
constexpr int kChains = 12;

template <class T>
double fma_peak(index rounds, T* sink) {
  using V = Vec<T>;
  V acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = V(T(i));
  const V a(T(0.999999)), b(T(1e-6));
  for (index r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], a, b);
  }
  V sum = acc[0];
  for (int i = 1; i < kChains; ++i) sum += acc[i];
  sum.store(sink);
  return 2.0 * static_cast<double>(rounds * kChains * V::N);
}

// Each product has its own sum as a factor: otherwise compilers take a product of constants out of the loop.
double dot_peak(index rounds, std::int32_t* sink) {
  using V = Vec<std::int32_t>;
  V acc[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) acc[i] = V(i);
  const V b(0x01000100);
  for (index r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) add_product(acc[i], acc[i], b);
  }
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) acc[i].store(sink);
  return 2.0 * kGroup * static_cast<double>(rounds * kChains * V::N);
}

#if defined(__AVX512BF16__)
double pair_peak(index rounds, float* sink) {
  using V = Vec<float>;
  V acc[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) acc[i] = V(static_cast<float>(i));
  const __m512bh zeros{};
  for (index r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (V& sum : acc) sum = V(_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(sum.v), zeros));
  }
  for (int i = 1; i < kChains; ++i) acc[0] += acc[i];
  acc[0].store(sink);
  return 2.0 * 2.0 * static_cast<double>(rounds * kChains * V::N);
}
#else
constexpr double (*pair_peak)(index, float*) = nullptr;
#endif

float read_all(const float* x, index n) {
  using V = Vec<float>;
  V acc[8];
  for (V& a : acc) a = V::zero();
  for (index i = 0; i < n; i += 8 * V::N) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) acc[j] += V::load(x + i + j * V::N);
  }
  for (int i = 1; i < 8; ++i) acc[0] += acc[i];
  return reduce_add(acc[0]);
}

void copy_all(const float* x, float* y, index n) {
  using V = Vec<float>;
  for (index i = 0; i < n; i += V::N) V::load(x + i).store(y + i);
}

}  // namespace

extern const MachineKernels machine_kernels;
constexpr MachineKernels machine_kernels{fma_peak<float>, fma_peak<double>, dot_peak, pair_peak, read_all, copy_all};

}  // namespace mlext::MLEXT_LEVEL
