// The bodies: what a step does after its product, for vectors of neighbouring units.
#include "kernels/rnn/rnn.h"

#include "kernels/rnn/gates.h"
#include "kernels/rnn/rows.h"
#include "simd/math.h"
#include "simd/parts.h"

namespace mlext::MLEXT_LEVEL {
namespace {

template <class V, class F>
MLEXT_INLINE void change(typename V::Scalar* p, index n, F f) {
  for (index i = 0; i < n; i += V::N) f(V::load(p + i), i).store(p + i);
}

// A vector of units: the first one, and where they are in sums, in states, in y and in gates.
struct Place {
  index unit, sum, state, one, all;
};

// A panel of all gates at a step. Function after function over the whole of it, not row by row: chains of operations that wait
// for each other, of which enough are under way only where nothing comes between them (64 units: 190 cycles a vector with all of
// a cell in one loop, 80 so).
template <Cell kCell, class T>
class Tile {
 public:
  using V = Vec<T>;
  explicit Tile(const StepArgs<T>& args) : args_(args), size_(args.rows * args.width) {}

  T* sums(index gate) const { return args_.sums + gate * size_; }
  T* x(index gate) const { return args_.x + gate * args_.x_step; }

  MLEXT_INLINE void to_sigmoid(index gate) const {
    change<V>(sums(gate), size_, [&](V v, index i) { return gate_sigmoid(v + V::load(x(gate) + i)); });
  }
  MLEXT_INLINE void to_tanh(index gate, index of_x) const {
    change<V>(sums(gate), size_, [&](V v, index i) { return gate_tanh(v + V::load(x(of_x) + i)); });
  }
  MLEXT_INLINE void to_relu(index gate) const {
    change<V>(sums(gate), size_, [&](V v, index i) { return max_nan(v + V::load(x(gate) + i), V::zero()); });
  }
  template <class F>
  MLEXT_INLINE void all(T* p, F f) const {
    change<V>(p, size_, f);
  }
  // f(place, part) for all units, row after row.
  template <class F>
  MLEXT_INLINE void each_unit(F f) const {
    for (index row = 0; row < args_.rows; ++row) {
      const index sum = row * args_.width, state = row * args_.state_row, one = args_.place[row] * args_.gate_step;
      each<V>(args_.units, [&](index u, auto part) {
        f(Place{u, sum + u, state + u, one + u, one * kGatesOf[static_cast<int>(kCell)] + u}, part);
      });
    }
  }
  // If gates are to be saved.
  template <class Part>
  MLEXT_INLINE void save(const Place& at, index gate, V v, Part part) const {
    if (args_.gates != nullptr) put(args_.gates + at.all + gate * args_.gate_step, v, part);
  }
  // h and y, from where they were made.
  MLEXT_INLINE void leave(const T* made) const {
    each_unit([&](const Place& at, auto part) {
      const V h = V::load(made + at.sum);
      if (args_.before != nullptr) put(args_.before + at.one, get<V>(args_.h_before + at.state, part), part);
      if (args_.y != nullptr) put(args_.y + at.one, h, part);
      put(args_.h + at.state, h, part);
    });
  }

