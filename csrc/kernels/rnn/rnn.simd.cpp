// The bodies: what a step does after its product, for vectors of neighbouring units.
#include "kernels/rnn/rnn.h"

#include "kernels/rnn/gates.h"
#include "simd/math.h"
#include "simd/parts.h"

namespace mlext::MLEXT_LEVEL {
namespace {

template <class V, class F>
MLEXT_INLINE void change(typename V::Scalar* p, index n, F f) {
  for (index i = 0; i < n; i += V::N) f(V::load(p + i), i).store(p + i);
}

// Function after function over whole tiles, not row by row: chains of operations that wait for each other, of which enough are
// under way only where nothing comes between them (64 units: 190 cycles a vector with all of a cell in one loop, 80 so).
template <Cell kCell, class T>
void step(const StepArgs<T>& args) {
  using V = Vec<T>;
  constexpr index kGates = kCell == Cell::lstm ? 4 : kCell == Cell::gru ? 3 : 1;
  const index n = args.rows * args.width;
  const auto slot = [&](index gate) { return args.sums + gate * n; };
  const auto rows = [&](auto f) {
    for (index row = 0; row < args.rows; ++row) {
      const index sum = row * args.width, state = row * args.state_row, one = args.place[row] * args.gate_step;
      each<V>(args.units, [&](index u, auto part) { f(sum + u, state + u, one + u, one * kGates + u, part); });
    }
  };
  for (index gate = 0; gate < (kCell == Cell::gru ? 2 : kGates); ++gate) {
    const T* x = args.x + gate * args.x_step;
    if (kCell == Cell::rnn_relu) {
      change<V>(slot(gate), n, [&](V v, index i) { return max_nan(v + V::load(x + i), V::zero()); });
    } else if (kCell == Cell::rnn_tanh || (kCell == Cell::lstm && gate == 3)) {
      change<V>(slot(gate), n, [&](V v, index i) { return gate_tanh(v + V::load(x + i)); });
    } else {
      change<V>(slot(gate), n, [&](V v, index i) { return gate_sigmoid(v + V::load(x + i)); });
    }
  }
  const auto save = [&](T* to, index at, V v, auto part) {
    if (to != nullptr) put(to + at, v, part);
  };
  if constexpr (kCell == Cell::lstm) {
    rows([&](index sum, index state, index one, index all, auto part) {
      const auto gate = [&](index i) { return V::load(slot(i) + sum); };
      const V before = get<V>(args.c + state, part), i = gate(0), f = gate(1), g = gate(3), c = fma(f, before, i * g);
      put(args.c + state, c, part);
      c.store(slot(3) + sum);
      save(args.extra, one, before, part);
      if (args.gates != nullptr) {
        const V of[] = {i, f, g, gate(2)};
        for (index k = 0; k < 4; ++k) put(args.gates + all + k * args.gate_step, of[k], part);
      }
    });
    change<V>(slot(3), n, [&](V c, index i) { return V::load(slot(2) + i) * gate_tanh(c); });
  } else if constexpr (kCell == Cell::gru) {
    T* x = args.x + 2 * args.x_step;
    change<V>(x, n, [&](V v, index i) { return gate_tanh(fma(V::load(slot(0) + i), V::load(slot(2) + i), v)); });
    rows([&](index sum, index state, index one, index all, auto part) {
      const V r = V::load(slot(0) + sum), z = V::load(slot(1) + sum), of_n = V::load(slot(2) + sum);
      const V c = V::load(x + sum), before = get<V>(args.h_before + state, part);
      fma(z, before - c, c).store(slot(0) + sum);
      save(args.extra, one, of_n, part);
      if (args.gates != nullptr) {
        const V of[] = {r, z, c};
        for (index k = 0; k < 3; ++k) put(args.gates + all + k * args.gate_step, of[k], part);
      }
    });
  }
  const T* made = slot(kCell == Cell::lstm ? 3 : 0);
  rows([&](index sum, index state, index one, index, auto part) {
    const V h = V::load(made + sum);
    save(args.before, one, get<V>(args.h_before + state, part), part);
    put(args.h + state, h, part);
    put(args.y + one, h, part);
  });
}

template <Cell kCell, class T>
void gradient(const StepGradientArgs<T>& args) {
  using V = Vec<T>;
  const V one(1);
  each<V>(args.units, [&](index u, auto part) {
    const auto gate = [&](index i) { return get<V>(args.gates + i * args.gate_step + u, part); };
    const auto leave = [&](index i, V x, V sum) {
      put(args.gx + i * args.gate_step + u, x, part);
      put(args.factor + i * args.gate_step + u, sum, part);
      if (args.gsums != nullptr) put(args.gsums + i * args.gate_step + u, sum, part);
    };
    V gh = get<V>(args.gh + u, part);
    if (args.gy != nullptr) gh += get<V>(args.gy + u, part);
    if constexpr (kCell == Cell::lstm) {
      const V i = gate(0), f = gate(1), g = gate(2), o = gate(3), before = get<V>(args.extra + u, part);
      const V squashed = tanh(fma(f, before, i * g));
      const V gc = fma(gh * o, one - squashed * squashed, get<V>(args.gc + u, part));
      const V of[] = {gc * g * i * (one - i), gc * before * f * (one - f), gc * i * (one - g * g),
                      gh * squashed * o * (one - o)};
      for (index k = 0; k < 4; ++k) leave(k, of[k], of[k]);
      put(args.gc + u, gc * f, part);
    } else if constexpr (kCell == Cell::gru) {
      const V r = gate(0), z = gate(1), n = gate(2), before = get<V>(args.before + u, part);
      const V gn = gh * (one - z) * (one - n * n), gz = gh * (before - n) * z * (one - z);
      const V gr = gn * get<V>(args.extra + u, part) * r * (one - r);
      leave(0, gr, gr);
      leave(1, gz, gz);
      leave(2, gn, gn * r);
      put(args.gh + u, gh * z, part);
    } else {
      const V y = get<V>(args.y + u, part);
      const V gx = kCell == Cell::rnn_tanh ? gh * (one - y * y) : select(y > V::zero(), gh, V::zero());
      leave(0, gx, gx);
    }
  });
}

template <class T>
constexpr RecurrentTypeKernels<T> make_type() {
  RecurrentTypeKernels<T> t{};
#define MLEXT_CELL(name)                                      \
  t.step[static_cast<int>(Cell::name)] = step<Cell::name, T>; \
  t.gradient[static_cast<int>(Cell::name)] = gradient<Cell::name, T>;
  MLEXT_CELL(rnn_tanh)
  MLEXT_CELL(rnn_relu)
  MLEXT_CELL(lstm)
  MLEXT_CELL(gru)
#undef MLEXT_CELL
  return t;
}

}  // namespace

extern const RecurrentKernels recurrent_kernels;
constexpr RecurrentKernels recurrent_kernels = {make_type<float>(), make_type<double>()};

}  // namespace mlext::MLEXT_LEVEL
