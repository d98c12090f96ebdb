// The bodies: what becomes of a tile of scores, row by row.
#include "kernels/attention/attention.h"

#include "kernels/attention/weigh.h"
#include "simd/math.h"

namespace mlext::MLEXT_LEVEL {
namespace {

template <class T>
inline constexpr T kInfinity = static_cast<T>(__builtin_inf());

// 2^r = 1 + r p(r) for |r| <= 1/2: with the float's last term less than elsewhere (2^-23.4), since a weight is one of many.
template <class T>
MLEXT_INLINE Vec<T> exp2_polynomial(Vec<T> r) {
  if constexpr (sizeof(T) == 4) {
    constexpr float kShort[] = {0x1.62e42ap-1f, 0x1.ebf9bcp-3f, 0x1.c6b752p-5f, 0x1.3cea88p-7f, 0x1.5bba18p-10f};
    return fma(polynomial(r, kShort), r, Vec<T>(1.0f));
  } else {
    return fma(polynomial(r, ExpData<T>::kExp2), r, Vec<T>(T(1)));
  }
}

// 2^(x factor) for x that is 0 at most: no upper bound to check. NaN stays. The product is rounded once, as part of a sum.
template <class T>
MLEXT_INLINE Vec<T> exp2_below(Vec<T> x, Vec<T> factor) {
  using D = ExpData<T>;
  using V = Vec<T>;
  const V n = fma(x, factor, V(V::kMagic)) - V(V::kMagic), r = fma(x, factor, -n);
  return scale(not_less(n, V(D::kMin2)), exp2_polynomial(r), n);
}
template <class T>
MLEXT_INLINE T exp2_of(T x, T factor) {
  return first_lane(exp2_below(Vec<T>(x), Vec<T>(factor)));
}

template <class T>
MLEXT_INLINE void clear(T* p, index n) {
  each<Vec<T>>(n, [&](index i, auto part) { put(p + i, Vec<T>::zero(), part); });
}

// ---- scores ---------------------------------------------------------------------------------------------------------

template <class T>
void alter(const AlterArgs<T>& args) {
  using V = Vec<T>;
  const ScoreTile<T>& tile = args.tile;
  const V factor(args.scale), one(1), cap(args.cap), inverse(args.cap != 0 ? 1 / args.cap : T(0));
  alignas(64) T lane[V::N];
  for (index i = 0; i < V::N; ++i) lane[i] = static_cast<T>(i);
  const V lanes = V::load(lane);
  for (index r = 0; r < tile.rows; ++r) {
    const index first = tile.first[r], n = tile.last[r] - first;
    T *s = tile.s + r * tile.row + first, *steep = args.steepness;
    if (steep != nullptr) steep += r * tile.row + first;
    each<V>(n, [&](index i, auto part) {
      V x = get<V>(s + i, part) * factor;
      if (args.cap != 0) {
        const V t = tanh(x * inverse);
        x = cap * t;
        if (steep != nullptr) put(steep + i, fma(-t, t, one), part);
      }
      if (args.slope != nullptr) {
        const V distance = lanes + V(static_cast<T>(first + i - args.own[r]));
        x = fma(V(-args.slope[r]), abs(distance), x);
      }
      if (args.mask != nullptr && !args.hides) x += get<V>(static_cast<const T*>(args.mask[r]) + first + i, part);
      put(s + i, x, part);
    });
    if (args.mask != nullptr && args.hides) {
      const bool* seen = static_cast<const bool*>(args.mask[r]) + first;
      for (index i = 0; i < n; ++i) s[i] = seen[i] ? s[i] : -kInfinity<T>;
    }
  }
}

// A row's largest score has grown: what was added up until then is scaled.
template <class T>
MLEXT_INLINE void grow(const SoftenArgs<T>& args, index r, T largest) {
  using V = Vec<T>;
  const T before = args.largest[r];
  args.largest[r] = largest;
  if (before == -kInfinity<T>) return;  // nothing yet
  const V factor(exp2_of(before - largest, args.factor));
  T *sum = args.sum + r * V::N, *o = args.o + r * args.o_row;
  (V::load(sum) * factor).store(sum);
  each<V>(args.o_cols, [&](index i, auto part) { put(o + i, get<V>(o + i, part) * factor, part); });
}

template <class T>
void soften(const SoftenArgs<T>& args) {
  using V = Vec<T>;
  const ScoreTile<T>& tile = args.tile;
  const V factor(args.factor);
  // All maxima first: they are chains that end in one number, which exponentials of the row before would not wait for.
  for (index r = 0; r < tile.rows; ++r) {
    const index first = tile.first[r];
    const T most = row_max<V>(tile.s + r * tile.row + first, tile.last[r] - first);
    if (most > args.largest[r]) grow(args, r, most);
  }
  for (index r = 0; r < tile.rows; ++r) {
    const index first = tile.first[r], n = tile.last[r] - first;
    T* s = tile.s + r * tile.row;
    clear(s + tile.begin, first - tile.begin);
    const V largest(args.largest[r] == -kInfinity<T> ? T(0) : args.largest[r]);
    V sum = V::load(args.sum + r * V::N);
    each<V>(n, [&](index i, auto part) {
      const V p = exp2_below(get<V>(s + first + i, part) - largest, factor);
      put(s + first + i, p, part);
      sum += keep(p, V::zero(), part);
    });
    sum.store(args.sum + r * V::N);
    clear(s + tile.last[r], tile.end - tile.last[r]);
  }
}

template <class T>
void drop(const ScoreTile<T>& tile, const bool* kept, T scale) {
  for (index r = 0; r < tile.rows; ++r) {
    T* s = tile.s + r * tile.row;
    const bool* keep = kept + r * tile.row;
    for (index i = tile.begin; i < tile.end; ++i) s[i] = keep[i] ? s[i] * scale : T(0);
  }
}

template <class T>
void gradient(const ScoreGradientArgs<T>& args) {
  using V = Vec<T>;
  const ScoreTile<T>& tile = args.tile;
  for (index r = 0; r < tile.rows; ++r) {
    const index first = tile.first[r], n = tile.last[r] - first, at = r * tile.row;
    T *s = tile.s + at, *g = args.g + at;
    clear(s + tile.begin, first - tile.begin);
    clear(g + tile.begin, first - tile.begin);
    if (args.kept != nullptr) {
      const bool* kept = args.kept + at;
      for (index i = first; i < first + n; ++i) g[i] = kept[i] ? g[i] * args.keep_scale : T(0);
    }
    const V factor(args.factor), largest(args.stats[2 * r]), inverse(args.stats[2 * r + 1]), along(args.along[r]),
        scaled(args.scale);
    each<V>(n, [&](index i, auto part) {
      const index j = first + i;
      const V p = exp2_below(get<V>(s + j, part) - largest, factor) * inverse;
      V gs = p * scaled * (get<V>(g + j, part) - along);
      if (args.steepness != nullptr) gs *= get<V>(args.steepness + at + j, part);
      put(s + j, p, part);
      put(g + j, gs, part);
    });
    clear(s + tile.last[r], tile.end - tile.last[r]);
    clear(g + tile.last[r], tile.end - tile.last[r]);
  }
  if (args.kept != nullptr) drop(tile, args.kept, args.keep_scale);
}

// ---- results ------------------------------------------------------------------------------------------------------

template <class T, class S>
void join_rows(const JoinArgs<T>& args) {
  using V = Vec<T>;
  for (index r = 0; r < args.rows; ++r) {
    const T *of_largest = args.largest + r, *of_sum = args.sum + r * V::N, *o = args.o + r * args.o_row;
    T largest = of_largest[0];
    for (index i = 1; i < args.parts; ++i)
      largest = of_largest[i * args.step] > largest ? of_largest[i * args.step] : largest;
    // Nothing seen: 0 times what was never added up.
    const T base = largest == -kInfinity<T> ? T(0) : largest;
    const auto weight = [&](index i) { return exp2_of(of_largest[i * args.step] - base, args.factor); };
    T sum = reduce_add(V::load(of_sum));
    if (args.parts > 1) sum *= weight(0);
    for (index i = 1; i < args.parts; ++i) sum += weight(i) * reduce_add(V::load(of_sum + i * args.step));
    const T inverse = sum == 0 ? T(0) : 1 / sum;
    if (args.stats != nullptr) args.stats[2 * r] = base, args.stats[2 * r + 1] = inverse;
    S* out = static_cast<S*>(args.out) + r * args.out_row;
    each<V>(args.cols, [&](index c, auto part) {
      V total = get<V>(o + c, part);
      if (args.parts > 1) total = total * V(weight(0));
      for (index i = 1; i < args.parts; ++i) total = fma(V(weight(i)), get<V>(o + i * args.step + c, part), total);
      put(out + c, total * V(inverse), part);
    });
  }
}
template <class T>
void join(const JoinArgs<T>& args) {
  with_storage<T>(args.dtype, [&](auto s) { join_rows<T, decltype(s)>(args); });
}

template <class T>
void along(const AlongArgs<T>& args) {
  using V = Vec<T>;
  with_storage<T>(args.dtype, [&](auto s) {
    using S = decltype(s);
    for (index r = 0; r < args.rows; ++r) {
      const S *a = static_cast<const S*>(args.a) + r * args.a_row, *b = static_cast<const S*>(args.b) + r * args.b_row;
      V sum = V::zero();
      each<V>(args.n, [&](index i, auto part) { sum = fma(get<V>(a + i, part), get<V>(b + i, part), sum); });
      args.out[r * args.out_row] = reduce_add(sum);
    }
  });
}

template <class T>
void add(index n, const T* from, T* to) {
  using V = Vec<T>;
  each<V>(n, [&](index i, auto part) { put(to + i, get<V>(to + i, part) + get<V>(from + i, part), part); });
}

template <class T>
constexpr AttentionTypeKernels<T> make_type() {
  return {alter<T>, soften<T>, drop<T>, gradient<T>, score<T>, weigh<T>, join<T>, along<T>, add<T>};
}

}  // namespace

extern const AttentionKernels attention_kernels;
constexpr AttentionKernels attention_kernels = {make_type<float>(), make_type<double>()};

}  // namespace mlext::MLEXT_LEVEL
