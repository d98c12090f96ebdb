// One number of any dtype.
#pragma once

#include <cmath>
#include <cstring>

#include "core/array.h"
#include "core/half.h"

namespace mlext {

// The bytes of one number of a dtype.
struct Element {
  alignas(8) unsigned char bytes[8] = {};
  index size;

  Element(double value, DType dtype) : size(item_size(dtype)) {
    visit_dtype(dtype, [&]<class T>(Type<T>) {
      T converted;
      if constexpr (std::is_same_v<T, bf16>) {
        converted = to_bf16(static_cast<float>(value));
      } else if constexpr (std::is_same_v<T, f16>) {
        converted = to_f16(static_cast<float>(value));
      } else {
        converted = static_cast<T>(value);
      }
      std::memcpy(bytes, &converted, sizeof(T));
    });
  }
  void put(void* to) const { std::memcpy(to, bytes, static_cast<std::size_t>(size)); }
  void fill(char* to, index n) const {
    switch (size) {
      case 1:
        return fill_with<1>(to, n);
      case 2:
        return fill_with<2>(to, n);
      case 4:
        return fill_with<4>(to, n);
      default:
        return fill_with<8>(to, n);
    }
  }

 private:
  template <int kSize>
  void fill_with(char* to, index n) const {
    for (index i = 0; i < n; ++i) std::memcpy(to + i * kSize, bytes, kSize);
  }
};

// A number that `dtype` cannot hold would be undefined behaviour to convert.
inline void require_representable(const char* op, const char* name, double value, DType dtype) {
  if (is_floating(dtype)) return;
  const double low = dtype == DType::int8    ? -128
                     : dtype == DType::int32 ? -0x1p31
                     : dtype == DType::int64 ? -0x1p63
                                             : 0;
  const double high = dtype == DType::int8    ? 127
                      : dtype == DType::uint8 ? 255
                      : dtype == DType::int32 ? 0x1p31 - 1
                      : dtype == DType::int64 ? 0x1.fffffffffffffp62
                                              : 1;
  if (!(value >= low && value <= high && value == std::floor(value))) {
    refuse(op, name, text("an integer that ", dtype, " can hold"), value);
  }
}

}  // namespace mlext
