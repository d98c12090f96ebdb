// Pooled memory. A Pool hands out Buffers from size classes and takes them back; nothing is returned to the system until
// `trim`. Memory is 64-byte aligned; from 1 MiB on it is 2 MiB aligned and marked for huge pages, so that a fresh large
// output costs no page faults after the first use (measured 3-9x against malloc above its mmap threshold).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "core/types.h"

namespace mlext {

class Pool;
struct Packs;

// Memory shared by the arrays that view it. `version` counts in-place writes: saved values and weight packs compare it.
struct Buffer {
  void* data = nullptr;
  std::size_t bytes = 0;
  std::atomic<index> refs{0};
  std::atomic<std::uint64_t> version{0};
  std::atomic<int> writable_views{0};        // NumPy arrays that can write here, which no version tells
  std::atomic<std::uint64_t> past_views{0};  // that were given up
  std::atomic<Packs*> packs{nullptr};        // core/packs.h
  Pool* pool = nullptr;                      // owner of pooled memory; null for foreign memory
  void (*release)(Buffer*) = nullptr;        // frees foreign memory and its owner
  void* owner = nullptr;                     // whatever `release` needs
  Buffer* next = nullptr;                    // free list link
  std::uint32_t size_class = 0;
  Device device = Device::cpu;
  bool read_only = false;
};

struct PoolStats {
  index in_use = 0;       // bytes held by live buffers
  index peak = 0;         // largest in_use since the last reset
  index cached = 0;       // bytes waiting in free lists
  index allocations = 0;  // buffers handed out
  index system = 0;       // of those, how many needed new memory from the system
};

inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

class SpinLock {
 public:
  void lock() {
    while (flag_.exchange(true, std::memory_order_acquire)) cpu_relax();
  }
  void unlock() { flag_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> flag_{false};
};

// Reference counted: every live buffer holds its pool, so a captured program may die before arrays that came from it.
class Pool {
 public:
  static Pool* create() { return new Pool; }
  // A buffer of at least `bytes` bytes with one reference. Throws MemoryError naming the size.
  Buffer* take(std::size_t bytes);
  void give(Buffer* buffer);
  // Returns cached memory to the system; the number of bytes returned.
  index trim();
  PoolStats stats();
  void reset_peak();
  void retain() { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release();

 private:
  static constexpr int kClasses = 192;
  Pool() = default;
  ~Pool();
  Buffer* take_cached(std::uint32_t size_class, std::size_t size);
  Buffer* make_buffer(std::uint32_t size_class, std::size_t size);
  void count_use(std::size_t size);  // with the lock held
  SpinLock lock_;
  std::array<Buffer*, kClasses> free_{};
  PoolStats stats_;
  std::atomic<index> refs_{1};
};

Pool& default_pool();
// The pool of this thread: the default one, or the private one of the capture in progress.
Pool& current_pool();
void set_current_pool(Pool* pool);  // null: back to the default

void free_buffer(Buffer* buffer);
void free_packs(Packs* packs);

// Intrusive reference to a Buffer.
class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(Buffer* adopted) : buffer_(adopted) {}
  BufferRef(const BufferRef& other) : buffer_(other.buffer_) {
    if (buffer_) buffer_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  BufferRef(BufferRef&& other) noexcept : buffer_(other.buffer_) { other.buffer_ = nullptr; }
  BufferRef& operator=(BufferRef other) noexcept {
    Buffer* mine = buffer_;
    buffer_ = other.buffer_;
    other.buffer_ = mine;
    return *this;
  }
  ~BufferRef() {
    if (buffer_ && buffer_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) free_buffer(buffer_);
  }
  Buffer* get() const { return buffer_; }
  Buffer* operator->() const { return buffer_; }
  explicit operator bool() const { return buffer_ != nullptr; }

 private:
  Buffer* buffer_ = nullptr;
};

}  // namespace mlext
