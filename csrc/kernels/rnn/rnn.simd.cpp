// The bodies: what a step does after its product, for vectors of neighbouring units.
#include "kernels/rnn/rnn.h"

#include "simd/math.h"
#include "simd/parts.h"

namespace mlext::MLEXT_LEVEL {
namespace {

template <Cell kCell, class T>
void step(const StepArgs<T>& args) {
  using V = Vec<T>;
  each<V>(args.units, [&](index u, auto part) {
    const auto gate = [&](index i) {
      return get<V>(args.x + i * args.gate_step + u, part) + get<V>(args.sums + i * args.sum_step + u, part);
    };
    const auto save = [&](index i, V v) {
      if (args.gates != nullptr) put(args.gates + i * args.gate_step + u, v, part);
    };
    V h;
    if constexpr (kCell == Cell::lstm) {
      const V before = get<V>(args.c_before + u, part);
      const V i = sigmoid(gate(0)), f = sigmoid(gate(1)), g = tanh(gate(2)), o = sigmoid(gate(3));
      const V c = fma(f, before, i * g);
      h = o * tanh(c);
      put(args.c + u, c, part);
      save(0, i), save(1, f), save(2, g), save(3, o);
      if (args.extra != nullptr) put(args.extra + u, before, part);
    } else if constexpr (kCell == Cell::gru) {
      const V before = get<V>(args.h_before + u, part), sum = get<V>(args.sums + 2 * args.sum_step + u, part);
      const V r = sigmoid(gate(0)), z = sigmoid(gate(1));
      const V n = tanh(fma(r, sum, get<V>(args.x + 2 * args.gate_step + u, part)));
      h = fma(z, before - n, n);
      save(0, r), save(1, z), save(2, n);
      if (args.extra != nullptr) put(args.extra + u, sum, part);
    } else {
      h = kCell == Cell::rnn_tanh ? tanh(gate(0)) : max_nan(gate(0), V::zero());
    }
    if (args.before != nullptr) put(args.before + u, get<V>(args.h_before + u, part), part);
    put(args.h + u, h, part);
    put(args.y + u, h, part);
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
