#include "kernels/random/random.h"

#include "bind/door.h"
#include "bind/families.h"

namespace mlext {
namespace {

Array bits_door(const Array& state, Dims shape) { return random_bits(state, shape); }
Array uniform_door(const Array& state, Dims shape, double low, double high, DType dtype) {
  return random_uniform(state, shape, low, high, dtype);
}
Array normal_door(const Array& state, Dims shape, double mean, double std, DType dtype) {
  return random_normal(state, shape, mean, std, dtype);
}
Array truncated_normal_door(const Array& state, Dims shape, double mean, double std, double low, double high,
                            DType dtype) {
  return random_truncated_normal(state, shape, mean, std, low, high, dtype);
}
Array bernoulli_door(const Array& state, Dims shape, double p, DType dtype) {
  return random_bernoulli(state, shape, p, dtype);
}
Array integers_door(const Array& state, Dims shape, index low, index high) {
  return random_integers(state, shape, low, high);
}
std::tuple<Array, Array> dropout_door(const Array& x, double p, const Array& state) {
  Array mask;
  Array y = dropout(x, p, state, mask);
  return {std::move(y), std::move(mask)};
}

}  // namespace

void bind_random(py::module_& m) {
  door<&bits_door>(m, "random_bits", {"state", "shape"}, "Words of Philox4x32-10, as int32.");
  door<&uniform_door>(m, "random_uniform", {"state", "shape", "low", "high", "dtype"}, "Uniform on [low, high).");
  door<&normal_door>(m, "random_normal", {"state", "shape", "mean", "std", "dtype"}, "Normal (Box-Muller).");
  door<&truncated_normal_door>(m, "random_truncated_normal", {"state", "shape", "mean", "std", "low", "high", "dtype"},
                               "Normal with mean and std, conditioned to lie in [low, high].");
  door<&bernoulli_door>(m, "random_bernoulli", {"state", "shape", "p", "dtype"}, "1 with probability p, else 0.");
  door<&integers_door>(m, "random_integers", {"state", "shape", "low", "high"}, "int64, uniform on [low, high).");
  door<&random_permutation>(m, "random_permutation", {"state", "n"}, "0 .. n - 1 in random order, int64.");
  door<&dropout_door>(m, "dropout", {"x", "p", "state"},
                      "(y, mask): y = x / (1 - p) with probability 1 - p, else 0; mask is true where x was kept.");
  door<&dropout_backward>(m, "dropout_backward", {"g", "mask", "p"}, "g / (1 - p) where mask, else 0.");
}

}  // namespace mlext
