#include "kernels/update/update.h"

#include "bind/door.h"
#include "bind/families.h"

namespace mlext {
namespace {

UpdateList list_of(const char* name, const Arrays& arrays) {
  return {name, arrays.data(), static_cast<index>(arrays.size())};
}

void sgd_door(const Arrays& params, const Arrays& grads, const Arrays& momentum, const Array& hyper, const Array& step,
              bool nesterov, const Array* found) {
  const UpdateList lists[] = {list_of("params", params), list_of("grads", grads), list_of("momentum", momentum)};
  if (momentum.empty()) return sgd_step(UpdateRule::sgd, lists, 2, {hyper, step, found});
  sgd_step(nesterov ? UpdateRule::nesterov : UpdateRule::momentum, lists, 3, {hyper, step, found});
}

template <bool decoupled>
void adam_door(const Arrays& params, const Arrays& grads, const Arrays& m, const Arrays& v, const Arrays& vmax,
               const Array& hyper, const Array& step, const Array* found) {
  const UpdateList lists[] = {list_of("params", params), list_of("grads", grads), list_of("m", m), list_of("v", v),
                              list_of("vmax", vmax)};
  const bool amsgrad = !vmax.empty();
  adam_step(amsgrad ? UpdateRule::amsgrad : UpdateRule::adam, decoupled, lists, amsgrad ? 5 : 4, {hyper, step, found});
}

void rmsprop_door(const Arrays& params, const Arrays& grads, const Arrays& square, const Arrays& momentum,
                  const Arrays& mean, const Array& hyper, const Array& step, const Array* found) {
  UpdateList lists[5] = {list_of("params", params), list_of("grads", grads), list_of("square", square)};
  int count = 3;
  if (!momentum.empty()) lists[count++] = list_of("momentum", momentum);
  if (!mean.empty()) lists[count++] = list_of("mean", mean);
  constexpr UpdateRule kRules[2][2] = {{UpdateRule::rmsprop, UpdateRule::rmsprop_centered},
                                       {UpdateRule::rmsprop_momentum, UpdateRule::rmsprop_momentum_centered}};
  rmsprop_step(kRules[!momentum.empty()][!mean.empty()], lists, count, {hyper, step, found});
}

using OneStateStep = void (*)(const UpdateList*, int, const StepScalars&);
template <OneStateStep run>
void one_state_door(const Arrays& params, const Arrays& grads, const Arrays& state, const Array& hyper,
                    const Array& step, const Array* found) {
  const UpdateList lists[] = {list_of("params", params), list_of("grads", grads), list_of("state", state)};
  run(lists, 3, {hyper, step, found});
}
template <OneStateStep run>
void two_state_door(const Arrays& params, const Arrays& grads, const Arrays& first, const Arrays& second,
                    const Array& hyper, const Array& step, const Array* found) {
  const UpdateList lists[] = {list_of("params", params), list_of("grads", grads), list_of("state 1", first),
                              list_of("state 2", second)};
  run(lists, 4, {hyper, step, found});
}
void nadam_door(const Arrays& params, const Arrays& grads, const Arrays& m, const Arrays& v, const Array& product,
                const Array& hyper, const Array& step, const Array* found) {
  const UpdateList lists[] = {list_of("params", params), list_of("grads", grads), list_of("m", m), list_of("v", v)};
  nadam_step(lists, 4, {hyper, step, found, &product});
}

void clip_by_value_door(const Arrays& grads, double limit) {
  if (!(limit >= 0)) refuse("clip_by_value_", "limit", "a number of 0 or more", limit);
  update_list("clip_by_value_", UpdateRule::clip_value, list_of("grads", grads), nullptr, limit);
}
void add_scaled_door(const Arrays& params, const Arrays& others, double alpha) {
  const UpdateList sources = list_of("others", others);
  update_list("add_scaled_", UpdateRule::add_scaled, list_of("params", params), &sources, alpha);
}
void add_penalty_grad_door(const Arrays& params, const Arrays& grads, double l1, double l2) {
  const UpdateList sources = list_of("params", params);
  update_list("add_penalty_grad_", UpdateRule::add_penalty, list_of("grads", grads), &sources, l1, l2);
}
void lerp_door(const Arrays& targets, const Arrays& sources, double weight) {
  const UpdateList from = list_of("sources", sources);
  update_list("lerp_", UpdateRule::lerp, list_of("targets", targets), &from, weight);
}
void scale_door(const Arrays& list, const Array& factor) { scale_list(list_of("list", list), factor); }
Array global_norm_door(const Arrays& grads) { return global_norm(list_of("grads", grads)); }
Array clip_by_norm_door(const Arrays& grads, double max_norm) {
  return clip_by_norm(list_of("grads", grads), max_norm);
}
void unscale_check_door(const Arrays& grads, const Array& scale, const Array& found) {
  unscale_check(list_of("grads", grads), scale, found);
}

}  // namespace

void bind_update(py::module_& m) {
  constexpr const char* doc =
      "One optimizer step in place; csrc/kernels/update/update.h has formula and hyper's layout.";
  door<&sgd_door>(m, "sgd_", {"params", "grads", "momentum", "hyper", "step", "nesterov", "found"}, doc);
  door<&adam_door<false>>(m, "adam_", {"params", "grads", "m", "v", "vmax", "hyper", "step", "found"}, doc);
  door<&adam_door<true>>(m, "adamw_", {"params", "grads", "m", "v", "vmax", "hyper", "step", "found"}, doc);
  door<&rmsprop_door>(m, "rmsprop_", {"params", "grads", "square", "momentum", "mean", "hyper", "step", "found"}, doc);
  door<&one_state_door<adagrad_step>>(m, "adagrad_", {"params", "grads", "sum", "hyper", "step", "found"}, doc);
  door<&two_state_door<adadelta_step>>(m, "adadelta_", {"params", "grads", "square", "delta", "hyper", "step", "found"},
                                       doc);
  door<&two_state_door<adamax_step>>(m, "adamax_", {"params", "grads", "m", "u", "hyper", "step", "found"}, doc);
  door<&nadam_door>(m, "nadam_", {"params", "grads", "m", "v", "product", "hyper", "step", "found"}, doc);
  door<&two_state_door<radam_step>>(m, "radam_", {"params", "grads", "m", "v", "hyper", "step", "found"}, doc);
  door<&one_state_door<lion_step>>(m, "lion_", {"params", "grads", "m", "hyper", "step", "found"}, doc);
  door<&global_norm_door>(m, "global_norm", {"grads"}, "Euclidean norm of all elements of all arrays; a scalar.");
  door<&clip_by_norm_door>(m, "clip_by_norm_", {"grads", "max_norm"},
                           "The global norm; scales in place to at most max_norm.");
  door<&clip_by_value_door>(m, "clip_by_value_", {"grads", "limit"}, "Clips in place to [-limit, limit].");
  door<&scale_door>(m, "scale_", {"list", "factor"}, "Multiplies in place by a one-element array.");
  door<&unscale_check_door>(m, "unscale_check_", {"grads", "scale", "found"},
                            "Divides in place by scale; found becomes 1 if a result is not finite.");
  door<&add_scaled_door>(m, "add_scaled_", {"params", "others", "alpha"}, "params += alpha * others.");
  door<&add_penalty_grad_door>(m, "add_penalty_grad_", {"params", "grads", "l1", "l2"},
                               "grads += l1 * sign(params) + l2 * params.");
  door<&lerp_door>(m, "lerp_", {"targets", "sources", "weight"}, "targets += weight * (sources - targets).");
}

}  // namespace mlext
