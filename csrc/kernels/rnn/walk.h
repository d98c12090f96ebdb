// What the way there and the way back share: which sequences go together, and on which threads.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>

#include "core/parallel.h"
#include "core/scratch.h"
#include "kernels/rnn/layer.h"
#include "kernels/rnn/weight.h"

namespace mlext::rnn_detail {

// A layer and one direction, as a closure holds it. Null where there is none.
struct Layer {
  Device device;
  DType dtype;  // computed in: float32 or float64
  Cell cell;
  bool reverse;
  index sequences, steps, units, outputs;  // of y and h: those of a projection, or the units
  Matrix weight, projection;               // the recurrent one; null without one
  const void* peepholes;
  const std::int64_t* lengths;

  index gates() const { return gates_of(cell); }
  // Those that a product with h feeds; the third of gru_before waits for one with r h.
  index fed() const { return cell == Cell::gru_before ? 2 : gates(); }
  bool projects() const { return projection.data != nullptr; }
  // Of the second product of a step: that of a projection, or that third gate's part of the recurrent one; no data: none.
  Matrix second() const {
    if (cell != Cell::gru_before) return projection;
    return {gemm_detail::at(weight.data, weight.dtype, 2 * units * units), weight.home, weight.dtype,
            weight.scale != nullptr ? weight.scale + 2 * units : nullptr};
  }
  // Elements up to step t of sequence n, in rows of so many.
  index place(index n, index t, index row) const { return (t * sequences + n) * row; }
  // Where a sequence is at a step of the walk.
  index step(index length, index s) const { return reverse ? length - 1 - s : s; }
  double flops() const {
    return 2.0 * static_cast<double>(sequences * steps) *
           static_cast<double>(gates() * units * outputs + (projects() ? units * outputs : 0));
  }
};

// Sequences, the longest first: those that go on at a step are the first ones.
struct Order {
  index* sequence;
  index* length;  // by sequence

  Order(const Layer& layer) {
    sequence = scratch<index>(kSlotOrder, 2 * layer.sequences);
    length = sequence + layer.sequences;
    for (index n = 0; n < layer.sequences; ++n) {
      length[n] = layer.lengths != nullptr ? std::clamp<index>(layer.lengths[n], 0, layer.steps) : layer.steps;
    }
    std::iota(sequence, length, index{0});
    if (layer.lengths != nullptr) {
      std::stable_sort(sequence, length, [this](index a, index b) { return length[a] > length[b]; });
    }
  }
};

// Sequences that walk together, on one thread.
constexpr index kTogether = 96;
inline bool worth_dividing(const Layer& layer) { return layer.flops() >= gemm_detail::kParallelFlops; }
inline Split chunks_of(const Layer& layer, index threads) {
  if (!worth_dividing(layer)) threads = 1;
  return Split::of(layer.sequences, std::min(kTogether, ceil_div(layer.sequences, threads)));
}

// Sequences that take not much longer than one.
constexpr index kFewSequences = 4;
// Whether each direction is the work of one thread, not one after the other that of all: half as many panels are read for twice the
// rows, and no thread waits for the longest sequences of another in between. More than two threads would have too little to do.
inline bool side_by_side(const Layer& layer) {
  return worth_dividing(layer) && num_threads() > 1 && (num_threads() == 2 || layer.sequences <= kFewSequences);
}

// Rows of a state, and how far they lie apart: not at a round distance.
template <class T>
index state_row(const GemmTypeKernels<T>& kernels, index units) {
  return ceil_div(units, kernels.lanes) * kernels.lanes + kernels.lanes;
}
template <class T>
void load_state(T* to, const void* from, index n, index units) {
  if (from == nullptr) {
    std::fill_n(to, units, T(0));
  } else {
    std::copy_n(static_cast<const T*>(from) + n * units, units, to);
  }
}

// 0 in all steps of a sequence from one on: products over all steps meet them.
template <class T>
void clear_rest(const Layer& layer, index n, index from, index row, void* to) {
  for (index t = from; to != nullptr && t < layer.steps; ++t)
    std::fill_n(static_cast<T*>(to) + layer.place(n, t, row), row, T(0));
}

// A layer, and the memory of one way through it.
template <class Memory>
struct Run {
  Layer layer;
  Memory memory;
};

// All sequences, chunk by chunk.
template <template <class> class Way, class T, class Memory>
void walk_one(const GemmTypeKernels<T>& gemm, const RecurrentTypeKernels<T>& kernels, const Run<Memory>& run,
              index threads) {
  const Order order(run.layer);
  const Way<T> way(gemm, kernels, run.layer, order, run.memory);
  const Split chunks = chunks_of(run.layer, threads);
  parallel_for(chunks.count, 1, [&](index begin, index end) {
    for (index chunk = begin; chunk < end; ++chunk) way.run(chunks.begin(chunk), chunks.size(chunk));
  });
}

// A layer, or both of its directions, which need nothing of each other.
template <template <class> class Way, class Memory, std::size_t N>
void walk(const GemmKernels& gemm, const RecurrentKernels& kernels, const std::array<Run<Memory>, N>& runs) {
  const auto one = [&](const Run<Memory>& run, index threads) {
    run.layer.dtype == DType::float64 ? walk_one<Way>(gemm.f64, kernels.f64, run, threads)
                                      : walk_one<Way>(gemm.f32, kernels.f32, run, threads);
  };
  if (N > 1 && side_by_side(runs[0].layer)) {
    parallel_for(N, 1, [&](index begin, index end) {
      for (index i = begin; i < end; ++i) one(runs[static_cast<std::size_t>(i)], 1);
    });
  } else {
    for (const Run<Memory>& run : runs) one(run, num_threads());
  }
}

}  // namespace mlext::rnn_detail
