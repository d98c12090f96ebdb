// Running statistics of batch norm.
#include "core/launch.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/vectors.h"

namespace mlext {
namespace {

template <class C>
void average(const void* old, const void* batch, void* to, index n, double momentum, double factor) {
  const C *a = static_cast<const C*>(old), *b = static_cast<const C*>(batch);
  C* out = static_cast<C*>(to);
  for (index i = 0; i < n; ++i) {
    out[i] = static_cast<C>((1 - momentum) * static_cast<double>(a[i]) + momentum * factor * static_cast<double>(b[i]));
  }
}

void update(const char* name, const Array& running, const Array& batch, double momentum, double factor) {
  constexpr const char* kOp = "running_statistics";
  require_floating(kOp, name, running);
  require_writable(kOp, name, running);
  require_floating(kOp, "batch", batch);
  if (running.size() != batch.size() || running.rank() != 1)
    refuse(kOp, name, text("shape (", batch.size(), ",), a value per channel"), "shape ", running.shape);
  const bool direct = running.dtype == batch.dtype && running.is_dense();
  const Array old = direct ? running : cast(running, batch.dtype), from = dense(batch);
  const Array to = direct ? running : Array::empty(running.shape, batch.dtype);
  const index n = running.size();
  launch(kOp, {3 * static_cast<double>(n), 3 * static_cast<double>(batch.nbytes())}, {&old, &from}, {&to},
         [wide = batch.dtype == DType::float64, a = old.data, b = from.data, out = to.data, n, momentum, factor] {
           wide ? average<double>(a, b, out, n, momentum, factor) : average<float>(a, b, out, n, momentum, factor);
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
