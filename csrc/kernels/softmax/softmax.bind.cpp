#include "kernels/softmax/softmax.h"

#include "bind/door.h"
#include "bind/families.h"
#include "kernels/softmax/labels.h"

namespace mlext {
namespace {

using LossAndStats = std::tuple<Array, Array>;

LossAndStats cross_entropy_door(const Array& logits, Indices labels, const Array* weight, index ignore_index,
                                double label_smoothing, std::string_view reduction) {
  LossAndStats out;
  cross_entropy(logits, labels.array, weight, ignore_index,
                {label_smoothing, parse_reduction("cross_entropy", reduction)}, std::get<0>(out), std::get<1>(out));
  return out;
}
Array cross_entropy_backward_door(const Array& logits, Indices labels, const Array* weight, const Array& stats,
                                  const Array& g, index ignore_index, double label_smoothing,
                                  std::string_view reduction) {
  return cross_entropy_backward(logits, labels.array, weight, stats, g, ignore_index,
                                {label_smoothing, parse_reduction("cross_entropy_backward", reduction)});
}
LossAndStats cross_entropy_soft_door(const Array& logits, const Array& target, const Array* weight,
                                     double label_smoothing, std::string_view reduction) {
  LossAndStats out;
  cross_entropy_soft(logits, target, weight, {label_smoothing, parse_reduction("cross_entropy_soft", reduction)},
                     std::get<0>(out), std::get<1>(out));
  return out;
}
Array cross_entropy_soft_backward_door(const Array& logits, const Array& target, const Array* weight,
                                       const Array& stats, const Array& g, double label_smoothing,
                                       std::string_view reduction, bool of_target) {
  return cross_entropy_soft_backward(logits, target, weight, stats, g,
                                     {label_smoothing, parse_reduction("cross_entropy_soft_backward", reduction)},
                                     of_target);
}

}  // namespace

void bind_softmax(py::module_& m) {
  door<&softmax>(m, "softmax", {"x", "axis"}, "exp(x) / sum exp(x) along one axis.");
  door<&masked_softmax>(m, "masked_softmax", {"x", "mask", "axis"},
                        "The same of the elements where mask; 0 elsewhere.");
  door<&log_softmax>(m, "log_softmax", {"x", "axis"}, "log of softmax(x) along one axis.");
  door<&logsumexp>(m, "logsumexp", {"x", "axis", "keepdims"}, "log of sum exp(x) along one axis.");
  door<&softmax_backward>(m, "softmax_backward", {"y", "g", "axis"}, "y (g - sum g y) for y = softmax(x).");
  door<&log_softmax_backward>(m, "log_softmax_backward", {"y", "g", "axis"},
                              "g - exp(y) sum g for y = log_softmax(x).");
  door<&cross_entropy_door>(
      m, "cross_entropy", {"logits", "labels", "weight", "ignore_index", "label_smoothing", "reduction"},
      "(loss, stats); stats, labels.shape + (2,), is what the gradient needs: log p = (logits - stats[0]) - stats[1].");
  door<&cross_entropy_backward_door>(
      m, "cross_entropy_backward",
      {"logits", "labels", "weight", "stats", "g", "ignore_index", "label_smoothing", "reduction"},
      "Gradient of the logits.");
  door<&cross_entropy_soft_door>(m, "cross_entropy_soft",
                                 {"logits", "target", "weight", "label_smoothing", "reduction"},
                                 "(loss, stats) for target probabilities in the shape of the logits.");
  door<&cross_entropy_soft_backward_door>(
      m, "cross_entropy_soft_backward",
      {"logits", "target", "weight", "stats", "g", "label_smoothing", "reduction", "of_target"},
      "Gradient of the logits, or of the target.");
}

}  // namespace mlext
