// In-place updates of lists of arrays, one launch for the whole list: optimizer steps, gradient clipping and scaling.
//
// The arrays of a list are one long range of elements, cut into chunks of kUpdateChunk that threads share: fifty small
// tensors cost one launch, one huge tensor is spread. All arrays of a call have one dtype (float32 or float64) and are
// row-major. An entry of `grads` may be null: that parameter and its state stay as they are.
//
// What may change from step to step is memory read inside the launch: `hyper`, a float64 array in the layout given below;
// `step`, int64[1], the number of steps done, incremented by the launch; `found`, if given, a flag (floating, 1 element)
// that makes the launch do nothing when it is not 0 (loss scaling: see unscale_check_).
//
// Formulas and defaults are PyTorch's, so that loss curves agree; Lion is Chen et al. 2023, "Symbolic discovery of
// optimization algorithms". g: gradient, p: parameter, t: step. "coupled" weight decay adds weight_decay p to g;
// "decoupled" multiplies p by 1 - lr weight_decay.
//
//   door       states                      hyper
//   sgd_       [momentum]                  lr momentum dampening weight_decay
//   adam_      m v [vmax]                  lr beta1 beta2 eps weight_decay (coupled; adamw_: decoupled)
//   rmsprop_   square [momentum] [mean]    lr alpha eps weight_decay momentum
//   adagrad_   sum                         lr lr_decay weight_decay eps
//   adadelta_  square delta                lr rho eps weight_decay
//   adamax_    m u                         lr beta1 beta2 eps weight_decay
//   nadam_     m v; product (float64[1])   lr beta1 beta2 eps weight_decay momentum_decay
//   radam_     m v                         lr beta1 beta2 eps weight_decay
//   lion_      m                           lr beta1 beta2 weight_decay (decoupled)
//
// Subnormal states become 0.
//
// A state in brackets is absent when its list is empty, and so is what it is for: momentum, amsgrad, centring.
#pragma once

#include "core/types.h"

namespace mlext {

// The list of update rules: X(name, arrays). Array 0 and those from 2 on are read and written, array 1 is read. rules.h has
// a functor of the same name with the formula and the meaning of its coefficients.
#define MLEXT_UPDATE_RULES(X)     \
  X(sgd, 2)                       \
  X(momentum, 3)                  \
  X(nesterov, 3)                  \
  X(adam, 4)                      \
  X(amsgrad, 5)                   \
  X(rmsprop, 3)                   \
  X(rmsprop_momentum, 4)          \
  X(rmsprop_centered, 4)          \
  X(rmsprop_momentum_centered, 5) \
  X(adagrad, 3)                   \
  X(adadelta, 4)                  \
  X(adamax, 4)                    \
  X(nadam, 4)                     \
  X(radam, 4)                     \
  X(lion, 3)                      \
  X(scale, 1)                     \
  X(clip_value, 1)                \
  X(add_scaled, 2)                \
  X(add_penalty, 2)               \
  X(lerp, 2)

enum class UpdateRule : int {
#define MLEXT_ENUM(name, arrays) name,
  MLEXT_UPDATE_RULES(MLEXT_ENUM)
#undef MLEXT_ENUM
      count
};
inline constexpr int kUpdateRules = static_cast<int>(UpdateRule::count);
inline constexpr int kUpdateArrays = 5;
inline constexpr int kCoefficients = 11;

// 64 KiB of float32: several arrays of it stay in L2, and a claim (50 ns) is lost in it.
inline constexpr index kUpdateChunk = 16384;

// n elements of every array of the rule, from the given addresses.
using UpdateFn = void (*)(void* const* arrays, index n, const double* coefficients);

struct UpdateKernels {
  UpdateFn rule[kUpdateRules][2];                            // float32, float64
  double (*sum_squares[2])(const void* x, index n);          // in double, one fixed tree
  bool (*scale_finite[2])(void* x, index n, double factor);  // x *= factor; false if a result is not finite
};

// ---- driver ---------------------------------------------------------------------------------------------------------
using ArrayPointers = const Array* const*;

// A list from the door: one entry per tensor, null where absent.
struct UpdateList {
  const char* name;
  ArrayPointers arrays;
  index count;
};

// What a step needs that is not a list. `product`: nadam's running product of momenta, float64[1], 1 at first.
struct StepScalars {
  const Array& hyper;
  const Array& step;
  const Array* found = nullptr;
  const Array* product = nullptr;
};

// lists: parameters, gradients, states in the order of the rule.
void sgd_step(UpdateRule rule, const UpdateList* lists, int count, const StepScalars& scalars);
void adam_step(UpdateRule rule, bool decoupled, const UpdateList* lists, int count, const StepScalars& scalars);
void rmsprop_step(UpdateRule rule, const UpdateList* lists, int count, const StepScalars& scalars);
void adagrad_step(const UpdateList* lists, int count, const StepScalars& scalars);
void adadelta_step(const UpdateList* lists, int count, const StepScalars& scalars);
void adamax_step(const UpdateList* lists, int count, const StepScalars& scalars);
void nadam_step(const UpdateList* lists, int count, const StepScalars& scalars);
void radam_step(const UpdateList* lists, int count, const StepScalars& scalars);
void lion_step(const UpdateList* lists, int count, const StepScalars& scalars);

// targets[i] = rule(targets[i], sources[i]; number); without `sources` for rules of one array. Targets may be strided.
void update_list(const char* op, UpdateRule rule, const UpdateList& targets, const UpdateList* sources, double number,
                 double number2 = 0);
// list[i] *= factor, a floating array of one element, read inside the launch.
void scale_list(const UpdateList& list, const Array& factor);

// sqrt(sum of squares) over all lists' elements, accumulated in double; a scalar of the list's dtype.
Array global_norm(const UpdateList& grads);
// The same, and grads *= min(1, max_norm / (norm + 1e-6)). A norm of NaN makes every gradient NaN, as in PyTorch.
Array clip_by_norm(const UpdateList& grads, double max_norm);
// grads /= scale; found = 1 if a result is not finite, else untouched.
void unscale_check(const UpdateList& grads, const Array& scale, const Array& found);

}  // namespace mlext
