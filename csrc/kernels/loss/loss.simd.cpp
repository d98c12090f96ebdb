#include "kernels/loss/loss.h"
#include "kernels/loss/ops.h"

namespace mlext::MLEXT_LEVEL {
namespace {

template <class Op>
struct Value {
  static constexpr bool kUsesExtra = Op::kUsesExtra;
  template <class V>
  static MLEXT_INLINE V run(V p, V t, const LossContext<V>& c) {
    return Op::value(p, t, c);
  }
};
template <class Op>
struct Grad {
  static constexpr bool kUsesExtra = Op::kUsesExtra;
  template <class V>
  static MLEXT_INLINE V run(V p, V t, const LossContext<V>& c) {
    return Op::grad(p, t, c);
  }
};
template <class Op>
struct GradTarget {
  static constexpr bool kUsesExtra = Op::kUsesExtra;
  template <class V>
  static MLEXT_INLINE V run(V p, V t, const LossContext<V>& c) {
    return Op::grad_target(p, t, c);
  }
};

// The loop of all kernels: use(i, count, v) with v = F(p, t). Idle lanes of the last vector compute on zeros and are dropped by
// the caller.
template <class T, class F, class Use>
MLEXT_INLINE void each_vector(const LossArgs& args, Use use) {
  using V = Vec<T>;
  const T* p = static_cast<const T*>(args.p);
  const T* t = static_cast<const T*>(args.t);
  const T* extra = static_cast<const T*>(args.extra);
  const index n = args.n;
  LossContext<V> context{V::zero(), args.parameter};
  index i = 0;
  for (; i + V::N <= n; i += V::N) {
    if constexpr (F::kUsesExtra) context.extra = V::load(extra + i);
    use(i, V::N, F::run(V::load(p + i), V::load(t + i), context));
  }
  if (const index rest = n - i; rest > 0) {
    if constexpr (F::kUsesExtra) context.extra = V::load(extra + i, rest);
    use(i, rest, F::run(V::load(p + i, rest), V::load(t + i, rest), context));
  }
}

template <class T, class F>
void map(const LossArgs& args) {
  using V = Vec<T>;
  T* out = static_cast<T*>(args.out);
  const V factor(static_cast<T>(args.factor));
  each_vector<T, F>(args, [&](index i, index count, V v) { (v * factor).store(out + i, count); });
}

// The driver's blocks are short: four chains of partial sums, taken in turn, stay below 64 additions each.
template <class T, class F>
double sum(const LossArgs& args) {
  using V = Vec<T>;
  V acc[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  each_vector<T, F>(args, [&](index, index count, V v) {
    const V next = acc[0] + (count == V::N ? v : select(Mask<T>::first(count), v, V::zero()));
    acc[0] = acc[1];
    acc[1] = acc[2];
    acc[2] = acc[3];
    acc[3] = next;
  });
  return static_cast<double>(reduce_add((acc[0] + acc[1]) + (acc[2] + acc[3])));
}

// p[i] t[i], for weights and gradients.
struct Product {
  static constexpr bool kUsesExtra = false;
  template <class V>
  static MLEXT_INLINE V run(V p, V t, const LossContext<V>&) {
    return p * t;
  }
};

constexpr LossKernels make_table() {
  LossKernels t{};
#define MLEXT_ROW(name, parameters)                              \
  {                                                              \
    constexpr int op = static_cast<int>(LossOp::name);           \
    t.value[op][0] = map<float, Value<loss_##name>>;             \
    t.value[op][1] = map<double, Value<loss_##name>>;            \
    t.sum[op][0] = sum<float, Value<loss_##name>>;               \
    t.sum[op][1] = sum<double, Value<loss_##name>>;              \
    t.grad[op][0] = map<float, Grad<loss_##name>>;               \
    t.grad[op][1] = map<double, Grad<loss_##name>>;              \
    t.grad_target[op][0] = map<float, GradTarget<loss_##name>>;  \
    t.grad_target[op][1] = map<double, GradTarget<loss_##name>>; \
  }
  MLEXT_LOSSES(MLEXT_ROW)
#undef MLEXT_ROW
  t.product[0] = map<float, Product>;
  t.product[1] = map<double, Product>;
  t.product_sum[0] = sum<float, Product>;
  t.product_sum[1] = sum<double, Product>;
  return t;
}

}  // namespace

extern const LossKernels loss_kernels;
constexpr LossKernels loss_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
