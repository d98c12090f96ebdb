#include "kernels/softmax/cross_entropy.h"

#include "kernels/softmax/rows.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// Maximum and log of the sum of exponentials, apart: with |max| = 100 their sum alone would cost p 100 u.
template <class C>
struct LogSum {
  C max, tail;
};
template <class C>
MLEXT_INLINE LogSum<C> saved_log_sum(const CrossEntropyArgs& args, index r) {
  const C* stats = static_cast<const C*>(args.stats) + 2 * r;
  return {stats[0], stats[1]};
}

// Finds and saves the LogSum of every row, then calls loss(r, x, s) and stores what it returns.
template <class S, class F>
MLEXT_INLINE void each_loss(const CrossEntropyArgs& args, F loss) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.classes, group = rows_per_log<V>(n);
  C* stats = static_cast<C*>(args.stats);
  C* losses = static_cast<C*>(args.loss);
  for (index first = 0; first < args.rows; first += group) {
    const index rows = args.rows - first < group ? args.rows - first : group;
    const S* x = static_cast<const S*>(args.logits) + first * n;
    C m[V::N], tail[V::N];
    row_log_sums<V>(x, rows, n, m, tail);
    for (index r = 0; r < rows; ++r) {
      stats[2 * (first + r)] = m[r];
      stats[2 * (first + r) + 1] = tail[r];
      losses[first + r] = loss(first + r, x + r * n, LogSum<C>{m[r], tail[r]});
    }
  }
}

// log p = (x - max) - tail
template <class V>
MLEXT_INLINE V log_probability(V x, LogSum<typename V::Scalar> s) {
  return (x - V(s.max)) - V(s.tail);
}

template <class S>
MLEXT_INLINE typename Compute<S>::Type element(const S* p) {
  using C = typename Compute<S>::Type;
  if constexpr (sizeof(S) == sizeof(C)) {
    return *p;
  } else {
    C lanes[Vec<C>::N];
    Vec<C>::load(p, 1).store(lanes);
    return lanes[0];
  }
}

template <class V, class C, class Part>
MLEXT_INLINE V weight_at(const C* weight, index i, Part part) {
  return weight == nullptr ? V(C(1)) : get<V>(weight + i, part);
}

template <class S>
void labels_forward(const CrossEntropyArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.classes;
  const C* weight = static_cast<const C*>(args.weight);
  const C smoothing = static_cast<C>(args.smoothing);
  each_loss<S>(args, [&](index r, const S* x, LogSum<C> s) {
    const index y = args.labels[r];
    if (y < 0) return C(0);
    const C nll = (s.max - element(x + y)) + s.tail;
    const C loss = (C(1) - smoothing) * (weight == nullptr ? nll : weight[y] * nll);
    if (smoothing == C(0)) return loss;
    const C rest = row_sum<V>(
        n, [&](index i, auto part) { return weight_at<V>(weight, i, part) * log_probability(get<V>(x + i, part), s); });
    return loss - smoothing / static_cast<C>(n) * rest;
  });
}

// dx[c] = k (p[c] ((1 - s) w[y] + s mean(w)) - s / C w[c] - [c = y] (1 - s) w[y])
template <class S>
struct LabelSlopes {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;

  const CrossEntropyArgs& args;
  index n = args.classes;
  const C* weight = static_cast<const C*>(args.weight);
  C smoothing = static_cast<C>(args.smoothing), each_class = smoothing / static_cast<C>(n);
  C spread = smoothing * static_cast<C>(args.weight_mean);

  C factor(index r) const { return static_cast<const C*>(args.g)[r * args.g_step] * static_cast<C>(args.scale); }
  C weight_of(index y) const { return weight == nullptr ? C(1) : weight[y]; }
  S* out(index r) const { return static_cast<S*>(args.out) + r * n; }

  // All classes but the label; returns the label's log p.
  MLEXT_INLINE C others(index r, index y) const {
    const S* x = static_cast<const S*>(args.logits) + r * n;
    S* dx = out(r);
    const C k = factor(r);
    const LogSum<C> s = saved_log_sum<C>(args, r);
    const V slope(k * ((C(1) - smoothing) * weight_of(y) + spread));
    if (smoothing == C(0)) {
      each<V>(n, [&](index i, auto part) {
        put(dx + i, slope * exp_below(log_probability(get<V>(x + i, part), s)), part);
      });
    } else {
      const V share(k * each_class);
      each<V>(n, [&](index i, auto part) {
        put(dx + i, slope * exp_below(log_probability(get<V>(x + i, part), s)) - share * weight_at<V>(weight, i, part),
            part);
      });
    }
    return (element(x + y) - s.max) - s.tail;
  }

  // `less` is p[y] - 1.
  MLEXT_INLINE void label(index r, index y, C less) const {
    const C k = factor(r), w = weight_of(y);
    C slope = k * ((C(1) - smoothing) * w) * less;
    if (smoothing != C(0)) slope += k * spread * (less + C(1)) - k * each_class * w;
    V(slope).store(out(r) + y, 1);
  }
};

