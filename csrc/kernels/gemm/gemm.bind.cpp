#include <optional>
#include <string_view>

#include "bind/door.h"
#include "bind/families.h"
#include "kernels/gemm/gemm.h"

namespace mlext {
namespace {

struct Linear {
  Array y;
  std::optional<Array> pre;
};

}  // namespace

namespace detail {

// y alone, or (y, pre) if the value before the activation was wanted.
PyObject* give(const Call& call, Linear&& result) {
  if (!result.pre) return give(call, std::move(result.y));
  return give(call, std::make_tuple(std::move(result.y), std::move(*result.pre)));
}

}  // namespace detail

namespace {

Activation parse_activation(std::string_view name) {
  static constexpr std::pair<std::string_view, Activation> kNames[] = {
      {"relu", Activation::relu}, {"sigmoid", Activation::sigmoid},     {"tanh", Activation::tanh},
      {"gelu", Activation::gelu}, {"gelu_tanh", Activation::gelu_tanh}, {"silu", Activation::silu},
  };
  for (const auto& [known, activation] : kNames) {
    if (name == known) return activation;
  }
  refuse("linear", "activation", "None, 'relu', 'sigmoid', 'tanh', 'gelu', 'gelu_tanh' or 'silu'", "'", name, "'");
}

Linear linear_door(const Array& x, const Array& weight, const Array* bias, std::optional<std::string_view> activation,
                   std::optional<bool> want_pre) {
  Linear result;
  if (want_pre.value_or(false)) result.pre.emplace();
  result.y = linear(x, weight, bias, activation ? parse_activation(*activation) : Activation::none,
                    result.pre ? &*result.pre : nullptr);
  return result;
}

Array gemm_door(const Array& a, const Array& b, const Array* c, std::optional<double> alpha,
                std::optional<double> beta) {
  return gemm(a, b, c, alpha.value_or(1), beta.value_or(c != nullptr ? 1 : 0));
}

}  // namespace

void bind_gemm(py::module_& m) {
  door<&matmul>(m, "matmul", {"a", "b"}, "Matrix product by NumPy's rules.");
  door<&linear_door>(m, "linear", {"x", "weight", "bias", "activation", "want_pre"},
                     "act(x W^T + b); with want_pre also the value before act.");
  door<&linear_weight_gradient>(m, "linear_weight_gradient", {"g", "x"}, "g^T x over all rows.");
  door<&gemm_door>(m, "gemm", {"a", "b", "c", "alpha", "beta"}, "alpha a b + beta c; alpha and beta default to 1.");
}

}  // namespace mlext
