// The int32 tiles of one ISA level, how bytes get into groups, and how sums leave.
#include "kernels/gemm/qgemm.h"

#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.h"
#include "kernels/gemm/table.h"
#include "simd/parts.h"
#include "simd/vec_int.h"

namespace mlext::MLEXT_LEVEL {

namespace {

using Lane = std::int32_t;
// A byte as a group holds it. The sign of b is kept; a has none, so a signed a is taken 128 larger.
enum class Bytes { kUnsigned, kFlipped, kSigned };
template <Bytes kBytes>
MLEXT_INLINE auto factor_of(std::uint8_t byte) {
  const int value = kBytes == Bytes::kSigned    ? static_cast<std::int8_t>(byte)
                    : kBytes == Bytes::kFlipped ? byte ^ 0x80
                                                : byte;
  if constexpr (kGroup == 4) {
    return static_cast<std::uint8_t>(value);
  } else {
    return static_cast<std::uint16_t>(value);
  }
}

// kGroup factors `step` bytes apart, the first one in the low bits.
template <Bytes kBytes>
MLEXT_INLINE Lane group_of(const std::uint8_t* from, index step) {
  std::uint32_t lane = 0;
  for (int i = 0; i < kGroup; ++i) lane |= std::uint32_t{factor_of<kBytes>(from[i * step])} << (32 / kGroup * i);
  return static_cast<Lane>(lane);
}

// The groups of a vector's worth of neighbours. gcc finds the same, behind checks that take longer than a row of a panel.
template <Bytes kBytes>
MLEXT_INLINE Vec<Lane> groups_of(const std::uint8_t* from, index step) {
  auto lanes = Vec<Lane>::zero().wrapping();
#pragma GCC unroll 4
  for (int i = 0; i < kGroup; ++i) {
    auto factor = Vec<Lane>::load(from + i * step).wrapping();
    if constexpr (kBytes == Bytes::kFlipped) factor ^= 0x80;
    if constexpr (kBytes == Bytes::kSigned && kGroup == 2) factor = ((factor ^ 0x80) - 0x80) & 0xffff;
    lanes |= factor << (32 / kGroup * i);
  }
  return lanes;
}

// dst[i, j] = the group at src[i * src_row + j * src_col], whose bytes are `step` apart.
template <Bytes kBytes>
void pack_groups(const void* source, index src_row, index src_col, index step, index rows, index cols,
                 Lane* __restrict dst, index dst_row) {
  const auto* __restrict src = static_cast<const std::uint8_t*>(source);
  for (index i = 0; i < rows; ++i, src += src_row, dst += dst_row) {
    if (step == 1 && src_col == kGroup) {
      auto* __restrict to = reinterpret_cast<decltype(factor_of<kBytes>(0))*>(dst);
      for (index j = 0; j < cols * kGroup; ++j) to[j] = factor_of<kBytes>(src[j]);
    } else if (src_col == 1) {
      index j = 0;
      for (; j + Vec<Lane>::N <= cols; j += Vec<Lane>::N) groups_of<kBytes>(src + j, step).store(dst + j);
      for (; j < cols; ++j) dst[j] = group_of<kBytes>(src + j, step);
    } else {
      for (index j = 0; j < cols; ++j) dst[j] = group_of<kBytes>(src + j * src_col, step);
    }
  }
}

// A column of a is a group.
void pack_a(DType dtype, const void* src, index src_row, index src_col, index rows, index cols, Lane* dst,
            index dst_row) {
  const auto pack = dtype == DType::uint8 ? pack_groups<Bytes::kUnsigned> : pack_groups<Bytes::kFlipped>;
  pack(src, src_row, src_col, src_col / kGroup, rows, cols, dst, dst_row);
}

// A row of b is a group. Whole groups of bytes that lie in columns are transposed like float32.
void pack_b(DType, const void* src, index src_row, index src_col, index rows, index cols, Lane* dst, index dst_row) {
  if (kGroup == 4 && src_row == kGroup && src_col % 4 == 0) {
    pack_columns(static_cast<const float*>(src), src_col / 4, rows, cols, reinterpret_cast<float*>(dst), dst_row);
  } else {
    pack_groups<Bytes::kSigned>(src, src_row, src_col, src_row / kGroup, rows, cols, dst, dst_row);
  }
}

// Whole numbers as bytes from `low` to `high`. The first of max is taken only if it is larger, so a NaN becomes the lowest and the
// conversion is defined.
template <class B>
MLEXT_INLINE void store_whole(Vec<float> x, float low, float high, B* to, index n) {
  using W = Vec<float>;
  float values[W::N];
  min(max(x, W(low)), W(high)).store(values);
  if (n == W::N) {  // a count that is known becomes one instruction
    for (index l = 0; l < W::N; ++l) to[l] = static_cast<B>(static_cast<Lane>(values[l]));
  } else {
    for (index l = 0; l < n; ++l) to[l] = static_cast<B>(static_cast<Lane>(values[l]));
  }
}

// clamp(round(x * inverse) + zero, 0, 255).
MLEXT_INLINE void store_bytes(Vec<float> x, ByteStep step, std::uint8_t* to, index n) {
  using W = Vec<float>;
  store_whole(round(x * W(step.inverse)) + W(step.zero), 0, 255, to, n);
}

template <Activation kActivation>
void finish_as(const FinishArgs<Lane>& g) {
  using W = Vec<float>;
  for (index i = 0; i < g.rows; ++i) {
    const Lane* sums = g.tile + i * g.tile_row;
    float* c = static_cast<float*>(g.c) + i * g.c_row;
    std::uint8_t* bytes = static_cast<std::uint8_t*>(g.c) + i * g.c_row;
    for (index j = 0; j < g.cols; j += W::N) {
      const index n = g.cols - j < W::N ? g.cols - j : W::N;
      const W sum = fma(W::load(sums + j, n), W::load(g.scale_n + j, n), W::load(g.offset_n + j, n));
      const W v = activate<kActivation>(sum);
      g.out_dtype == DType::uint8 ? store_bytes(v, g.out_step, bytes + j, n) : v.store(c + j, n);
    }
  }
}

void finish_sums(const FinishArgs<Lane>& g) {
  switch (g.activation) {
#define MLEXT_CASE(name) \
  case Activation::name: \
    return finish_as<Activation::name>(g);
    MLEXT_ACTIVATIONS(MLEXT_CASE)
#undef MLEXT_CASE
  }
}

bool quantize(const float* from, index n, ByteStep step, std::uint8_t* to) {
  using W = Vec<float>;
  bool nan = false;
  for (index i = 0; i < n; i += W::N) {
    const index lanes = n - i < W::N ? n - i : W::N;
    const W x = W::load(from + i, lanes);
    nan |= any(is_nan(x));
    store_bytes(x, step, to + i, lanes);
  }
  return nan;
}

float quantize_row(const float* from, index n, std::int8_t* to) {
  using W = Vec<float>;
  W most = W::zero();
  bool nan = false;
  each<W>(n, [&](index i, auto part) {
    const W x = get<W>(from + i, part);
    nan |= any(is_nan(keep(x, W::zero(), part)));
    most = max(keep(abs(x), W::zero(), part), most);
  });
  const float scale = reduce_max(most) / 127, divisor = scale > 0 ? scale : 1;
  for (index i = 0; i < n; i += W::N) {
    const index lanes = n - i < W::N ? n - i : W::N;
    store_whole(round(W::load(from + i, lanes) / W(divisor)), -127, 127, to + i, lanes);
  }
  return nan ? __builtin_nanf("") : divisor;
}

void expand8(const void* values, index n, index group, const float* scale, float* to) {
  using W = Vec<float>;
  const auto* from = static_cast<const std::int8_t*>(values);
  for (index begin = 0; begin < n; begin += group, ++scale) {
    const index end = n - begin < group ? n : begin + group;
    const W factor(*scale);
    index i = begin;
    for (; i + W::N <= end; i += W::N) (W::load(from + i) * factor).store(to + i);
    if (i < end) (W::load(from + i, end - i) * factor).store(to + i, end - i);
  }
}

void expand4(const void* values, index n, index group, const float* scale, float* to) {
  using W = Vec<float>;
  constexpr index kHalf = kBlock / 2;
  const auto* from = static_cast<const std::uint8_t*>(values);
  const W sixteenth(1.0f / 16), minus(-16);
  for (index begin = 0; begin < n; begin += group, ++scale) {
    const index end = n - begin < group ? n : begin + group;
    const W factor(*scale), offset(-8 * *scale);
    for (index block = begin; block < end; block += kBlock) {
#pragma GCC unroll 4
      for (index i = 0; i < kHalf; i += W::N) {
        const W byte = W::load(from + block / 2 + i), high = floor(byte * sixteenth), low = fma(high, minus, byte);
        fma(low, factor, offset).store(to + block + i);
        fma(high, factor, offset).store(to + block + kHalf + i);
      }
    }
  }
}

constexpr QgemmKernels kernels() {
  QgemmKernels table{tile_kernels<Lane>(), quantize, quantize_row, expand8, expand4};
  table.tiles.group = kGroup;
  table.tiles.pack_a = pack_a;
  table.tiles.pack_b = pack_b;
  table.tiles.finish = finish_sums;
  return table;
}

}  // namespace

extern const QgemmKernels qgemm_kernels;
const QgemmKernels qgemm_kernels = kernels();

}  // namespace mlext::MLEXT_LEVEL
