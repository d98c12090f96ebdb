#include "core/launch.h"

#include <chrono>
#include <cmath>
#include <mutex>

#include "core/half.h"

namespace mlext {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPollInterval = std::chrono::milliseconds(20);

HostHooks g_hooks;

// Set while this thread runs a long launch with the host lock released.
thread_local bool t_released = false;
thread_local Clock::time_point t_next_poll;

std::mutex g_profile_lock;
std::vector<Event> g_events;
Clock::time_point g_profile_start;
std::atomic<bool> g_profiling{false};
std::atomic<bool> g_nan_check{false};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

template <class T>
bool has_nan(const T* data, index n) {
  for (index i = 0; i < n; ++i) {
    if constexpr (sizeof(T) == 2) {
      if (std::isnan(to_float(data[i]))) return true;
    } else if (std::isnan(data[i])) {
      return true;
    }
  }
  return false;
}

void check_output(const char* name, const Array& out) {
  if (!is_floating(out.dtype) || !out.is_dense()) return;
  const bool bad = visit_dtype(out.dtype, [&]<class T>(Type<T>) {
    if constexpr (std::is_floating_point_v<T> || std::is_same_v<T, bf16> || std::is_same_v<T, f16>) {
      return has_nan(out.ptr<T>(), out.size());
    } else {
      return false;
    }
  });
  if (bad) throw FloatingPointError(text(name, ": produced NaN in an output of ", out));
}

// Runs one launch under whatever watches: a profile, the NaN check, or neither.
void run_watched(const char* name, Work work, ArrayList outputs, const std::function<void()>& run) {
  const auto start = Clock::now();
  if (detail::is_long(work)) {
    detail::run_released(run);
  } else {
    run();
  }
  if (g_profiling.load(std::memory_order_relaxed)) {
    const double seconds = seconds_since(start);
    std::lock_guard guard(g_profile_lock);
    g_events.push_back({name, std::chrono::duration<double>(start - g_profile_start).count(), seconds, work});
  }
  if (g_nan_check.load(std::memory_order_relaxed)) {
    for (const Array* out : outputs) {
      if (out != nullptr) check_output(name, *out);
    }
  }
}

}  // namespace

void set_host_hooks(const HostHooks& hooks) { g_hooks = hooks; }

void poll_interrupt() {
  if (!t_released || g_hooks.interrupted == nullptr) return;
  const auto now = Clock::now();
  if (now < t_next_poll) return;
  t_next_poll = now + kPollInterval;
  if (g_hooks.interrupted()) throw Interrupted();
}

void detail::run_released(const std::function<void()>& run) {
  if (t_released || g_hooks.release == nullptr) {
    run();
    return;
  }
  struct Release {
    void* token = g_hooks.release();
    Release() {
      t_released = true;
      t_next_poll = Clock::now() + kPollInterval;
    }
    ~Release() {
      t_released = false;
      g_hooks.acquire(token);
    }
  } release;
  run();
}

void detail::launch_watched(const char* name, Work work, ArrayList inputs, ArrayList outputs,
                            std::function<void()> run) {
  if (t_program != nullptr) {
    Step step{name, work, run, {}, {}};
    for (const Array* out : outputs) {
      if (out != nullptr) step.outputs.push_back(*out);
    }
    // Recorded first: a launch that cannot be replayed must not run either.
    t_program->add(std::move(step), inputs, outputs);
  }
  run_watched(name, work, outputs, run);
}

void Program::add(Step step, ArrayList inputs, ArrayList outputs) {
  for (ArrayList list : {inputs, outputs}) {
    for (const Array* array : list) {
      if (array == nullptr) continue;
      if (!array->buffer) {
        throw RuntimeError(text("compile: a NumPy array (", *array,
                                ") that is not an argument of the compiled function reached ", step.name,
                                "; pass it as an argument, or make it a Tensor once outside with mlext.tensor()"));
      }
      if (array->buffer->pool != pool_) kept_.push_back(array->buffer);
    }
  }
  for (const Array* out : outputs) {
    if (out != nullptr && out->buffer->pool != pool_) step.written.push_back(out->buffer.get());
  }
  // Outputs inside the private pool must not keep their memory from being reused by later launches of the capture.
  for (Array& out : step.outputs) out.buffer = BufferRef();
  work_ += step.work.flops + 4 * step.work.bytes;
  steps_.push_back(std::move(step));
}

void Program::replay() {
  auto run_all = [this] {
    if (detail::g_watchers.load(std::memory_order_relaxed) == 0) {
      for (const Step& step : steps_) {
        const Step::Writes writes{step};
        step.run();
        poll_interrupt();
      }
      return;
    }
    for (const Step& step : steps_) {
      std::vector<const Array*> outputs;
      for (const Array& out : step.outputs) outputs.push_back(&out);
      const Step::Writes writes{step};
      run_watched(step.name, step.work, outputs, step.run);
    }
  };
  if (detail::is_long({work_, 0})) {
    detail::run_released(run_all);
  } else {
    run_all();
  }
}

void begin_capture(Program* program) {
  if (detail::t_program != nullptr) throw RuntimeError("compile: a capture is already in progress on this thread");
  detail::t_program = program;
  set_current_pool(program->pool());
}

void end_capture() {
  detail::t_program = nullptr;
  set_current_pool(nullptr);
}

Program* capturing() { return detail::t_program; }

void refuse_read_while_capturing(const char* what) {
  if (detail::t_program == nullptr) return;
  throw RuntimeError(
      text("compile: ", what,
           " reads a value while the function is being captured; a replay would not see the new value. Return "
           "it from the compiled function and read it outside, or leave @mlext.compile out"));
}

void begin_profile() {
  std::lock_guard guard(g_profile_lock);
  if (g_profiling.load()) throw RuntimeError("profile: a profile is already running");
  g_events.clear();
  g_profile_start = Clock::now();
  g_profiling.store(true);
  detail::g_watchers.fetch_add(1);
}

std::vector<Event> end_profile() {
  std::lock_guard guard(g_profile_lock);
  if (g_profiling.exchange(false)) detail::g_watchers.fetch_sub(1);
  return std::move(g_events);
}

void set_nan_check(bool on) {
  if (g_nan_check.exchange(on) != on) detail::g_watchers.fetch_add(on ? 1 : -1);
}

bool nan_check() { return g_nan_check.load(); }

}  // namespace mlext
