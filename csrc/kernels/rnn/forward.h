// The way there: for each step the recurrent product, panel by panel, and what the cell makes of it.
#pragma once

#include <optional>

#include "kernels/rnn/walk.h"

namespace mlext::rnn_detail {

// Memory of a call.
struct Forward {
  Matrix input;  // the weight of x
  const void *x, *bias_ih, *bias_hh, *h_first, *c_first;
  index channels, x_sequence, x_step;
  void *y, *h, *c, *gates, *before, *extra;
  Progress* done = nullptr;         // of layers that run at once: this one
  const Progress* below = nullptr;  // and the one that makes x
};

// Rows of x that are multiplied at a time, those of several steps: enough for whole tiles, few enough for their sums to stay in
// L2, where a product of all steps writes gates to memory that the steps read back (64 sequences, 64 units: a fifth of the time).
constexpr index kBlockRows = 64;
// Steps that a layer of a stack is ahead of the next one.
constexpr index kWaveSteps = 8;

template <class T>
class ForwardWalk {
 public:
  ForwardWalk(const GemmTypeKernels<T>& gemm, const RecurrentTypeKernels<T>& kernels, const Layer& layer,
              const Order& order, index parts, const Forward& f)
      : kernels_(kernels),
        layer_(layer),
        order_(order),
        parts_(parts),
        f_(f),
        input_(Weight<T>{gemm, f.channels, layer.units, layer.gates(), 1, f.channels}.pack(
            f.input, kSlotInput, layer.steps == 1 && in_place(f.channels))),
        recurrent_(Weight<T>{gemm, layer.outputs, layer.units, layer.fed(), 1, layer.outputs}.pack(
            layer.weight, kSlotPanels, in_place(layer.outputs))) {
    const Matrix second = layer.second();
    if (second.data != nullptr)
      second_.emplace(Weight<T>{gemm, layer.units, layer.outputs, 1, 1, layer.units}.pack(
          second, kSlotSecond, layer.projects() && in_place(layer.units)));
  }

  // Sequences first to last of the order.
  void run(index first, index count) const {
    Chunk chunk(*this, first, count);
    for (index i = 0; i < count; ++i) {
      const index n = sequence(first + i);
      load_state(chunk.h + i * chunk.row, f_.h_first, n, layer_.outputs);
      if (layer_.cell == Cell::lstm) load_state(chunk.c + i * chunk.row, f_.c_first, n, layer_.units);
      if (order_.length[n] == 0) leave(chunk, i);
    }
    const index last = order_.length[sequence(first)];
    for (index s = 0; s < last; s += chunk.steps) {
      const index steps = std::min(chunk.steps, last - s);
      if (f_.below != nullptr && !f_.below->wait_for(s + steps)) return;
      block(chunk, s, steps);
      if (f_.done != nullptr) f_.done->reach(s + steps);
    }
    for (index i = 0; i < count; ++i) {
      const index n = sequence(first + i);
      const auto clear = [&](void* p, index elements) { clear_rest<T>(layer_, n, order_.length[n], elements, p); };
      clear(f_.y, layer_.outputs);
      clear(f_.before, layer_.outputs);
      clear(f_.extra, layer_.units);
      clear(f_.gates, layer_.gates() * layer_.units);
    }
  }

 private:
  // Sequences that walk together, and their workspace. `part`: elements of the sums of one part of a step.
  struct Chunk {
    index first, count, steps;  // of a block
    index active, row, wide, part, rows = 0;
    index* places;
    T *h, *next, *c, *mid, *factors, *inputs, *sums;  // mid: factors of the second product

    Chunk(const ForwardWalk& way, index begin, index sequences)
        : first(begin),
          count(sequences),
          steps(std::clamp<index>(kBlockRows / sequences, 1, way.f_.done != nullptr ? kWaveSteps : kBlockRows)),
          active(sequences),
          row(state_row(way.recurrent_.kernels, std::max(way.layer_.units, way.layer_.outputs))),
          wide(state_row(way.recurrent_.kernels, way.f_.channels)),
          part(way.layer_.gates() * count * way.recurrent_.width(0)) {
      const index gates = way.layer_.gates(), most = steps * count,
                  columns = way.recurrent_.column(way.recurrent_.panels.count);
      places = scratch<index>(kSlotPlaces, most);
      h = scratch<T>(kSlotState, 4 * count * row);
      next = h + count * row;
      c = next + count * row;
      mid = c + count * row;
      factors = scratch<T>(kSlotFactors, most * wide);
      inputs = scratch<T>(kSlotSums, gates * most * columns + std::max(way.parts_ * part, gates * columns));
      sums = inputs + gates * most * columns;
    }
    T* input(index panel_column, index gates) const { return inputs + gates * rows * panel_column; }
  };

