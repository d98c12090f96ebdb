#include "kernels/loss/loss.h"
#include "kernels/loss/ops.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// The loop of all kernels: use(i, count, v) with v = kFn(p, t), a member of Op. Idle lanes of the last vector compute on zeros
// and are dropped by the caller.
template <class T, class Op, auto kFn, class Use>
MLEXT_INLINE void each_vector(const LossArgs& args, Use use) {
  using V = Vec<T>;
  const T* p = static_cast<const T*>(args.p);
  const T* t = static_cast<const T*>(args.t);
  [[maybe_unused]] const T* extra = Op::kUsesExtra ? static_cast<const T*>(args.extra) : nullptr;
  const index n = args.n;
  LossContext<V> context{V(T(1)), args.parameter};
  index i = 0;
  for (; i + V::N <= n; i += V::N) {
    if constexpr (Op::kUsesExtra) {
      if (extra != nullptr) context.extra = V::load(extra + i);
    }
    use(i, V::N, kFn(V::load(p + i), V::load(t + i), context));
  }
  if (const index rest = n - i; rest > 0) {
    if constexpr (Op::kUsesExtra) {
      if (extra != nullptr) context.extra = V::load(extra + i, rest);
    }
    use(i, rest, kFn(V::load(p + i, rest), V::load(t + i, rest), context));
  }
}

template <class T, class Op, auto kFn>
void map(const LossArgs& args) {
  using V = Vec<T>;
  T* out = static_cast<T*>(args.out);
  const V factor(static_cast<T>(args.factor));
  each_vector<T, Op, kFn>(args, [&](index i, index count, V v) { (v * factor).store(out + i, count); });
}

// The driver's blocks are short: four chains of partial sums, taken in turn, stay below 64 additions each.
template <class T, class Op>
double sum(const LossArgs& args) {
  using V = Vec<T>;
  V acc[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  each_vector<T, Op, Op::template value<V>>(args, [&](index, index count, V v) {
    const V next = acc[0] + (count == V::N ? v : select(Mask<T>::first(count), v, V::zero()));
    acc[0] = acc[1];
    acc[1] = acc[2];
    acc[2] = acc[3];
    acc[3] = next;
  });
  return static_cast<double>(reduce_add((acc[0] + acc[1]) + (acc[2] + acc[3])));
}

// p t, for weights and gradients.
struct Product : Plain {
  template <class V>
  static MLEXT_INLINE V value(V p, V t, const LossContext<V>&) {
    return p * t;
  }
};

template <class T, int kType>
constexpr void add_type(LossKernels& table) {
  using V = Vec<T>;
#define MLEXT_ROW(name, parameters)                                         \
  {                                                                         \
    using Op = loss_##name;                                                 \
    constexpr int op = static_cast<int>(LossOp::name);                      \
    table.value[op][kType] = map<T, Op, Op::template value<V>>;             \
    table.sum[op][kType] = sum<T, Op>;                                      \
    table.grad[op][kType] = map<T, Op, Op::template grad<V>>;               \
    table.grad_target[op][kType] = map<T, Op, Op::template grad_target<V>>; \
  }
  MLEXT_LOSSES(MLEXT_ROW)
#undef MLEXT_ROW
  table.product[kType] = map<T, Product, Product::template value<V>>;
  table.product_sum[kType] = sum<T, Product>;
}

constexpr LossKernels make_table() {
  LossKernels table{};
  add_type<float, 0>(table);
  add_type<double, 1>(table);
  return table;
}

}  // namespace

extern const LossKernels loss_kernels;
constexpr LossKernels loss_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
