// The bodies: variables of neighbouring labels in the lanes of vectors, frame after frame.
#include "kernels/ctc/ctc.h"

#include "kernels/softmax/rows.h"

namespace mlext::MLEXT_LEVEL {
namespace {

using V = Vec<double>;
constexpr index N = V::N;
constexpr double kNever = -1e300;  // the exponent of 0
constexpr double kFaint = -300;    // 2^kFaint of the largest term does not count
constexpr double kFar = -0x1p40;   // below, a score has no fraction of an exponent

// m 2^e, with integral e. m stays in 2^-8 .. 2^34 between two calls of `settled`: a frame multiplies it by 0.7 to 4.3.
struct Number {
  V m, e;
};
constexpr index kFramesUnsettled = 16;

MLEXT_INLINE Number nothing() { return {V(1), V(kNever)}; }
MLEXT_INLINE Number load(const double* p) { return {V::load(p), V::load(p + N)}; }
MLEXT_INLINE void store(double* p, Number x) {
  x.m.store(p);
  x.e.store(p + N);
}
// 2^k for integral k below 1000.
MLEXT_INLINE V power(V k) { return power_of_two(max(k, V(kFaint)) + V(V::kMagic)); }
MLEXT_INLINE Number times(Number a, Number b) { return {a.m * b.m, a.e + b.e}; }
MLEXT_INLINE Number sum(Number a, Number b) {
  const V e = max(a.e, b.e);
  return {fma(a.m, power(a.e - e), b.m * power(b.e - e)), e};
}
MLEXT_INLINE Number sum(Number a, Number b, Number c) {
  const V e = max(max(a.e, b.e), c.e);
  return {fma(a.m, power(a.e - e), fma(b.m, power(b.e - e), c.m * power(c.e - e))), e};
}
// m in 1 .. 2.
MLEXT_INLINE Number settled(Number x) {
  const V n = to_float(shift_right(bits(x.m), 52) - IVec<double>(1023));
  return {x.m * power_of_two(V(V::kMagic) - n), x.e + n};
}
MLEXT_INLINE Number exponential(V x) {
  const auto [t, n, r] = reduce_exp(x);
  const Mask<double> near = x > V(kFar);
  return {select(near, exp_polynomial(r), V(1)), select(near, n, max(x * V(ExpData<double>::kLog2e), V(kNever)))};
}

// Lanes moved by one: the first is the last one of `before`; the last is the first one of `after`.
struct Up {
  static constexpr int at(int i, int n) { return n - 1 + i; }
};
struct Down {
  static constexpr int at(int i, int) { return i + 1; }
};
MLEXT_INLINE Number moved_up(Number before, Number x) { return {pick<Up>(before.m, x.m), pick<Up>(before.e, x.e)}; }
MLEXT_INLINE Number moved_down(Number x, Number after) { return {pick<Down>(x.m, after.m), pick<Down>(x.e, after.e)}; }

// Strips lie a vector of each after the other, mantissas before exponents: b, l and, of kept frames, the probabilities of labels.
constexpr index kBlank = 0, kLabel = 2 * N, kProbability = 4 * N;
// Where element u is, in a frame with so many strips.
MLEXT_INLINE index place(index u, index strips) { return u / N * N * strips + u % N; }

template <class T>
struct Walk {
  const CtcArgs& args;
  const T* x = static_cast<const T*>(args.x);
  const T* tops = static_cast<const T*>(args.tops);
  const T* tails = static_cast<const T*>(args.tails);
  index size = 6 * args.width;  // of a kept frame

  MLEXT_INLINE double* kept(index t) const { return args.kept + t % args.frames_kept * size; }
  MLEXT_INLINE double* before(index t) const { return kept(t + args.frames_kept - 1); }

