// Running statistics of batch norm.
#include "core/launch.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/vectors.h"

namespace mlext {
namespace {

template <class C, class B>
void average(const void* old, const void* batch, void* to, index n, double momentum, double factor) {
  const C* a = static_cast<const C*>(old);
  const B* b = static_cast<const B*>(batch);
  C* out = static_cast<C*>(to);
  for (index i = 0; i < n; ++i) {
    out[i] = static_cast<C>((1 - momentum) * static_cast<double>(a[i]) + momentum * factor * static_cast<double>(b[i]));
  }
}

// By the dtype of the average, and that of the batch's value.
auto* averaging(DType average_dtype, DType batch_dtype) {
  const bool wide = batch_dtype == DType::float64;
  if (average_dtype == DType::float64) return wide ? average<double, double> : average<double, float>;
  return wide ? average<float, double> : average<float, float>;
}

void update(const char* name, const Array& running, const Array& batch, double momentum, double factor) {
  constexpr const char* kOp = "running_statistics";
  require_floating(kOp, name, running);
  require_writable(kOp, name, running);
  require_floating(kOp, "batch", batch);
  if (running.size() != batch.size() || running.rank() != 1)
    refuse(kOp, name, text("shape (", batch.size(), ",), a value per channel"), "shape ", running.shape);
  const DType computed = accumulate_dtype(running.dtype);
  const bool direct = running.dtype == computed && running.is_dense();
  const Array from = dense(batch);
  const Array old = dense(running, computed);
  const Array to = direct ? running : Array::empty(running.shape, computed);
  const index n = running.size();
  launch(kOp, {3 * static_cast<double>(n), 3 * static_cast<double>(from.nbytes())}, {&old, &from}, {&to},
         [fn = averaging(computed, batch.dtype), a = old.data, b = from.data, out = to.data, n, momentum, factor] {
           fn(a, b, out, n, momentum, factor);
         });
  direct ? running.written() : cast_into(to, running);
}

}  // namespace

void update_running(const Array& running_mean, const Array& running_var, const Array& mean, const Array& var,
                    double momentum, index count) {
  update("running_mean", running_mean, mean, momentum, 1);
  update("running_var", running_var, var, momentum, static_cast<double>(count) / static_cast<double>(count - 1));
}

}  // namespace mlext
