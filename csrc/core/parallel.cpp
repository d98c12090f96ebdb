#include "core/parallel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "core/error.h"
#include "core/launch.h"

namespace mlext {
namespace {

// A worker that finds no job spins this long before it sleeps: longer than what one thread does alone between two parallel kernels
// of a training step (an encoder layer on two threads: 4.5 ms with 30 us, 4.24 with 200, 4.25 with 2000), and far shorter than
// what a user would notice as a busy core.
constexpr auto kSpin = std::chrono::microseconds(200);

// Neighbouring chunks that one thread begins with, those of each kernel: what it made in one lies in its own cache for the next.
struct alignas(64) Share {
  std::atomic<index> next{0};
  index end = 0;
};
constexpr int kMostShares = 16;

struct Job;
thread_local const Job* t_job = nullptr;  // whose chunks this thread claims

struct Job {
  detail::RangeFn fn;
  const void* context;
  index n, grain, chunks;
  int workers;  // that may help
  int share_count = std::min(workers + 1, kMostShares);
  Share shares[kMostShares];
  std::atomic<bool> stop{false};
  std::mutex error_lock;
  std::exception_ptr error;

  Job(detail::RangeFn fn, const void* context, index n, index grain, index chunks, int workers)
      : fn(fn), context(context), n(n), grain(grain), chunks(chunks), workers(workers) {
    for (int i = 0; i < share_count; ++i) {
      shares[i].next.store(chunks * i / share_count, std::memory_order_relaxed);
      shares[i].end = chunks * (i + 1) / share_count;
    }
  }
  void fail(std::exception_ptr e) {
    std::lock_guard guard(error_lock);
    if (!error) error = std::move(e);
    stop.store(true, std::memory_order_relaxed);
  }
  // Claims chunks until none is left, of its own share first; the caller is thread 0.
  void work(int thread) {
    const Job* const around = std::exchange(t_job, this);
    claim(thread);
    t_job = around;
  }

 private:
  void claim(int thread) {
    try {
      for (int i = 0; i < share_count; ++i) {
        Share& share = shares[(thread + i) % share_count];
        for (;;) {
          const index chunk = share.next.fetch_add(1, std::memory_order_relaxed);
          if (stop.load(std::memory_order_relaxed)) return;
          if (chunk >= share.end) break;
          fn(context, chunk * grain, std::min(n, (chunk + 1) * grain));
          poll_interrupt();
        }
      }
    } catch (...) {
      fail(std::current_exception());
    }
  }
};

class ThreadPool {
 public:
  bool try_own() { return !owned_.exchange(true, std::memory_order_acquire); }
  void disown() { owned_.store(false, std::memory_order_release); }

  void run(Job& job) {
    grow(job.workers);
    job_.store(&job);
    generation_.fetch_add(1);
    if (sleeping_.load() > 0) {
      // Whoever holds this counts as sleeping but may not wait yet.
      lock_.lock();
      lock_.unlock();
      wake_.notify_all();
    }
    job.work(0);
    job_.store(nullptr);
    // A worker that is counted only now finds no job; those before it are waited for.
    while (inside_.load() > 0) cpu_relax();
  }

  // In a forked child no worker exists; start again with none. Called by the child's only thread.
  void forget_workers() {
    for (std::thread& worker : workers_) new (&worker) std::thread;  // the handles name threads of the parent
    new (this) ThreadPool;
  }

 private:
  void grow(int count) {
    while (static_cast<int>(workers_.size()) < count) {
      workers_.emplace_back([this, id = static_cast<int>(workers_.size())] { loop(id); });
      workers_.back().detach();
    }
  }

  void loop(int id) {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_job(seen);
      seen = generation_.load();
      inside_.fetch_add(1);
      if (Job* job = job_.load(); job != nullptr && id < job->workers) job->work(id + 1);
      inside_.fetch_sub(1);
    }
  }

  void wait_for_job(std::uint64_t seen) {
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    for (int i = 0;; ++i) {
      if (generation_.load(std::memory_order_acquire) != seen) return;
      cpu_relax();
      if (i % 64 == 63 && std::chrono::steady_clock::now() > deadline) break;
    }
    std::unique_lock guard(lock_);
    sleeping_.fetch_add(1);
    wake_.wait(guard, [&] { return generation_.load() != seen; });
    sleeping_.fetch_sub(1);
  }

  // A job begins and ends without a lock: a mutex that worker and caller reach for at once puts one of them to sleep, which
  // took as long as 0.5 Mflop. Orders are sequential throughout, as the two pairs need it: a job is published, then
  // `sleeping` read, a worker counts itself as sleeping, then reads `generation`; and the same with `inside` and `job`.
  std::atomic<bool> owned_{false};
  std::mutex lock_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
  alignas(64) std::atomic<std::uint64_t> generation_{0};
  std::atomic<Job*> job_{nullptr};
  std::atomic<int> sleeping_{0};
  alignas(64) std::atomic<int> inside_{0};
};

std::atomic<int> g_threads{0};

ThreadPool& pool() {
  static ThreadPool* const instance = [] {
    auto* made = new ThreadPool;  // never destroyed: workers may still wait on it at exit
    pthread_atfork(nullptr, nullptr, [] { pool().forget_workers(); });
    return made;
  }();
  return *instance;
}

// The quota of the cgroup this process runs in, in whole CPUs, at least 1; INT_MAX when there is none.
int cgroup_quota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return INT_MAX;
  return std::max(1, static_cast<int>(std::atof(quota.c_str()) / period + 0.5));
}

int affinity_count() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace

int default_num_threads() {
  const char* wanted = std::getenv("MLEXT_NUM_THREADS");
  if (wanted != nullptr) {
    char* end = nullptr;
    const long value = std::strtol(wanted, &end, 10);
    if (end != wanted && *end == '\0' && value >= 1) return static_cast<int>(std::min<long>(value, kMaxThreads));
  }
  return std::min({affinity_count(), cgroup_quota(), kMaxThreads});
}

int num_threads() {
  int threads = g_threads.load(std::memory_order_relaxed);
  if (threads == 0) {
    threads = default_num_threads();
    g_threads.store(threads, std::memory_order_relaxed);
  }
  return threads;
}

void set_num_threads(index threads) {
  if (threads < 1 || threads > kMaxThreads) {
    refuse("set_num_threads", "threads", text("1 to ", kMaxThreads), threads);
  }
  g_threads.store(static_cast<int>(threads), std::memory_order_relaxed);
}

bool parallel_failed() { return t_job != nullptr && t_job->stop.load(std::memory_order_relaxed); }

void detail::run_parallel(index n, index grain, RangeFn fn, const void* context) {
  grain = std::max<index>(grain, 1);
  const index chunks = (n + grain - 1) / grain;
  const int workers = static_cast<int>(std::min<index>(num_threads(), chunks)) - 1;
  const bool alone = workers <= 0 || t_job != nullptr || !pool().try_own();
  Job job(fn, context, n, grain, chunks, alone ? 0 : workers);
  if (alone) {
    job.work(0);
  } else {
    pool().run(job);
    pool().disown();
  }
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace mlext
