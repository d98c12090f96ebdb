// What a dtype is called, how large it is, and how to get from a run-time dtype to a C++ type.
#pragma once

#include <type_traits>

#include "core/error.h"
#include "core/types.h"

namespace mlext {

template <class T>
struct Type {
  using type = T;
};

template <class T>
inline constexpr DType kDTypeOf = DType::float32;
#define MLEXT_OF(name, ctype) \
  template <>                 \
  inline constexpr DType kDTypeOf<ctype> = DType::name;
MLEXT_DTYPES(MLEXT_OF)
#undef MLEXT_OF

// Calls f(Type<T>{}) with the C++ type of `dtype`.
template <class F>
decltype(auto) visit_dtype(DType dtype, F&& f) {
  switch (dtype) {
#define MLEXT_CASE(name, ctype) \
  case DType::name:             \
    return f(Type<ctype>{});
    MLEXT_DTYPES(MLEXT_CASE)
#undef MLEXT_CASE
  }
  __builtin_unreachable();
}

inline constexpr index kItemSizes[kDTypes] = {
#define MLEXT_SIZE(name, ctype) sizeof(ctype),
    MLEXT_DTYPES(MLEXT_SIZE)
#undef MLEXT_SIZE
};
inline constexpr const char* kDTypeNames[kDTypes] = {
#define MLEXT_NAME(name, ctype) #name,
    MLEXT_DTYPES(MLEXT_NAME)
#undef MLEXT_NAME
};

inline index item_size(DType dtype) { return kItemSizes[static_cast<int>(dtype)]; }
inline const char* dtype_name(DType dtype) { return kDTypeNames[static_cast<int>(dtype)]; }
inline bool is_half(DType d) { return d == DType::bfloat16 || d == DType::float16; }
inline bool is_floating(DType d) { return d <= DType::float16; }
inline bool is_integer(DType d) { return d >= DType::int8 && d <= DType::int64; }

// The dtype that sums and statistics of a dtype are kept in.
inline DType accumulate_dtype(DType d) {
  if (is_half(d)) return DType::float32;
  if (is_integer(d) || d == DType::bool_) return DType::int64;
  return d;
}

}  // namespace mlext
