// What layers with an activation in their store phase take and give.
#pragma once

#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "bind/door.h"
#include "kernels/gemm/gemm.h"

namespace mlext {

struct Activated {
  Array y;
  std::optional<Array> pre;  // the value before the activation, if it was wanted

  explicit Activated(std::optional<bool> want_pre) {
    if (want_pre.value_or(false)) pre.emplace();
  }
  Array* before() { return pre ? &*pre : nullptr; }
};

inline Activation parse_activation(const char* op, std::optional<std::string_view> name) {
  if (!name) return Activation::none;
#define MLEXT_CASE(known) \
  if (Activation::known != Activation::none && *name == #known) return Activation::known;
  MLEXT_ACTIVATIONS(MLEXT_CASE)
#undef MLEXT_CASE
  refuse(op, "activation", "None, 'relu', 'relu6', 'sigmoid', 'tanh', 'gelu', 'gelu_tanh' or 'silu'", "'", *name, "'");
}

namespace detail {

// y alone, or (y, pre).
inline PyObject* give(const Call& call, Activated&& result) {
  if (!result.pre) return give(call, std::move(result.y));
  return give(call, std::make_tuple(std::move(result.y), std::move(*result.pre)));
}

}  // namespace detail
}  // namespace mlext