  // Whether a weight of bytes, k deep, is read in place: widened it would leave L2, or be used too seldom.
  bool in_place(index k) const {
    return layer_.sequences == 1 && kernels_.byte_row[0][0] != nullptr &&
           (layer_.steps <= kFewSteps || is_far<T>(k * layer_.gates() * layer_.units));
  }

  // Where a gate is in x and in sums: i f o g, so that those of one function lie together.
  index slot(index gate) const { return layer_.cell == Cell::lstm && gate >= 2 ? 5 - gate : gate; }
  index sequence(index i) const { return order_.sequence[i]; }
  index still(const Chunk& chunk, index s) const {
    index active = chunk.active;
    while (active > 0 && order_.length[sequence(chunk.first + active - 1)] <= s) --active;
    return active;
  }

  // Steps from s on: x times its weight for all of them, then one after the other.
  void block(Chunk& chunk, index s, index steps) const {
    gather(chunk, s, steps);
    const auto to = [&](index panel, index gate) {
      return chunk.input(input_.column(panel), layer_.gates()) + slot(gate) * chunk.rows * input_.width(panel);
    };
    input_.divide(parts_, [&](Range some, index) {
      if (alone(kernels_, chunk.rows))
        return input_.multiply_row(kernels_, some, f_.bias_ih, false, chunk.factors, to, false);
      for (index i = 0; i < some.count * layer_.gates(); ++i) {
        const index panel = some.first + i / layer_.gates(), gate = i % layer_.gates();
        input_.multiply(panel, gate, f_.bias_ih, false, {chunk.factors, chunk.wide},
                        {to(panel, gate), input_.width(panel)}, chunk.rows, false);
      }
    });
    for (index at = 0, done = 0; at < steps; ++at) {
      poll_interrupt();
      chunk.active = still(chunk, s + at);
      step(chunk, done, (s + at) % 2 != 0);
      for (index i = 0; i < chunk.active; ++i) {
        if (order_.length[sequence(chunk.first + i)] == s + at + 1) leave(chunk, i);
      }
      done += chunk.active;
    }
  }

  // One step, whose rows of x are those from `done` on.
  void step(Chunk& chunk, index done, bool back) const {
    const bool row = alone(kernels_, chunk.active);
    recurrent_.divide(parts_, [&](Range some, index part) {
      if (row) multiply_row(chunk, some, back);
      for (index i = 0; i < some.count; ++i) {
        const index panel = some.at(i, back);
        T* sums = row ? sums_of_row(chunk, panel) : chunk.sums + part * chunk.part;
        if (!row) multiply(chunk, panel, sums, back);
        kernels_.step[static_cast<int>(layer_.cell)](arguments(chunk, recurrent_, panel, sums, done));
      }
    });
    if (layer_.projects()) project(chunk, done, back);
    if (layer_.cell == Cell::gru_before) reset(chunk, done, back);
    std::swap(chunk.h, chunk.next);
  }

  // The recurrent product of a panel, its gates one after the other; sums of the next panel replace these.
  void multiply(const Chunk& chunk, index panel, T* sums, bool back) const {
    const index width = recurrent_.width(panel);
    for (index i = 0; i < layer_.fed(); ++i) {
      const index gate = turned(i, layer_.fed(), back);
      recurrent_.multiply(panel, gate, f_.bias_hh, false, {chunk.h, chunk.row},
                          {sums + slot(gate) * chunk.active * width, width}, chunk.active, back);
    }
  }
  // That of one row, all panels at once, each with sums of its own.
  T* sums_of_row(const Chunk& chunk, index panel) const { return chunk.sums + layer_.fed() * recurrent_.column(panel); }
  void multiply_row(const Chunk& chunk, Range some, bool back) const {
    const auto sums = [&](index panel, index gate) {
      return sums_of_row(chunk, panel) + slot(gate) * recurrent_.width(panel);
    };
    recurrent_.multiply_row(kernels_, some, f_.bias_hh, false, chunk.h, sums, back);
  }

