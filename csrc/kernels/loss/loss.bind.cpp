#include "kernels/loss/loss.h"

#include "bind/door.h"
#include "bind/families.h"
#include "kernels/softmax/labels.h"

namespace mlext {
namespace {

constexpr const char* kLossNames[] = {
#define MLEXT_NAME(name, parameters) #name,
    MLEXT_LOSSES(MLEXT_NAME)
#undef MLEXT_NAME
};
constexpr const char* kLossBackwardNames[] = {
#define MLEXT_NAME(name, parameters) #name "_backward",
    MLEXT_LOSSES(MLEXT_NAME)
#undef MLEXT_NAME
};

LossReduction loss_reduction(const char* op, std::string_view name, bool has_batchmean = false) {
  if (has_batchmean && name == "batchmean") return LossReduction::batchmean;
  switch (parse_reduction(op, name)) {
    case Reduction::mean:
      return LossReduction::mean;
    case Reduction::sum:
      return LossReduction::sum;
    default:
      return LossReduction::none;
  }
}

LossOptions options_of(LossOp op, bool backward, std::string_view reduction, double p0 = 0, double p1 = 0) {
  const char* name = (backward ? kLossBackwardNames : kLossNames)[static_cast<int>(op)];
  return {name, loss_reduction(name, reduction), {p0, p1}};
}

// ---- losses of prediction and target, with no parameter or one ------------------------------------------------------

template <LossOp op>
Array plain(const Array& pred, const Array& target, const Array* weight, std::string_view reduction) {
  return loss(op, pred, target, weight, nullptr, options_of(op, false, reduction));
}
template <LossOp op>
Array plain_backward(const Array& pred, const Array& target, const Array* weight, const Array& g,
                     std::string_view reduction, bool of_target) {
  return loss_backward(op, pred, target, weight, nullptr, g, options_of(op, true, reduction), of_target);
}

double check_width(const char* op, const char* name, double value, bool zero_allowed) {
  if (!(value > 0 || (zero_allowed && value == 0))) {
    refuse(op, name, zero_allowed ? "a number of 0 or more" : "a number above 0", value);
  }
  return value;
}
template <LossOp op>
Array wide(const Array& pred, const Array& target, const Array* weight, std::string_view reduction, double width) {
  const LossOptions options = options_of(op, false, reduction, width);
  check_width(options.name, op == LossOp::huber ? "delta" : "beta", width, op != LossOp::huber);
  return loss(op, pred, target, weight, nullptr, options);
}
template <LossOp op>
Array wide_backward(const Array& pred, const Array& target, const Array* weight, const Array& g,
                    std::string_view reduction, double width, bool of_target) {
  const LossOptions options = options_of(op, true, reduction, width);
  check_width(options.name, op == LossOp::huber ? "delta" : "beta", width, op != LossOp::huber);
  return loss_backward(op, pred, target, weight, nullptr, g, options, of_target);
}

template <LossOp op>
void plain_doors(py::module_& m, const char* doc) {
  const int i = static_cast<int>(op);
  door<&plain<op>>(m, kLossNames[i], {"pred", "target", "weight", "reduction"}, doc);
  door<&plain_backward<op>>(m, kLossBackwardNames[i], {"pred", "target", "weight", "g", "reduction", "of_target"},
                            "Gradient of the prediction, or of the target.");
}
template <LossOp op>
void wide_doors(py::module_& m, const char* parameter, const char* doc) {
  const int i = static_cast<int>(op);
  door<&wide<op>>(m, kLossNames[i], {"pred", "target", "weight", "reduction", parameter}, doc);
  door<&wide_backward<op>>(m, kLossBackwardNames[i],
                           {"pred", "target", "weight", "g", "reduction", parameter, "of_target"},
                           "Gradient of the prediction, or of the target.");
}

// ---- losses with arguments of their own -----------------------------------------------------------------------------

constexpr LossOp kLogits = LossOp::binary_cross_entropy_with_logits;
Array bce_with_logits(const Array& pred, const Array& target, const Array* weight, std::string_view reduction,
                      const Array* pos_weight) {
  return loss(kLogits, pred, target, weight, pos_weight, options_of(kLogits, false, reduction));
}
Array bce_with_logits_backward(const Array& pred, const Array& target, const Array* weight, const Array& g,
                               std::string_view reduction, const Array* pos_weight, bool of_target) {
  return loss_backward(kLogits, pred, target, weight, pos_weight, g, options_of(kLogits, true, reduction), of_target);
}

LossOp kl_op(bool log_target) { return log_target ? LossOp::kl_div_log : LossOp::kl_div; }
Array kl_div(const Array& pred, const Array& target, const Array* weight, std::string_view reduction, bool log_target) {
  return loss(kl_op(log_target), pred, target, weight, nullptr, {"kl_div", loss_reduction("kl_div", reduction, true)});
}
Array kl_div_backward(const Array& pred, const Array& target, const Array* weight, const Array& g,
                      std::string_view reduction, bool log_target, bool of_target) {
  return loss_backward(kl_op(log_target), pred, target, weight, nullptr, g,
                       {"kl_div_backward", loss_reduction("kl_div_backward", reduction, true)}, of_target);
}

LossOp poisson_op(bool log_input) { return log_input ? LossOp::poisson_nll_log : LossOp::poisson_nll; }
LossOptions poisson_options(const char* name, std::string_view reduction, bool full, double eps) {
  return {name, loss_reduction(name, reduction), {check_width(name, "eps", eps, true), full ? 1.0 : 0.0}};
}
Array poisson_nll(const Array& pred, const Array& target, const Array* weight, std::string_view reduction,
                  bool log_input, bool full, double eps) {
  return loss(poisson_op(log_input), pred, target, weight, nullptr,
              poisson_options("poisson_nll", reduction, full, eps));
}
Array poisson_nll_backward(const Array& pred, const Array& target, const Array* weight, const Array& g,
                           std::string_view reduction, bool log_input, bool full, double eps, bool of_target) {
  return loss_backward(poisson_op(log_input), pred, target, weight, nullptr, g,
                       poisson_options("poisson_nll_backward", reduction, full, eps), of_target);
}

Array nll_door(const Array& logp, Indices labels, const Array* weight, index ignore_index, std::string_view reduction) {
  return nll(logp, labels.array, weight, ignore_index, parse_reduction("nll", reduction));
}
Array nll_backward_door(const Array& logp, Indices labels, const Array* weight, const Array& g, index ignore_index,
                        std::string_view reduction) {
  return nll_backward(logp, labels.array, weight, g, ignore_index, parse_reduction("nll_backward", reduction));
}

}  // namespace

void bind_loss(py::module_& m) {
  constexpr const char* grad_doc = "Gradient of the prediction, or of the target.";
  plain_doors<LossOp::mse>(m, "(p - t)^2.");
  plain_doors<LossOp::mae>(m, "|p - t|.");
  wide_doors<LossOp::huber>(m, "delta", "d^2 / 2 up to |d| = delta, delta (|d| - delta / 2) beyond.");
  wide_doors<LossOp::smooth_l1>(m, "beta", "d^2 / (2 beta) below |d| = beta, |d| - beta / 2 beyond.");
  plain_doors<LossOp::log_cosh>(m, "log cosh(p - t).");
  plain_doors<LossOp::hinge>(m, "max(0, 1 - t p) for t = -1 or 1.");
  plain_doors<LossOp::squared_hinge>(m, "max(0, 1 - t p)^2 for t = -1 or 1.");
  plain_doors<LossOp::binary_cross_entropy>(m, "-(t log p + (1 - t) log(1 - p)), logarithms at least -100.");
  door<&bce_with_logits>(m, "binary_cross_entropy_with_logits", {"pred", "target", "weight", "reduction", "pos_weight"},
                         "Binary cross-entropy of sigmoid(pred); pos_weight, one per class, weighs positive targets.");
  door<&bce_with_logits_backward>(m, "binary_cross_entropy_with_logits_backward",
                                  {"pred", "target", "weight", "g", "reduction", "pos_weight", "of_target"}, grad_doc);
  door<&kl_div>(m, "kl_div", {"pred", "target", "weight", "reduction", "log_target"},
                "t (log t - p) for log-probabilities p; reduction may be 'batchmean'.");
  door<&kl_div_backward>(m, "kl_div_backward",
                         {"pred", "target", "weight", "g", "reduction", "log_target", "of_target"}, grad_doc);
  door<&poisson_nll>(m, "poisson_nll", {"pred", "target", "weight", "reduction", "log_input", "full", "eps"},
                     "exp(p) - t p, or p - t log(p + eps); with Stirling's log t! if full.");
  door<&poisson_nll_backward>(m, "poisson_nll_backward",
                              {"pred", "target", "weight", "g", "reduction", "log_input", "full", "eps", "of_target"},
                              grad_doc);
  door<&nll_door>(m, "nll", {"logp", "labels", "weight", "ignore_index", "reduction"}, "-w[y] logp[y] per row.");
  door<&nll_backward_door>(m, "nll_backward", {"logp", "labels", "weight", "g", "ignore_index", "reduction"},
                           "Gradient of the log-probabilities.");
}

}  // namespace mlext
