#include "kernels/loss/loss.h"
#include "kernels/loss/ops.h"

namespace mlext::MLEXT_LEVEL {
namespace {

template <class T>
MLEXT_INLINE const T* typed(const void* p) {
  return static_cast<const T*>(p);
}

// The loop of all four kernels: f(i, count, p, t, context), then times the weight. Idle lanes of the last vector compute
// on zeros and are dropped by the caller.
template <class T, class F, class Use>
MLEXT_INLINE void each_vector(const LossArgs& args, F f, Use use) {
  using V = Vec<T>;
  const index n = args.n;
  const T* p = typed<T>(args.p);
  const T* t = typed<T>(args.t);
  const T* w = typed<T>(args.w);
  const T* extra = typed<T>(args.extra);
  LossContext<V> context{V(T(1)), args.parameter};
  index i = 0;
  for (; i + V::N <= n; i += V::N) {
    if (extra != nullptr) context.extra = V::load(extra + i);
    V v = f(V::load(p + i), V::load(t + i), context);
    if (w != nullptr) v = v * V::load(w + i);
    use(i, V::N, v);
  }
  if (i < n) {
    const index rest = n - i;
    if (extra != nullptr) context.extra = V::load(extra + i, rest);
    V v = f(V::load(p + i, rest), V::load(t + i, rest), context);
    if (w != nullptr) v = v * V::load(w + i, rest);
    use(i, rest, v);
  }
}

template <class T, class Op>
void value(const LossArgs& args) {
  using V = Vec<T>;
  T* out = static_cast<T*>(args.out);
  each_vector<T>(
      args, [](V p, V t, const LossContext<V>& c) { return Op::value(p, t, c); },
      [&](index i, index count, V v) { v.store(out + i, count); });
}

// The driver's blocks are short: four chains of partial sums, taken in turn, stay below 64 additions each.
template <class T, class Op>
double sum(const LossArgs& args) {
  using V = Vec<T>;
  V acc[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  each_vector<T>(
      args, [](V p, V t, const LossContext<V>& c) { return Op::value(p, t, c); },
      [&](index, index count, V v) {
        const V next = acc[0] + (count == V::N ? v : select(Mask<T>::first(count), v, V::zero()));
        acc[0] = acc[1];
        acc[1] = acc[2];
        acc[2] = acc[3];
        acc[3] = next;
      });
  return static_cast<double>(reduce_add((acc[0] + acc[1]) + (acc[2] + acc[3])));
}

template <class T, class F>
MLEXT_INLINE void scaled_grad(const LossArgs& args, F f) {
  using V = Vec<T>;
  T* out = static_cast<T*>(args.out);
  const T* g = typed<T>(args.g);
  const V scale(static_cast<T>(args.scale));
  if (args.g_step == 0) {
    const V factor = V(g[0]) * scale;
    each_vector<T>(args, f, [&](index i, index count, V v) { (v * factor).store(out + i, count); });
  } else {
    each_vector<T>(args, f,
                   [&](index i, index count, V v) { (v * V::load(g + i, count) * scale).store(out + i, count); });
  }
}

template <class T, class Op>
void grad(const LossArgs& args) {
  using V = Vec<T>;
  scaled_grad<T>(args, [](V p, V t, const LossContext<V>& c) { return Op::grad(p, t, c); });
}

template <class T, class Op>
void grad_target(const LossArgs& args) {
  using V = Vec<T>;
  scaled_grad<T>(args, [](V p, V t, const LossContext<V>& c) { return Op::grad_target(p, t, c); });
}

constexpr LossKernels make_table() {
  LossKernels t{};
#define MLEXT_ROW(name, parameters)                          \
  {                                                          \
    constexpr int op = static_cast<int>(LossOp::name);       \
    t.value[op][0] = value<float, loss_##name>;              \
    t.value[op][1] = value<double, loss_##name>;             \
    t.sum[op][0] = sum<float, loss_##name>;                  \
    t.sum[op][1] = sum<double, loss_##name>;                 \
    t.grad[op][0] = grad<float, loss_##name>;                \
    t.grad[op][1] = grad<double, loss_##name>;               \
    t.grad_target[op][0] = grad_target<float, loss_##name>;  \
    t.grad_target[op][1] = grad_target<double, loss_##name>; \
  }
  MLEXT_LOSSES(MLEXT_ROW)
#undef MLEXT_ROW
  return t;
}

}  // namespace

extern const LossKernels loss_kernels;
constexpr LossKernels loss_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
