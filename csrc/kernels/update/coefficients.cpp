#include "kernels/update/coefficients.h"

#include <cmath>

namespace mlext {
namespace {

void adam_family(const double* h, double t, double* c) {
  c[kRate] = h[0] / (1 - std::pow(h[1], t));
  c[kRest1] = 1 - h[1];
  c[kDecay2] = h[2];
  c[kRest2] = 1 - h[2];
  c[kRootScale] = 1 / std::sqrt(1 - std::pow(h[2], t));
  c[kEps] = h[3];
  c[kWeightDecay] = h[4];
}

}  // namespace

void sgd_coefficients(const double* h, double t, double*, double* c) {
  c[kRate] = h[0];
  // The first step starts the average with the gradient itself.
  c[kMomentum] = t == 1 ? 0 : h[1];
  c[kUndamped] = t == 1 ? 1 : 1 - h[2];
  c[kLookAhead] = h[1];
  c[kWeightDecay] = h[3];
}
void adam_coefficients(const double* h, double t, double*, double* c) { adam_family(h, t, c); }
void adamw_coefficients(const double* h, double t, double*, double* c) {
  adam_family(h, t, c);
  c[kWeightDecay] = 0;
  c[kShrink] = 1 - h[0] * h[4];
}
void rmsprop_coefficients(const double* h, double, double*, double* c) {
  c[kRate] = h[0];
  c[kDecay2] = h[1];
  c[kRest2] = 1 - h[1];
  c[kEps] = h[2];
  c[kWeightDecay] = h[3];
  c[kMomentum] = h[4];
}
void adagrad_coefficients(const double* h, double t, double*, double* c) {
  c[kRate] = h[0] / (1 + (t - 1) * h[1]);
  c[kWeightDecay] = h[2];
  c[kEps] = h[3];
}
void adadelta_coefficients(const double* h, double, double*, double* c) {
  c[kRate] = h[0];
  c[kDecay2] = h[1];
  c[kRest2] = 1 - h[1];
  c[kEps] = h[2];
  c[kWeightDecay] = h[3];
}
void nadam_coefficients(const double* h, double t, double* product, double* c) {
  adam_family(h, t, c);
  const double now = h[1] * (1 - 0.5 * std::pow(0.96, t * h[5]));
  const double next = h[1] * (1 - 0.5 * std::pow(0.96, (t + 1) * h[5]));
  *product *= now;
  c[kRate] = h[0] * (1 - now) / (1 - *product);
  c[kLookAhead] = h[0] * next / (1 - *product * next);
}
void radam_coefficients(const double* h, double t, double*, double* c) {
  adam_family(h, t, c);
  const double power = std::pow(h[2], t), limit = 2 / (1 - h[2]) - 1;
  const double rho = limit - 2 * t * power / (1 - power);
  c[kLookAhead] = rho > 5 ? 0 : 1;
  if (rho > 5) {
    const double rectified = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho);
    c[kRate] *= std::sqrt(rectified * (1 - power));
  }
}
void lion_coefficients(const double* h, double, double*, double* c) {
  c[kRate] = h[0];
  c[kRest1] = 1 - h[1];
  c[kRest2] = 1 - h[2];
  c[kShrink] = 1 - h[0] * h[3];
}

}  // namespace mlext