  // Rows of x in the order in which steps need them, and their places.
  void gather(Chunk& chunk, index s, index steps) const {
    chunk.rows = 0;
    for (index at = 0; at < steps; ++at) {
      const index active = still(chunk, s + at);
      for (index i = 0; i < active; ++i, ++chunk.rows) {
        const index n = sequence(chunk.first + i), t = layer_.step(order_.length[n], s + at);
        chunk.places[chunk.rows] = layer_.place(n, t, 1);
        std::copy_n(static_cast<const T*>(f_.x) + n * f_.x_sequence + t * f_.x_step, f_.channels,
                    chunk.factors + chunk.rows * chunk.wide);
      }
    }
  }

  // h, of what the cell left in its place.
  void project(const Chunk& chunk, index done, bool back) const {
    second_->multiply_all(kernels_, parts_, false, {chunk.mid, chunk.row}, {chunk.next, chunk.row}, chunk.active, back);
    for (index i = 0; i < chunk.active; ++i) {
      const index to = chunk.places[done + i] * layer_.outputs;
      std::copy_n(chunk.next + i * chunk.row, layer_.outputs, static_cast<T*>(f_.y) + to);
      if (f_.before != nullptr) std::copy_n(chunk.h + i * chunk.row, layer_.outputs, static_cast<T*>(f_.before) + to);
    }
  }

  // The gate that waits for r h, and what follows it.
  void reset(const Chunk& chunk, index done, bool back) const {
    const void* bias = f_.bias_hh != nullptr ? static_cast<const T*>(f_.bias_hh) + 2 * layer_.units : nullptr;
    second_->divide(parts_, [&](Range some, index part) {
      T* sums = chunk.sums + part * chunk.part;
      for (index i = 0; i < some.count; ++i) {
        const index panel = some.at(i, back);
        second_->multiply(panel, 0, bias, false, {chunk.mid, chunk.row}, {sums, second_->width(panel)}, chunk.active,
                          back);
        kernels_.reset_step(arguments(chunk, *second_, panel, sums, done));
      }
    });
  }

  StepArgs<T> arguments(const Chunk& chunk, const Weight<T>& weight, index panel, T* sums, index done) const {
    const index u = weight.column(panel), width = weight.width(panel);
    const auto at = [u](void* p) { return p != nullptr ? static_cast<T*>(p) + u : nullptr; };
    StepArgs<T> args{};
    args.rows = chunk.active;
    args.units = weight.cols(panel);
    args.width = width;
    args.place = chunk.places + done;
    args.gate_step = layer_.units;
    args.x = chunk.input(u, layer_.gates()) + done * width;
    args.x_step = chunk.rows * width;
    args.sums = sums;
    args.state_row = chunk.row;
    args.h_before = chunk.h + u;
    args.h = (layer_.projects() ? chunk.mid : chunk.next) + u;
    args.c = chunk.c + u;
    args.reset = chunk.mid + u;
    args.y = layer_.projects() ? nullptr : at(f_.y);
    args.gates = at(f_.gates);
    args.before = layer_.projects() ? nullptr : at(f_.before);
    args.extra = at(f_.extra);
    args.peepholes = static_cast<const T*>(layer_.peepholes);
    if (args.peepholes != nullptr) args.peepholes += u;
    return args;
  }

  void leave(const Chunk& chunk, index i) const {
    const index n = sequence(chunk.first + i);
    std::copy_n(chunk.h + i * chunk.row, layer_.outputs, static_cast<T*>(f_.h) + n * layer_.outputs);
    if (f_.c != nullptr) std::copy_n(chunk.c + i * chunk.row, layer_.units, static_cast<T*>(f_.c) + n * layer_.units);
  }

  const RecurrentTypeKernels<T>& kernels_;
  const Layer& layer_;
  const Order& order_;
  const index parts_;  // of a step, each the work of one thread
  const Forward& f_;
  const Weight<T> input_, recurrent_;
  std::optional<Weight<T>> second_;  // of the projection, or of r h
};

}  // namespace mlext::rnn_detail
