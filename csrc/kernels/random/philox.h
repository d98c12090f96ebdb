// Philox4x32-10 in 64-bit lanes: each lane holds one 32-bit word of one block in its low half. The widening multiplication
// ignores the high half, so no word is ever cleaned: a round is 2 multiplications, 2 shifts and 2 three-way xors for N
// blocks, six instructions for 32 numbers on AVX-512.
#pragma once

#include "kernels/random/random.h"
#include "simd/vec.h"

namespace mlext::MLEXT_LEVEL {

using Wide = typename Isa<double>::UNative;
inline constexpr int kWide = static_cast<int>(Vec<double>::N);

MLEXT_INLINE Wide multiply_wide(Wide a, std::uint64_t m) {
#if defined(__AVX512F__)
  return reinterpret_cast<Wide>(
      _mm512_mul_epu32(reinterpret_cast<__m512i>(a), _mm512_set1_epi64(static_cast<long long>(m))));
#elif defined(__AVX2__)
  return reinterpret_cast<Wide>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), _mm256_set1_epi64x(static_cast<long long>(m))));
#elif defined(__SSE2__)
  return reinterpret_cast<Wide>(
      _mm_mul_epu32(reinterpret_cast<__m128i>(a), _mm_set1_epi64x(static_cast<long long>(m))));
#else
  return (a & 0xffffffffu) * m;
#endif
}

// Lane l counts block l / 2, the odd lanes half a vector further: unpacking pairs of words then leaves blocks in order.
template <int... i>
MLEXT_INLINE Wide lane_blocks(Lanes<i...>) {
  return Wide{static_cast<std::uint64_t>(i / 2 + i % 2 * (kWide / 2))...};
}
template <int odd, int... i>
MLEXT_INLINE Wide unpack(Wide a, Wide b, Lanes<i...>) {
  return __builtin_shufflevector(a, b, (i % 2 * kWide + i / 2 * 2 + odd)...);
}

// `count` vectors of blocks at once: one chain of ten multiplications takes 70 cycles and leaves the ports idle.
template <int count>
MLEXT_INLINE void philox_vectors(const Stream& s, std::uint64_t block, std::uint32_t* out) {
  using AllLanes = typename MakeLanes<kWide>::Type;
  Wide x[count][4];
  for (int v = 0; v < count; ++v) {
    const Wide counter = lane_blocks(AllLanes{}) + (s.counter + block + static_cast<std::uint64_t>(v * kWide));
    x[v][0] = counter;
    x[v][1] = counter >> 32;
    x[v][2] = Wide{} + s.high;
    x[v][3] = Wide{} + (s.high >> 32);
  }
  std::uint32_t k0 = static_cast<std::uint32_t>(s.key), k1 = static_cast<std::uint32_t>(s.key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int v = 0; v < count; ++v) {
      const Wide p0 = multiply_wide(x[v][0], 0xD2511F53), p1 = multiply_wide(x[v][2], 0xCD9E8D57);
      x[v][0] = (p1 >> 32) ^ x[v][1] ^ k0;
      x[v][1] = p1;
      x[v][2] = (p0 >> 32) ^ x[v][3] ^ k1;
      x[v][3] = p0;
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  for (int v = 0; v < count; ++v) {
    const Wide a = (x[v][0] & 0xffffffffu) | x[v][1] << 32, b = (x[v][2] & 0xffffffffu) | x[v][3] << 32;
    const Wide low = unpack<0>(a, b, AllLanes{}), high = unpack<1>(a, b, AllLanes{});
    __builtin_memcpy(out + 4 * kWide * v, &low, sizeof low);
    __builtin_memcpy(out + 4 * kWide * v + 2 * kWide, &high, sizeof high);
  }
}

// words[0, count) of the blocks from `block` on; writes up to the next multiple of kRandomBlock / 4 words past count.
MLEXT_INLINE void philox(const Stream& s, std::uint64_t block, index count, std::uint32_t* words) {
  constexpr int kVectors = kWide == 8 ? 4 : 2;  // 16 of the registers hold state
  constexpr index kStep = 4 * kWide * kVectors;
  for (index at = 0; at < count; at += kStep) {
    philox_vectors<kVectors>(s, block + static_cast<std::uint64_t>(at / 4), words + at);
  }
}

}  // namespace mlext::MLEXT_LEVEL