  double softmax() const {
    using VT = Vec<T>;
    const index group = rows_per_log<VT>(args.row);
    for (index t = 0; t < args.frames; t += group) {
      const index rows = args.frames - t < group ? args.frames - t : group;
      row_log_sums<VT>(x + t * args.row, rows, args.row, static_cast<T*>(args.tops) + t,
                       static_cast<T*>(args.tails) + t);
    }
    // What a sum loses is taken along: of 10,000 equal terms the rounding errors are all alike.
    double total = 0, lost = 0;
    for (index t = 0; t < args.frames; ++t) {
      const double more = static_cast<double>(tails[t]) - lost, next = total + more;
      lost = (next - total) - more;
      total = next;
    }
    return total;
  }

  // Exponents of the factor of l[u - 1]: of 1 where labels may follow each other without a blank, of 0 elsewhere.
  void find_skips() const {
    for (index u = 0; u < args.width + 8; ++u) {
      const bool may = u > 0 && u < args.count && args.classes[u] != args.classes[u - 1];
      args.skips[u] = may ? 0 : kNever;
    }
  }

  // Before the first frame there is the first blank alone, behind the last one the last blank and the last label.
  void begin() const {
    double* frame = before(0);
    for (index i = 0; i < size; i += 2 * N) store(frame + i, nothing());
    frame[kBlank + N] = 0;
  }
  void end() const {
    for (index i = 0; i < 4 * args.width; i += 2 * N) store(args.backwards + i, nothing());
    args.backwards[place(args.count, 4) + kBlank + N] = 0;
    if (args.count > 0) args.backwards[place(args.count - 1, 4) + kLabel + N] = 0;
  }
  void settle(double* frame, index strips) const {
    for (index i = 0; i < args.width; i += N) {
      for (double* p = frame + strips * i; p < frame + strips * i + 4 * N; p += 2 * N) store(p, settled(load(p)));
    }
  }

  // The probabilities of frame t, less what softmax divides by. That of the blank comes behind those of the labels, where it
  // makes a label of its own, from which nothing comes back.
  MLEXT_INLINE void probabilities(index t, double* frame) const {
    const T* row = x + t * args.row;
    const V top(static_cast<double>(tops[t]));
    for (index u = 0; u <= args.count; ++u) args.values[u] = static_cast<double>(row[args.classes[u]]);
    for (index u = args.count + 1; u < args.width; ++u) args.values[u] = -__builtin_inf();
    for (index i = 0; i < args.width; i += N) {
      store(frame + 6 * i + kProbability, exponential(V::load(args.values + i) - top));
    }
  }
  MLEXT_INLINE Number blank(const double* frame) const { return element(frame, args.count, kProbability); }
  MLEXT_INLINE static Number element(const double* frame, index u, index strip) {
    const double* p = frame + place(u, 6) + strip;
    return {V(p[0]), V(p[N])};
  }

  // From the frame before, which may lie in the same place: of what a vector replaces, the next one is handed what it needs.
  void forward(index t) const {
    const double* from = before(t);
    double* to = kept(t);
    probabilities(t, to);
    const Number p_blank = blank(to);
    Number last = nothing();
    for (index i = 0; i < args.width; i += N) {
      const Number b = load(from + 6 * i + kBlank), l = load(from + 6 * i + kLabel), other = moved_up(last, l);
      const Number p = load(to + 6 * i + kProbability);
      store(to + 6 * i + kBlank, times(sum(b, other), p_blank));
      store(to + 6 * i + kLabel, times(sum(l, b, skipped(other, i)), p));
      last = l;
    }
    if (t % kFramesUnsettled == kFramesUnsettled - 1) settle(to, 6);
  }
  MLEXT_INLINE Number skipped(Number x, index u) const { return {x.m, x.e + V::load(args.skips + u)}; }

  // All frames; `starts` get what blocks of kept ones begin with.
  void forwards() const {
    begin();
    for (index t = 0; t < args.frames; ++t) {
      if (args.starts != nullptr && t % args.frames_kept == 0)
        copy(before(t), args.starts + t / args.frames_kept * size);
      forward(t);
    }
  }
  MLEXT_INLINE void copy(const double* from, double* to) const {
    for (index i = 0; i < size; i += N) V::load(from + i).store(to + i);
  }
  void again(index first) const {
    copy(args.starts + first / args.frames_kept * size, before(first));
    for (index t = first; t < first + args.frames_kept; ++t) forward(t);
  }

