// What the way there and the way back share: which sequences go together, and on which threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "core/allocator.h"
#include "core/launch.h"
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

// Whether threads share the units of each step, not the sequences: with so few of these that a weight from L3, which each thread
// would read all of, takes longer than the products, or with fewer than threads. Of 2 threads, LSTM, against one: 512 units, 1
// sequence 2.5x (by sequences 1), 4 sequences 2.1x (1.2), 8 sequences 1.9x (1.3), 16 sequences 1.5x (2.0); 256 units, 1 sequence
// 1.4x (1), 4 sequences 1.4x (1.5). A step below kParallelFlops gains nothing: 128 units, 1 sequence 0.8x.
constexpr index kFewRows = 8;
inline bool by_units(const Layer& layer, index threads) {
  const index weights = layer.gates() * layer.units * layer.outputs;
  const bool far = layer.dtype == DType::float64 ? is_far<double>(weights) : is_far<float>(weights);
  const double step =
      static_cast<double>(weights) * (2.0 * static_cast<double>(layer.sequences) +
                                      gemm_detail::kFlopsPerByte * static_cast<double>(item_size(layer.dtype)));
  return threads > 1 && step >= gemm_detail::kParallelFlops && layer.sequences < threads * (far ? kFewRows : 1);
}

// Sequences that take not much longer than one.
constexpr index kFewSequences = 4;
// Whether each direction is the work of one thread, not one after the other that of all: half as many panels are read for twice the
// rows, and no thread waits for the longest sequences of another in between. More than two threads would have too little to do.
inline bool side_by_side(const Layer& layer) {
  return worth_dividing(layer) && num_threads() > 1 && (num_threads() == 2 || layer.sequences <= kFewSequences);
}

// Whether layers of a stack run at once, each some steps behind the one below: where there is too little in a step to be divided.
inline bool in_waves(const Layer& layer) {
  return num_threads() > 1 && worth_dividing(layer) && layer.sequences <= kFewSequences &&
         !by_units(layer, num_threads());
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

// How far a layer of a stack is, for the one above it.
class Progress {
 public:
  void reach(index steps) { steps_.store(steps, std::memory_order_release); }
  // Until so many steps are done; false: they never will be.
  bool wait_for(index steps) const {
    for (int i = 1; steps_.load(std::memory_order_acquire) < steps; ++i) {
      if (parallel_failed()) return false;
      cpu_relax();
      if (i % kPatience == 0) {
        poll_interrupt();
        std::this_thread::yield();
      }
    }
    return true;
  }

 private:
  static constexpr int kPatience = 4096;
  std::atomic<index> steps_{0};
};

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
  const bool units = by_units(run.layer, threads);
  const Way<T> way(gemm, kernels, run.layer, order, units ? threads : 1, run.memory);
  const Split chunks = chunks_of(run.layer, units ? 1 : threads);
  parallel_for(chunks.count, 1, [&](index begin, index end) {
    for (index chunk = begin; chunk < end; ++chunk) way.run(chunks.begin(chunk), chunks.size(chunk));
  });
}

template <template <class> class Way, class Memory>
void walk_all(const GemmKernels& gemm, const RecurrentKernels& kernels, const std::vector<Run<Memory>>& runs,
              bool at_once) {
  const auto one = [&](const Run<Memory>& run, index threads) {
    run.layer.dtype == DType::float64 ? walk_one<Way>(gemm.f64, kernels.f64, run, threads)
                                      : walk_one<Way>(gemm.f32, kernels.f32, run, threads);
  };
  const index count = static_cast<index>(runs.size());
  parallel_for(count, at_once ? 1 : count, [&](index begin, index end) {
    for (index i = begin; i < end; ++i) one(runs[static_cast<std::size_t>(i)], at_once ? 1 : num_threads());
  });
}

// A layer, or both of its directions, which need nothing of each other.
template <template <class> class Way, class Memory>
void walk(const GemmKernels& gemm, const RecurrentKernels& kernels, const std::vector<Run<Memory>>& runs) {
  walk_all<Way>(gemm, kernels, runs, runs.size() > 1 && side_by_side(runs[0].layer));
}

// Layers, each of which reads what the one before it makes. At once: the caller comes to all of them in their order (parallel.h), so
// that what one waits for is done, under way or the caller's next, whatever threads come.
template <template <class> class Way, class Memory>
void walk_stack(const GemmKernels& gemm, const RecurrentKernels& kernels, std::vector<Run<Memory>> runs) {
  const bool at_once = runs.size() > 1 && in_waves(runs.back().layer);
  std::vector<Progress> done(runs.size());
  for (std::size_t i = 0; at_once && i < runs.size(); ++i) {
    runs[i].memory.done = &done[i];
    if (i > 0) runs[i].memory.below = &done[i - 1];
  }
  walk_all<Way>(gemm, kernels, runs, at_once);
}

}  // namespace mlext::rnn_detail
