// Plain types shared by every layer. Nothing here has code: kernel bodies compiled for several ISA levels include this
// file, and an inline function in it could be emitted for AVX-512 and then be called on a CPU without it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlext {

using index = std::int64_t;

// Storage types. Arithmetic on them happens in float, inside kernels.
struct bf16 {
  std::uint16_t bits;
};
struct f16 {
  std::uint16_t bits;
};

inline constexpr int kMaxRank = 8;

// The dtype list: X(enumerator and Python name, C++ type). Everything that enumerates dtypes expands this.
#define MLEXT_DTYPES(X)      \
  X(float32, float)          \
  X(float64, double)         \
  X(bfloat16, ::mlext::bf16) \
  X(float16, ::mlext::f16)   \
  X(int8, std::int8_t)       \
  X(uint8, std::uint8_t)     \
  X(int32, std::int32_t)     \
  X(int64, std::int64_t)     \
  X(bool_, bool)

enum class DType : std::uint8_t {
#define MLEXT_ENUM(name, type) name,
  MLEXT_DTYPES(MLEXT_ENUM)
#undef MLEXT_ENUM
};
inline constexpr int kDTypes = 9;

enum class Device : std::uint8_t { cpu, cuda };

class Array;
struct Dims;

}  // namespace mlext
