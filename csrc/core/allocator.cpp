#include "core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

#include "core/error.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace mlext {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHuge = std::size_t{1} << 21;
constexpr std::size_t kLarge = std::size_t{1} << 20;

thread_local Pool* t_pool = nullptr;

// Four classes per power of two from 64 bytes on: at most a quarter of a buffer is waste.
std::uint32_t class_of(std::size_t bytes) {
  if (bytes <= kLine) return 0;
  const int log = std::bit_width(bytes - 1) - 1;  // 2^log < bytes <= 2^(log+1)
  const std::size_t step = std::size_t{1} << (log - 2);
  return static_cast<std::uint32_t>((log - 6) * 4 + 1 + (bytes - 1 - (std::size_t{1} << log)) / step);
}

std::size_t class_bytes(std::uint32_t c) {
  if (c == 0) return kLine;
  const int log = static_cast<int>((c - 1) / 4) + 6;
  return (std::size_t{1} << log) + ((c - 1) % 4 + 1) * (std::size_t{1} << (log - 2));
}

std::size_t system_bytes(std::size_t bytes) {
  const std::size_t alignment = bytes >= kLarge ? kHuge : kLine;
  return (bytes + alignment - 1) / alignment * alignment;
}

void* system_take(std::size_t bytes) {
  void* data = std::aligned_alloc(bytes >= kLarge ? kHuge : kLine, system_bytes(bytes));
  if (data != nullptr && bytes >= kLarge) madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

// Tells AddressSanitizer, to which pooled memory is one block in use, that only the first `bytes` of it may be touched.
void allow_bytes([[maybe_unused]] const Buffer* buffer, [[maybe_unused]] std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  // A replay touches memory that its capture took and gave back, so the private pool of a capture marks nothing.
  if (buffer->pool != &default_pool()) return;
  const std::size_t size = system_bytes(class_bytes(buffer->size_class));
  ASAN_UNPOISON_MEMORY_REGION(buffer->data, bytes);
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(buffer->data) + bytes, size - bytes);
#endif
}

}  // namespace

Buffer* Pool::take(std::size_t bytes) {
  if (bytes > std::size_t{1} << 52) throw MemoryError(text("cannot allocate ", bytes, " bytes"));
  const std::uint32_t size_class = class_of(bytes);
  const std::size_t size = class_bytes(size_class);
  Buffer* buffer = take_cached(size_class, size);
  if (buffer == nullptr) {
    buffer = make_buffer(size_class, size);
    std::lock_guard guard(lock_);
    stats_.system += 1;
    count_use(size);
  }
  buffer->bytes = bytes;
  buffer->refs.store(1, std::memory_order_relaxed);
  buffer->version.store(0, std::memory_order_relaxed);
  allow_bytes(buffer, bytes);
  retain();
  return buffer;
}

Buffer* Pool::take_cached(std::uint32_t size_class, std::size_t size) {
  std::lock_guard guard(lock_);
  Buffer* buffer = free_[size_class];
  if (buffer != nullptr) {
    free_[size_class] = buffer->next;
    stats_.cached -= static_cast<index>(size);
    count_use(size);
  }
  return buffer;
}

Buffer* Pool::make_buffer(std::uint32_t size_class, std::size_t size) {
  void* data = system_take(size);
  if (data == nullptr && trim() > 0) data = system_take(size);
  if (data == nullptr) throw MemoryError(text("cannot allocate ", size, " bytes"));
  auto* buffer = new Buffer;
  buffer->data = data;
  buffer->size_class = size_class;
  buffer->pool = this;
  return buffer;
}

void Pool::count_use(std::size_t size) {
  stats_.allocations += 1;
  stats_.in_use += static_cast<index>(size);
  stats_.peak = std::max(stats_.peak, stats_.in_use);
}

void Pool::give(Buffer* buffer) {
  const auto size = static_cast<index>(class_bytes(buffer->size_class));
  allow_bytes(buffer, 0);
  {
    std::lock_guard guard(lock_);
    buffer->next = free_[buffer->size_class];
    free_[buffer->size_class] = buffer;
    stats_.in_use -= size;
    stats_.cached += size;
  }
  release();
}

index Pool::trim() {
  std::array<Buffer*, kClasses> lists{};
  index freed = 0;
  {
    std::lock_guard guard(lock_);
    lists.swap(free_);
    freed = stats_.cached;
    stats_.cached = 0;
  }
  for (Buffer* buffer : lists) {
    while (buffer != nullptr) {
      Buffer* next = buffer->next;
      std::free(buffer->data);
      delete buffer;
      buffer = next;
    }
  }
  return freed;
}

PoolStats Pool::stats() {
  std::lock_guard guard(lock_);
  return stats_;
}

void Pool::reset_peak() {
  std::lock_guard guard(lock_);
  stats_.peak = stats_.in_use;
}

void Pool::release() {
  if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

Pool::~Pool() { trim(); }

Pool& default_pool() {
  static Pool* const pool = Pool::create();  // never destroyed: arrays may outlive static destruction
  return *pool;
}

Pool& current_pool() { return t_pool != nullptr ? *t_pool : default_pool(); }

void set_current_pool(Pool* pool) { t_pool = pool; }

void free_buffer(Buffer* buffer) {
  if (Packs* packs = buffer->packs.exchange(nullptr, std::memory_order_acq_rel)) free_packs(packs);
  if (buffer->pool != nullptr) {
    buffer->pool->give(buffer);
  } else {
    buffer->release(buffer);
  }
}

}  // namespace mlext