  // The sum over the paths.
  Number total() const {
    const double* last = before(args.frames);
    const Number blanks = element(last, args.count, kBlank);
    return settled(args.count == 0 ? blanks : sum(blanks, element(last, args.count - 1, kLabel)));
  }

  // Shares of the total of frame t's labels, to `values`; returns that of the blank. The backward variables, of paths behind
  // frame t without it, become those behind the frame before.
  double backward(index t, Number whole) const {
    const double* frame = kept(t);
    const Number p_blank = blank(frame);
    const V inverse = V(1) / whole.m;
    V blanks = V::zero();
    Number next_b = nothing(), next_l = next_b;
    for (index i = args.width - N; i >= 0; i -= N) {
      double* back = args.backwards + 4 * i;
      const Number b = load(back + kBlank), l = load(back + kLabel);
      const auto share = [&](Number way, index strip) {
        const Number both = times(way, load(frame + 6 * i + strip));
        const V k = both.e - whole.e;
        return select(k > V(kFaint), both.m * inverse * power(k), V::zero());
      };
      blanks += share(b, kBlank);
      share(l, kLabel).store(args.values + i);
      const Number pb = times(b, p_blank), pl = times(l, load(frame + 6 * i + kProbability));
      store(back + kBlank, sum(pb, pl));
      store(back + kLabel, sum(pl, moved_down(pb, next_b), skipped(moved_down(pl, next_l), i + 1)));
      next_b = pb;
      next_l = pl;
    }
    if (t % kFramesUnsettled == 0) settle(args.backwards, 4);
    return reduce_add(blanks);
  }

  void slopes(index t, double blank_share) const {
    using VT = Vec<T>;
    T* shares = static_cast<T*>(args.shares);
    for (index u = 0; u < args.count; ++u) args.sums[args.classes[u]] += args.values[u];
    args.sums[args.classes[args.count]] = blank_share;
    for (index u = 0; u <= args.count; ++u) shares[args.classes[u]] = static_cast<T>(args.sums[args.classes[u]]);
    const T* row = x + t * args.row;
    T* out = static_cast<T*>(args.out) + t * args.row;
    const VT top(tops[t]), tail(tails[t]), scale(static_cast<T>(args.scale));
    each<VT>(args.row, [&](index i, auto part) {
      const VT p = exp((get<VT>(row + i, part) - top) - tail);
      put(out + i, scale * (p - get<VT>(shares + i, part)), part);
    });
    for (index u = 0; u <= args.count; ++u) args.sums[args.classes[u]] = shares[args.classes[u]] = 0;
  }
};

template <class T>
double loss(const CtcArgs& args) {
  const Walk<T> walk{args};
  const double softmax = walk.softmax();
  walk.find_skips();
  walk.forwards();
  const Number whole = walk.total();
  double e[N], log_m[N];
  whole.e.store(e);
  log(whole.m).store(log_m);
  // NaN stays: what softmax divides by is NaN wherever a score is.
  if (e[0] < kNever / 2) return softmax + __builtin_inf();
  return softmax - (e[0] * 0.69314718055994530942 + log_m[0]);
}

template <class T>
void gradient(const CtcArgs& args) {
  const Walk<T> walk{args};
  const Number whole = walk.total();
  walk.end();
  for (index t = args.frames - 1; t >= 0; --t) {
    if ((t + 1) % args.frames_kept == 0 && t + 1 < args.frames) walk.again(t + 1 - args.frames_kept);
    walk.slopes(t, walk.backward(t, whole));
  }
}

}  // namespace

extern const CtcKernels ctc_kernels;
constexpr CtcKernels ctc_kernels = {{loss<float>, loss<double>}, {gradient<float>, gradient<double>}};

}  // namespace mlext::MLEXT_LEVEL