// The label again, by expm1, which is accurate where p is close to 1; for as many rows at once as a vector holds.
template <class S>
void labels_backward(const CrossEntropyArgs& args) {
  using Slopes = LabelSlopes<S>;
  using C = typename Slopes::C;
  using V = typename Slopes::V;
  const Slopes slopes{args};
  for (index first = 0; first < args.rows; first += V::N) {
    const index rows = args.rows - first < V::N ? args.rows - first : V::N;
    C less[V::N] = {};
    for (index r = 0; r < rows; ++r) {
      const index y = args.labels[first + r];
      if (y >= 0) {
        less[r] = slopes.others(first + r, y);
      } else {
        each<V>(args.classes, [dx = slopes.out(first + r)](index i, auto part) { put(dx + i, V::zero(), part); });
      }
    }
    expm1(V::load(less)).store(less);
    for (index r = 0; r < rows; ++r) {
      if (const index y = args.labels[first + r]; y >= 0) slopes.label(first + r, y, less[r]);
    }
  }
}

// w t' with smoothing; 0 times an infinite distance counts as 0: a class that is masked out and not wanted costs nothing.
template <class V, class S, class C, class Part>
MLEXT_INLINE V target_at(const CrossEntropyArgs& args, const S* t, index i, Part part) {
  const V mixed = fma(get<V>(t + i, part), V(static_cast<C>(1 - args.smoothing)),
                      V(static_cast<C>(args.smoothing / static_cast<double>(args.classes))));
  return weight_at<V>(static_cast<const C*>(args.weight), i, part) * mixed;
}

template <class S>
void target_forward(const CrossEntropyArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.classes;
  const V infinity(static_cast<C>(__builtin_inf()));
  each_loss<S>(args, [&](index r, const S* x, LogSum<C> s) {
    const S* t = static_cast<const S*>(args.target) + r * n;
    return row_sum<V>(n, [&](index i, auto part) {
      const V wanted = target_at<V, S, C>(args, t, i, part);
      const V distance = -log_probability(get<V>(x + i, part), s);
      return select((wanted == V::zero()) & (distance == infinity), V::zero(), wanted * distance);
    });
  });
}

// dx[c] = k (p[c] sum(w t') - w[c] t'[c])
template <class S>
void target_backward(const CrossEntropyArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.classes;
  for (index r = 0; r < args.rows; ++r) {
    const S* x = static_cast<const S*>(args.logits) + r * n;
    const S* t = static_cast<const S*>(args.target) + r * n;
    S* dx = static_cast<S*>(args.out) + r * n;
    const V k(static_cast<const C*>(args.g)[r * args.g_step] * static_cast<C>(args.scale));
    const LogSum<C> s = saved_log_sum<C>(args, r);
    const V total(row_sum<V>(n, [&](index i, auto part) { return target_at<V, S, C>(args, t, i, part); }));
    each<V>(n, [&](index i, auto part) {
      const V p = exp_below(log_probability(get<V>(x + i, part), s));
      put(dx + i, k * (p * total - target_at<V, S, C>(args, t, i, part)), part);
    });
  }
}

// dt[c] = k (1 - s) w[c] (lse - x[c])
template <class S>
void target_backward_target(const CrossEntropyArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.classes;
  const C* weight = static_cast<const C*>(args.weight);
  for (index r = 0; r < args.rows; ++r) {
    const S* x = static_cast<const S*>(args.logits) + r * n;
    S* dt = static_cast<S*>(args.out) + r * n;
    const C g = static_cast<const C*>(args.g)[r * args.g_step];
    const V k(g * static_cast<C>(args.scale * (1 - args.smoothing)));
    const LogSum<C> s = saved_log_sum<C>(args, r);
    each<V>(n, [&](index i, auto part) {
      put(dt + i, k * weight_at<V>(weight, i, part) * -log_probability(get<V>(x + i, part), s), part);
    });
  }
}

// ---- the table --------------------------------------------------------------------------------------------------------

template <class S>
constexpr void add_type(CrossEntropyKernels& t, DType dtype) {
  const int type = static_cast<int>(dtype);
  t.labels_forward[type] = labels_forward<S>;
  t.labels_backward[type] = labels_backward<S>;
  t.target_forward[type] = target_forward<S>;
  t.target_backward[type] = target_backward<S>;
  t.target_backward_target[type] = target_backward_target<S>;
}

constexpr CrossEntropyKernels make_table() {
  CrossEntropyKernels t{};
  add_type<float>(t, DType::float32);
  add_type<double>(t, DType::float64);
  add_type<bf16>(t, DType::bfloat16);
  add_type<f16>(t, DType::float16);
  return t;
}

}  // namespace

extern const CrossEntropyKernels cross_entropy_kernels;
constexpr CrossEntropyKernels cross_entropy_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