 private:
  const StepArgs<T>& args_;
  index size_;
};

// A gate sees c through its peephole.
template <class T>
MLEXT_INLINE void peep(const StepArgs<T>& args, const Tile<Cell::lstm, T>& tile, index gate) {
  if (args.peepholes == nullptr) return;
  tile.each_unit([&](const Place& at, auto part) {
    using V = Vec<T>;
    T* sum = tile.sums(gate) + at.sum;
    const V p = get<V>(args.peepholes + gate * args.gate_step + at.unit, part);
    fma(p, get<V>(args.c + at.state, part), V::load(sum)).store(sum);
  });
}

template <class T>
void lstm_step(const StepArgs<T>& args) {
  using V = Vec<T>;
  const Tile<Cell::lstm, T> tile(args);
  T *i = tile.sums(0), *f = tile.sums(1), *o = tile.sums(2), *g = tile.sums(3);
  peep(args, tile, 0), peep(args, tile, 1);
  tile.to_sigmoid(0), tile.to_sigmoid(1), tile.to_tanh(3, 3);
  tile.each_unit([&](const Place& at, auto part) {
    const V before = get<V>(args.c + at.state, part);
    const V of_i = V::load(i + at.sum), of_f = V::load(f + at.sum), of_g = V::load(g + at.sum);
    const V c = fma(of_f, before, of_i * of_g);
    put(args.c + at.state, c, part);
    c.store(g + at.sum);
    tile.save(at, 0, of_i, part), tile.save(at, 1, of_f, part), tile.save(at, 2, of_g, part);
    if (args.extra != nullptr) put(args.extra + at.one, before, part);
  });
  peep(args, tile, 2);
  tile.to_sigmoid(2);
  if (args.gates != nullptr) {
    tile.each_unit([&](const Place& at, auto part) { tile.save(at, 3, V::load(o + at.sum), part); });
  }
  tile.all(g, [&](V c, index at) { return V::load(o + at) * gate_tanh(c); });
  tile.leave(g);
}

template <class T>
void gru_step(const StepArgs<T>& args) {
  using V = Vec<T>;
  const Tile<Cell::gru, T> tile(args);
  T *r = tile.sums(0), *z = tile.sums(1), *sums = tile.sums(2), *n = tile.x(2);
  tile.to_sigmoid(0), tile.to_sigmoid(1);
  tile.all(n, [&](V x, index i) { return gate_tanh(fma(V::load(r + i), V::load(sums + i), x)); });
  tile.each_unit([&](const Place& at, auto part) {
    const V of_r = V::load(r + at.sum), of_z = V::load(z + at.sum), of_n = V::load(n + at.sum);
    fma(of_z, get<V>(args.h_before + at.state, part) - of_n, of_n).store(r + at.sum);
    tile.save(at, 0, of_r, part), tile.save(at, 1, of_z, part), tile.save(at, 2, of_n, part);
    if (args.extra != nullptr) put(args.extra + at.one, V::load(sums + at.sum), part);
  });
  tile.leave(r);
}

// Up to r h, of which the next product is.
template <class T>
void gru_before_step(const StepArgs<T>& args) {
  using V = Vec<T>;
  const Tile<Cell::gru_before, T> tile(args);
  tile.to_sigmoid(0), tile.to_sigmoid(1);
  tile.each_unit([&](const Place& at, auto part) {
    const V r = V::load(tile.sums(0) + at.sum), z = V::load(tile.sums(1) + at.sum);
    put(args.reset + at.state, r * get<V>(args.h_before + at.state, part), part);
    put(args.c + at.state, z, part);
    tile.save(at, 0, r, part), tile.save(at, 1, z, part);
  });
}
template <class T>
void reset_step(const StepArgs<T>& args) {
  using V = Vec<T>;
  const Tile<Cell::gru_before, T> tile(args);
  T* n = tile.sums(0);
  tile.to_tanh(0, 2);
  tile.each_unit([&](const Place& at, auto part) {
    const V of_n = V::load(n + at.sum), z = get<V>(args.c + at.state, part);
    fma(z, get<V>(args.h_before + at.state, part) - of_n, of_n).store(n + at.sum);
    tile.save(at, 2, of_n, part);
    if (args.extra != nullptr) put(args.extra + at.one, get<V>(args.reset + at.state, part), part);
  });
  tile.leave(n);
}

template <Cell kCell, class T>
void step(const StepArgs<T>& args) {
  if constexpr (kCell == Cell::lstm) {
    lstm_step(args);
  } else if constexpr (kCell == Cell::gru) {
    gru_step(args);
  } else if constexpr (kCell == Cell::gru_before) {
    gru_before_step(args);
  } else {
    const Tile<kCell, T> tile(args);
    kCell == Cell::rnn_tanh ? tile.to_tanh(0, 0) : tile.to_relu(0);
    tile.leave(tile.sums(0));
  }
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
      const auto peephole = [&](index k) { return get<V>(args.peepholes + k * args.gate_step + u, part); };
      const V i = gate(0), f = gate(1), g = gate(2), o = gate(3), before = get<V>(args.extra + u, part);
      const V squashed = gate_tanh(fma(f, before, i * g)), go = gh * squashed * o * (one - o);
      V gc = fma(gh * o, one - squashed * squashed, get<V>(args.gc + u, part));
      if (args.peepholes != nullptr) gc = fma(go, peephole(2), gc);
      const V gi = gc * g * i * (one - i), gf = gc * before * f * (one - f),
              of[] = {gi, gf, gc * i * (one - g * g), go};
      for (index k = 0; k < 4; ++k) leave(k, of[k], of[k]);
      gc = gc * f;
      if (args.peepholes != nullptr) gc = fma(gi, peephole(0), fma(gf, peephole(1), gc));
      put(args.gc + u, gc, part);
    } else if constexpr (kCell == Cell::gru || kCell == Cell::gru_before) {
      const V z = gate(1), n = gate(2), before = get<V>(args.before + u, part);
      const V gn = gh * (one - z) * (one - n * n), gz = gh * (before - n) * z * (one - z);
      V of_sum = gn;
      if constexpr (kCell == Cell::gru) {
        const V r = gate(0), gr = gn * get<V>(args.extra + u, part) * r * (one - r);
        leave(0, gr, gr);
        of_sum = gn * r;
      }
      leave(1, gz, gz);
      leave(2, gn, of_sum);
      put(args.gh + u, gh * z, part);
    } else {
      const V y = get<V>(args.y + u, part);
      const V gx = kCell == Cell::rnn_tanh ? gh * (one - y * y) : select(y > V::zero(), gh, V::zero());
      leave(0, gx, gx);
    }
  });
}

template <class T>
void reset_gradient(const StepGradientArgs<T>& args) {
  using V = Vec<T>;
  each<V>(args.units, [&](index u, auto part) {
    const V r = get<V>(args.gates + u, part), g = get<V>(args.greset + u, part);
    const V gr = g * get<V>(args.before + u, part) * r * (V(1) - r);
    put(args.gx + u, gr, part);
    put(args.factor + u, gr, part);
    put(args.gh + u, fma(g, r, get<V>(args.gh + u, part)), part);
  });
}

template <class T>
constexpr RecurrentTypeKernels<T> make_type() {
  RecurrentTypeKernels<T> t{};
#if defined(__AVX512F__)
  add_all_rows<T, T>(t.row);
  if constexpr (sizeof(T) == sizeof(float)) add_all_rows<T, std::int8_t>(t.byte_row);
#endif
#define MLEXT_CELL(name)                                      \
  t.step[static_cast<int>(Cell::name)] = step<Cell::name, T>; \
  t.gradient[static_cast<int>(Cell::name)] = gradient<Cell::name, T>;
  MLEXT_CELL(rnn_tanh)
  MLEXT_CELL(rnn_relu)
  MLEXT_CELL(lstm)
  MLEXT_CELL(gru)
  MLEXT_CELL(gru_before)
#undef MLEXT_CELL
  t.reset_step = reset_step<T>;
  t.reset_gradient = reset_gradient<T>;
  return t;
}

}  // namespace

extern const RecurrentKernels recurrent_kernels;
constexpr RecurrentKernels recurrent_kernels = {make_type<float>(), make_type<double>()};

}  // namespace mlext::MLEXT_LEVEL
