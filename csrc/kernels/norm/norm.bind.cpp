#include "kernels/norm/norm.h"
#include "bind/door.h"
#include "bind/families.h"
#include "kernels/norm/vectors.h"

namespace mlext {
namespace {

// What errors and profiles call it.
const char* norm_name(std::string_view name) {
  for (const char* known :
       {"batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm", "add_layer_norm", "add_rms_norm"}) {
    if (name == known) return known;
  }
  throw ValueError(text("normalize: argument 'name': expected that of a normalisation, got '", name, "'"));
}

NormOptions norm_options(index groups, bool per_sample, double eps, bool relu) {
  return {groups, per_sample, eps, relu};
}

std::tuple<Array, Array, Array> normalize_door(std::string_view name, const Array& x, const Array* weight,
                                               const Array* bias, index groups, bool per_sample, double eps,
                                               bool relu) {
  std::tuple<Array, Array, Array> out;
  auto& [y, mean, var] = out;
  y = normalize(norm_name(name), x, weight, bias, norm_options(groups, per_sample, eps, relu), mean, var);
  return out;
}

Array normalize_with_door(std::string_view name, const Array& x, const Array& mean, const Array& var,
                          const Array* weight, const Array* bias, index groups, bool per_sample, double eps,
                          bool relu) {
  return normalize_with(norm_name(name), x, mean, var, weight, bias, norm_options(groups, per_sample, eps, relu));
}

std::tuple<Array, Array, Array> normalize_gradient_door(const Array& g, const Array& x, const Array& mean,
                                                        const Array& var, const Array* weight, const Array* bias,
                                                        index groups, bool per_sample, double eps, bool relu,
                                                        bool constant) {
  const NormGradients out = normalize_gradient("normalize_gradient", g, x, mean, var, weight, bias,
                                               norm_options(groups, per_sample, eps, relu), constant);
  return {out.x, out.weight, out.bias};
}

std::tuple<Array, Array> normalize_rows_door(std::string_view name, const Array& x, Dims normalized,
                                             const Array* weight, const Array* bias, double eps, bool centred) {
  std::tuple<Array, Array> out;
  Array sum;
  std::get<0>(out) =
      normalize_rows(norm_name(name), x, nullptr, normalized, weight, bias, {eps, centred}, std::get<1>(out), sum);
  return out;
}

std::tuple<Array, Array, Array> add_normalize_rows_door(std::string_view name, const Array& x, const Array& residual,
                                                        Dims normalized, const Array* weight, const Array* bias,
                                                        double eps, bool centred) {
  std::tuple<Array, Array, Array> out;
  auto& [y, sum, stats] = out;
  y = normalize_rows(norm_name(name), x, &residual, normalized, weight, bias, {eps, centred}, stats, sum);
  return out;
}

std::tuple<Array, Array, Array> normalize_rows_gradient_door(const Array& g, const Array* of_sum, const Array& x,
                                                             const Array& stats, Dims normalized, const Array* weight,
                                                             bool centred) {
  const NormGradients out =
      normalize_rows_gradient("normalize_rows_gradient", g, of_sum, x, stats, normalized, weight, centred);
  return {out.x, out.weight, out.bias};
}

}  // namespace

void bind_norm(py::module_& m) {
  door<&normalize_door>(m, "normalize", {"name", "x", "weight", "bias", "groups", "per_sample", "eps", "relu"},
                        "(y, mean, var) over the rows of groups of channels.");
  door<&normalize_with_door>(m, "normalize_with",
                             {"name", "x", "mean", "var", "weight", "bias", "groups", "per_sample", "eps", "relu"},
                             "The same with given mean and variance.");
  door<&normalize_gradient_door>(
      m, "normalize_gradient",
      {"g", "x", "mean", "var", "weight", "bias", "groups", "per_sample", "eps", "relu", "constant"},
      "Gradients of x, weight and bias.");
  door<&normalize_rows_door>(m, "normalize_rows", {"name", "x", "normalized_shape", "weight", "bias", "eps", "centred"},
                             "(y, stats) over the last axes.");
  door<&add_normalize_rows_door>(m, "add_normalize_rows",
                                 {"name", "x", "residual", "normalized_shape", "weight", "bias", "eps", "centred"},
                                 "(y, x + residual, stats) over the last axes of the sum.");
  door<&normalize_rows_gradient_door>(m, "normalize_rows_gradient",
                                      {"g", "of_sum", "x", "stats", "normalized_shape", "weight", "centred"},
                                      "Gradients of x (plus of_sum, if there is one), weight and bias.");
  door<&update_running>(m, "update_running", {"running_mean", "running_var", "mean", "var", "momentum", "count"},
                        "Moves running statistics towards those of a batch, in place.");
}

}  // namespace mlext
