// The one seam through which every kernel runs: launch(name, work, {inputs}, {outputs}, closure).
//
// It runs the closure. Because it is the only door, four things hang on it and nowhere else:
//   capture     closures are kept with the buffers they touch and can be replayed in one call (Program)
//   profile     name, time, FLOPs and bytes of every launch
//   NaN check   floating outputs are scanned and the kernel that made the first NaN is named
//   interrupts  Ctrl-C is noticed inside long kernels (poll_interrupt) and between launches of a replay
// The closure holds everything it needs by value: raw pointers and sizes. Whatever changes from step to step (learning
// rate, step count, random state) is memory that a closure reads, never a captured number.
#pragma once

#include <atomic>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/array.h"

namespace mlext {

struct Work {
  double flops = 0;
  double bytes = 0;
};

// A view of a list of arrays; null entries (absent optional arguments) are allowed.
class ArrayList {
 public:
#if defined(__GNUC__) && !defined(__clang__)
  // As a parameter this views a list that lives until the end of the call.
#pragma GCC diagnostic ignored "-Winit-list-lifetime"
#endif
  ArrayList(std::initializer_list<const Array*> list) : first_(list.begin()), count_(list.size()) {}
  ArrayList(const std::vector<const Array*>& list) : first_(list.data()), count_(list.size()) {}
  const Array* const* begin() const { return first_; }
  const Array* const* end() const { return first_ + count_; }

 private:
  const Array* const* first_;
  std::size_t count_;
};

// What the host language offers. All three may be null (no host).
struct HostHooks {
  void* (*release)() = nullptr;  // let other host threads run; the token goes to acquire
  void (*acquire)(void*) = nullptr;
  bool (*interrupted)() = nullptr;  // called without the lock held; true: an exception is pending
};
void set_host_hooks(const HostHooks& hooks);

// Throws Interrupted when the host has a pending Ctrl-C; checks at most every 20 ms and only inside a long launch.
void poll_interrupt();

// One recorded launch.
struct Step {
  const char* name;
  Work work;
  std::function<void()> run;
  std::vector<Array> outputs;
  std::vector<Buffer*> written;  // memory from outside the capture, which the Program keeps

  // Counts the writes at the end of its scope, also those of a launch that throws.
  struct Writes {
    const Step& step;
    ~Writes() {
      for (Buffer* buffer : step.written) buffer->version.fetch_add(1, std::memory_order_relaxed);
    }
  };
};

// What one captured call does, with the memory it does it in.
class Program {
 public:
  Program() : pool_(Pool::create()) {}
  ~Program() { pool_->release(); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void replay();
  // Keeps `step` and holds on to outside memory; RuntimeError if it touches memory borrowed from NumPy.
  void add(Step step, ArrayList inputs, ArrayList outputs);
  Pool* pool() const { return pool_; }
  const std::vector<Step>& steps() const { return steps_; }

 private:
  Pool* pool_;
  std::vector<Step> steps_;
  std::vector<BufferRef> kept_;  // buffers from outside the capture
  double work_ = 0;
};

// Capture on this thread. `begin` throws RuntimeError if one is in progress.
void begin_capture(Program* program);
void end_capture();
Program* capturing();
// Throws while capturing: a value that Python reads cannot be replayed.
void refuse_read_while_capturing(const char* what);

struct Event {
  const char* name;
  double start, seconds;  // since the profile began
  Work work;
};
void begin_profile();
std::vector<Event> end_profile();
void set_nan_check(bool on);
bool nan_check();

namespace detail {
inline std::atomic<int> g_watchers{0};  // profile + NaN check
inline thread_local Program* t_program = nullptr;

void launch_watched(const char* name, Work work, ArrayList inputs, ArrayList outputs, std::function<void()> run);
void run_released(const std::function<void()>& run);
// Above this, about 20 us of work, letting other host threads run is worth what the lock costs.
inline bool is_long(Work work) { return work.flops + 4 * work.bytes > 1e6; }
}  // namespace detail

template <class F>
void launch(const char* name, Work work, ArrayList inputs, ArrayList outputs, F&& run) try {
  if (detail::t_program != nullptr || detail::g_watchers.load(std::memory_order_relaxed) != 0) [[unlikely]] {
    detail::launch_watched(name, work, inputs, outputs, std::function<void()>(run));
  } else if (detail::is_long(work)) {
    detail::run_released(std::ref(run));
  } else {
    run();
  }
} catch (...) {  // a write that the caller does not come to count
  for (const Array* out : outputs) {
    if (out != nullptr) out->written();
  }
  throw;
}

}  // namespace mlext
