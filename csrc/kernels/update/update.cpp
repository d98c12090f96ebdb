#include "kernels/update/update.h"

#include <cmath>

#include "core/isa.h"
#include "core/launch.h"
#include "core/scratch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/update/coefficients.h"
#include "kernels/update/plan.h"

namespace mlext {

MLEXT_DISPATCH(UpdateKernels, update_kernels)

namespace {

// ---- running ----------------------------------------------------------------------------------------------------------

void run_rule(const UpdatePlan& plan, UpdateFn fn, int arrays, const double* c) {
  plan.each_chunk([&](index chunk) { plan.pieces(chunk, arrays, [&](void* const* at, index n) { fn(at, n, c); }); });
}

// One floating element that a closure reads or writes.
struct Number {
  void* at = nullptr;
  bool wide = false;

  static Number of(const char* op, const char* name, const Array* a) {
    if (a == nullptr) return {};
    if (a->size() != 1 || (a->dtype != DType::float32 && a->dtype != DType::float64)) {
      refuse<TypeError>(op, name, "one number, float32 or float64", *a);
    }
    return {a->data, a->dtype == DType::float64};
  }
  double get() const { return wide ? *static_cast<double*>(at) : *static_cast<float*>(at); }
  void set(double x) const {
    if (wide) {
      *static_cast<double*>(at) = x;
    } else {
      *static_cast<float*>(at) = static_cast<float>(x);
    }
  }
  bool is_set() const { return at != nullptr && get() != 0; }
};

constexpr int kRuleArrays[] = {
#define MLEXT_COUNT(name, arrays) arrays,
    MLEXT_UPDATE_RULES(MLEXT_COUNT)
#undef MLEXT_COUNT
};

UpdateFn rule_fn(UpdateRule rule, const UpdatePlan& plan) {
  return update_kernels(Device::cpu).rule[static_cast<int>(rule)][plan.row()];
}

Work work_of(const UpdatePlan& plan, int passes) {
  const double n = static_cast<double>(plan.total);
  return {2.0 * passes * n, n * passes * static_cast<double>(item_size(plan.dtype))};
}

void require_scalars(const char* op, const StepScalars& s, index hyper_count) {
  require_dtype(op, "hyper", s.hyper, DType::float64, "");
  require_shape(op, "hyper", s.hyper, {hyper_count}, "; csrc/kernels/update/update.h has the layout");
  require_dtype(op, "step", s.step, DType::int64, "");
  require_shape(op, "step", s.step, {1}, "");
  if (!s.hyper.is_dense()) refuse(op, "hyper", "row-major memory", "strides ", s.hyper.strides);
  if (!s.step.buffer) refuse<TypeError>(op, "step", "a Tensor, because it is updated in place", "an ndarray");
  if (s.product == nullptr) return;
  require_dtype(op, "product", *s.product, DType::float64, "");
  require_shape(op, "product", *s.product, {1}, "");
  if (!s.product->buffer) refuse<TypeError>(op, "product", "a Tensor, because it is updated in place", "an ndarray");
}

void optimizer_step(const char* op, UpdateRule rule, CoefficientFn* coefficients, index hyper_count,
                    const UpdateList* lists, int count, const StepScalars& s) {
  require_scalars(op, s, hyper_count);
  const Number found = Number::of(op, "found", s.found);
  PlannedLists lists_ready = plan_lists(op, lists, count, Access::update);
  if (lists_ready.plan.total == 0) return;
  lists_ready.inputs.insert(lists_ready.inputs.end(), {&s.hyper, &s.step, s.found, s.product});
  lists_ready.outputs.push_back(&s.step);
  if (s.product != nullptr) lists_ready.outputs.push_back(s.product);
  const UpdateFn fn = rule_fn(rule, lists_ready.plan);
  const double* hyper = s.hyper.ptr<double>();
  auto* step = s.step.ptr<std::int64_t>();
  double* product = s.product == nullptr ? nullptr : s.product->ptr<double>();
  const Work work = work_of(lists_ready.plan, 2 * count - 1);
  launch(op, work, lists_ready.inputs, lists_ready.outputs,
         [plan = std::move(lists_ready.plan), fn, count, coefficients, hyper, step, product, found] {
           if (found.is_set()) return;
           double c[kCoefficients] = {};
           c[kShrink] = 1;
           coefficients(hyper, static_cast<double>(++*step), product, c);
           run_rule(plan, fn, count, c);
         });
  lists_ready.finish();
}

}  // namespace

void sgd_step(UpdateRule rule, const UpdateList* lists, int count, const StepScalars& scalars) {
  optimizer_step("sgd_", rule, sgd_coefficients, 4, lists, count, scalars);
}
void adam_step(UpdateRule rule, bool decoupled, const UpdateList* lists, int count, const StepScalars& scalars) {
  optimizer_step(decoupled ? "adamw_" : "adam_", rule, decoupled ? adamw_coefficients : adam_coefficients, 5, lists,
                 count, scalars);
}
void rmsprop_step(UpdateRule rule, const UpdateList* lists, int count, const StepScalars& scalars) {
  optimizer_step("rmsprop_", rule, rmsprop_coefficients, 5, lists, count, scalars);
}
void adagrad_step(const UpdateList* lists, int count, const StepScalars& scalars) {
  optimizer_step("adagrad_", UpdateRule::adagrad, adagrad_coefficients, 4, lists, count, scalars);
}
void adadelta_step(const UpdateList* lists, int count, const StepScalars& scalars) {
  optimizer_step("adadelta_", UpdateRule::adadelta, adadelta_coefficients, 4, lists, count, scalars);
}
void adamax_step(const UpdateList* lists, int count, const StepScalars& scalars) {
  optimizer_step("adamax_", UpdateRule::adamax, adam_coefficients, 5, lists, count, scalars);
}
void nadam_step(const UpdateList* lists, int count, const StepScalars& scalars) {
  optimizer_step("nadam_", UpdateRule::nadam, nadam_coefficients, 6, lists, count, scalars);
}
void radam_step(const UpdateList* lists, int count, const StepScalars& scalars) {
  optimizer_step("radam_", UpdateRule::radam, radam_coefficients, 5, lists, count, scalars);
}
void lion_step(const UpdateList* lists, int count, const StepScalars& scalars) {
  optimizer_step("lion_", UpdateRule::lion, lion_coefficients, 4, lists, count, scalars);
}

void update_list(const char* op, UpdateRule rule, const UpdateList& targets, const UpdateList* sources, double number,
                 double number2) {
  const UpdateList lists[2] = {targets, sources == nullptr ? UpdateList{} : *sources};
  const int count = kRuleArrays[static_cast<int>(rule)];
  PlannedLists ready = plan_lists(op, lists, count, Access::update_strided);
  if (ready.plan.total == 0) return;
  const UpdateFn fn = rule_fn(rule, ready.plan);
  const Work work = work_of(ready.plan, count + 1);
  launch(op, work, ready.inputs, ready.outputs, [plan = std::move(ready.plan), fn, count, number, number2] {
    double c[kCoefficients] = {};
    c[kRate] = number;
    c[kWeightDecay] = number2;
    run_rule(plan, fn, count, c);
  });
  ready.finish();
}

void scale_list(const UpdateList& list, const Array& factor) {
  const Number by = Number::of("scale_", "factor", &factor);
  PlannedLists ready = plan_lists("scale_", &list, 1, Access::update_strided);
  if (ready.plan.total == 0) return;
  ready.inputs.push_back(&factor);
  const UpdateFn fn = rule_fn(UpdateRule::scale, ready.plan);
  const Work work = work_of(ready.plan, 2);
  launch("scale_", work, ready.inputs, ready.outputs, [plan = std::move(ready.plan), fn, by] {
    double c[kCoefficients] = {};
    c[kRate] = by.get();
    run_rule(plan, fn, 1, c);
  });
  ready.finish();
}

namespace {

// Sums of chunks, added one after the other: the result depends on the sizes alone.
double norm_of(const UpdatePlan& plan, double (*sum_squares)(const void*, index)) {
  double* sums = scratch<double>(0, plan.chunks());
  plan.each_chunk([&](index chunk) {
    double sum = 0;
    plan.pieces(chunk, 1, [&](void* const* at, index n) { sum += sum_squares(at[0], n); });
    sums[chunk] = sum;
  });
  double total = 0;
  for (index c = 0; c < plan.chunks(); ++c) total += sums[c];
  return std::sqrt(total);
}

Array norm_result(const PlannedLists& ready) {
  Array out = Array::empty({}, ready.plan.dtype);
  if (ready.plan.total == 0) fill_into(0, out);
  return out;
}

}  // namespace

Array global_norm(const UpdateList& grads) {
  PlannedLists ready = plan_lists("global_norm", &grads, 1, Access::read);
  Array out = norm_result(ready);
  if (ready.plan.total == 0) return out;
  const Number result = Number::of("global_norm", "result", &out);
  const auto fn = update_kernels(Device::cpu).sum_squares[ready.plan.row()];
  const Work work = work_of(ready.plan, 1);
  launch("global_norm", work, ready.inputs, {&out},
         [plan = std::move(ready.plan), fn, result] { result.set(norm_of(plan, fn)); });
  return out;
}

Array clip_by_norm(const UpdateList& grads, double max_norm) {
  if (!(max_norm >= 0)) refuse("clip_by_norm_", "max_norm", "a number of 0 or more", max_norm);
  PlannedLists ready = plan_lists("clip_by_norm_", &grads, 1, Access::update_strided);
  Array out = norm_result(ready);
  if (ready.plan.total == 0) return out;
  ready.outputs.push_back(&out);
  const Number result = Number::of("clip_by_norm_", "result", &out);
  const auto sum_squares = update_kernels(Device::cpu).sum_squares[ready.plan.row()];
  const UpdateFn scale = rule_fn(UpdateRule::scale, ready.plan);
  const Work work = work_of(ready.plan, 3);
  launch("clip_by_norm_", work, ready.inputs, ready.outputs,
         [plan = std::move(ready.plan), sum_squares, scale, result, max_norm] {
           const double norm = norm_of(plan, sum_squares);
           result.set(norm);
           double c[kCoefficients] = {};
           c[kRate] = max_norm / (norm + 1e-6);
           if (!(c[kRate] >= 1)) run_rule(plan, scale, 1, c);
         });
  ready.finish();
  return out;
}

void unscale_check(const UpdateList& grads, const Array& scale, const Array& found) {
  constexpr const char* op = "unscale_check_";
  const Number by = Number::of(op, "scale", &scale), flag = Number::of(op, "found", &found);
  if (!found.buffer) refuse<TypeError>(op, "found", "a Tensor, because it is updated in place", "an ndarray");
  PlannedLists ready = plan_lists(op, &grads, 1, Access::update_strided);
  if (ready.plan.total == 0) return;
  ready.inputs.push_back(&scale);
  ready.outputs.push_back(&found);
  const auto fn = update_kernels(Device::cpu).scale_finite[ready.plan.row()];
  const Work work = work_of(ready.plan, 2);
  launch(op, work, ready.inputs, ready.outputs, [plan = std::move(ready.plan), fn, by, flag] {
    auto* finite = scratch<unsigned char>(0, plan.chunks());
    const double factor = 1 / by.get();
    plan.each_chunk([&](index chunk) {
      bool all = true;
      plan.pieces(chunk, 1, [&](void* const* at, index n) { all = fn(at[0], n, factor) && all; });
      finite[chunk] = all;
    });
    if (std::find(finite, finite + plan.chunks(), 0) != finite + plan.chunks()) flag.set(1);
  });
  ready.finish();
}

}  // namespace mlext
