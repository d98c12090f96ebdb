// The thread pool. parallel_for(n, grain, f) calls f(begin, end) over [0, n) in chunks of `grain`.
//
// Chunks depend on n and grain alone, never on the number of threads: a kernel that writes each output in exactly one
// chunk gives the same bits for any thread count. Each thread has a share of neighbouring chunks, in their order, and helps
// with those of others, after its own those of the next one: a late worker costs nothing but its share. The caller works too, from
// the first chunk on; whatever it claims, all before it are done or under way, so that a chunk may wait for one before it.
// Nested calls, and calls while another thread owns the pool, run inline. After an error no chunk is begun.
#pragma once

#include <memory>
#include <type_traits>

#include "core/types.h"

namespace mlext {

int num_threads();
// 1 .. kMaxThreads; ValueError otherwise.
void set_num_threads(index threads);
inline constexpr int kMaxThreads = 1024;

// How many threads this process may use: affinity, cgroup quota, MLEXT_NUM_THREADS.
int default_num_threads();

// Inside f: whether there was an error, so that a chunk which waits for another may wait in vain.
bool parallel_failed();

namespace detail {
using RangeFn = void (*)(const void* context, index begin, index end);
void run_parallel(index n, index grain, RangeFn fn, const void* context);
}  // namespace detail

template <class F>
void parallel_for(index n, index grain, F&& f) {
  if (n <= 0) return;
  if (n <= grain) {
    f(index{0}, n);
    return;
  }
  using Body = std::remove_reference_t<F>;
  detail::run_parallel(
      n, grain, [](const void* body, index begin, index end) { (*static_cast<const Body*>(body))(begin, end); },
      std::addressof(f));
}

}  // namespace mlext
