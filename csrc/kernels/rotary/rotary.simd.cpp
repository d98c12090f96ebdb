#include "kernels/rotary/rotary.h"

#include "simd/compute.h"
#include "simd/parts.h"
#include "simd/shuffle.h"

namespace mlext::MLEXT_LEVEL {
namespace {

// Heads are the inner loop: cosines and sines are loaded, and where pairs are neighbours spread, once for all of them.
template <class S, class F>
MLEXT_INLINE void each_head(const RotaryArgs& args, index position, F f) {
  const S* x = static_cast<const S*>(args.x) + position * args.position_step;
  S* y = static_cast<S*>(args.out) + position * args.heads * args.features;
  for (index h = 0; h < args.heads; ++h, x += args.head_step, y += args.features) f(x, y);
}

template <class S>
MLEXT_INLINE void pass_rest(const RotaryArgs& args, index position) {
  using V = Vec<typename Compute<S>::Type>;
  const index first = 2 * args.pairs, count = args.features - first;
  if (count == 0) return;
  each_head<S>(args, position, [&](const S* x, S* y) {
    each<V>(count, [&](index i, auto part) { put(y + first + i, get<V>(x + first + i, part), part); });
  });
}

// The sine of the angle, or of the opposite one.
template <class V, class C, class Part>
MLEXT_INLINE V sine(const RotaryArgs& args, const C* sin, Part part) {
  const V s = get<V>(sin, part);
  return args.opposite ? -s : s;
}

template <class S>
void turn_halves(const RotaryArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.pairs;
  for (index t = 0; t < args.positions; ++t) {
    const C *cos = static_cast<const C*>(args.cos) + t * n, *sin = static_cast<const C*>(args.sin) + t * n;
    each<V>(n, [&](index i, auto part) {
      const V c = get<V>(cos + i, part), s = sine<V>(args, sin + i, part);
      each_head<S>(args, t, [&](const S* x, S* y) {
        const V a = get<V>(x + i, part), b = get<V>(x + n + i, part);
        put(y + i, fma(a, c, -(b * s)), part);
        put(y + n + i, fma(b, c, a * s), part);
      });
    });
    pass_rest<S>(args, t);
  }
}

// Lanes 0 0 1 1 2 2 ... of the lower or upper half; with `signs` the even ones from a, the odd ones from b.
template <bool upper, bool signs>
struct Twice {
  static constexpr int at(int i, int n) { return i / 2 + (upper ? n / 2 : 0) + (signs && i % 2 != 0 ? n : 0); }
};
struct Neighbour {
  static constexpr int at(int i, int) { return i ^ 1; }
};
template <class Part>
inline constexpr bool kWhole = false;
template <>
inline constexpr bool kWhole<Whole> = true;

// y = x (c c ...) + (x with neighbours exchanged) (-s s ...): one exchange per vector, where taking pairs apart would need
// two and two more to join them.
template <class S>
void turn_pairs(const RotaryArgs& args) {
  using C = typename Compute<S>::Type;
  using V = Vec<C>;
  const index n = args.pairs;
  const auto whole_or = [](index left) { return left < V::N ? (left < 0 ? 0 : left) : V::N; };
  for (index t = 0; t < args.positions; ++t) {
    const C *cos = static_cast<const C*>(args.cos) + t * n, *sin = static_cast<const C*>(args.sin) + t * n;
    each<V>(n, [&](index i, auto part) {
      const V c = get<V>(cos + i, part), s = sine<V>(args, sin + i, part), less = -s;
      const V c0 = pick<Twice<false, false>>(c, c), c1 = pick<Twice<true, false>>(c, c);
      const V s0 = pick<Twice<false, true>>(less, s), s1 = pick<Twice<true, true>>(less, s);
      const auto turned = [](V x, V cosine, V signed_sine) {
        return fma(x, cosine, pick<Neighbour>(x, x) * signed_sine);
      };
      const index first = whole_or(2 * (n - i)), second = whole_or(2 * (n - i) - V::N);
      each_head<S>(args, t, [&](const S* x, S* y) {
        x += 2 * i;
        y += 2 * i;
        if constexpr (kWhole<decltype(part)>) {
          turned(V::load(x), c0, s0).store(y);
          turned(V::load(x + V::N), c1, s1).store(y + V::N);
        } else {
          turned(V::load(x, first), c0, s0).store(y, first);
          turned(V::load(x + V::N, second), c1, s1).store(y + V::N, second);
        }
      });
    });
    pass_rest<S>(args, t);
  }
}

// ---- the table --------------------------------------------------------------------------------------------------------

template <class S>
constexpr void add_type(RotaryKernels& t, DType dtype) {
  t.turn[0][static_cast<int>(dtype)] = turn_halves<S>;
  t.turn[1][static_cast<int>(dtype)] = turn_pairs<S>;
}

constexpr RotaryKernels make_table() {
  RotaryKernels t{};
  add_type<float>(t, DType::float32);
  add_type<double>(t, DType::float64);
  add_type<bf16>(t, DType::bfloat16);
  add_type<f16>(t, DType::float16);
  return t;
}

}  // namespace

extern const RotaryKernels rotary_kernels;
constexpr RotaryKernels rotary_kernels = make_table();

}  // namespace mlext::MLEXT_LEVEL
