#include "core/packs.h"

#include <mutex>
#include <utility>

namespace mlext {

// Of one buffer.
struct Packs {
  static constexpr int kMost = 4;  // a weight that is used in parts, such as a fused projection
  struct Entry {
    PackKey key;
    std::uint64_t stamp = 0;
    BufferRef pack;  // empty: asked for once
  };
  SpinLock lock;
  Entry entries[kMost];
  int oldest = 0;

  // With the lock held. The entry of `key`, or one that is given up for it.
  Entry& entry(const PackKey& key) {
    for (Entry& e : entries) {
      if (e.key == key) return e;
    }
    Entry& e = entries[oldest];
    oldest = (oldest + 1) % kMost;
    return e;
  }
};

namespace {

Packs& packs_of(Buffer& buffer) {
  Packs* packs = buffer.packs.load(std::memory_order_acquire);
  if (packs != nullptr) return *packs;
  auto* made = new Packs;
  if (buffer.packs.compare_exchange_strong(packs, made, std::memory_order_acq_rel)) return *made;
  delete made;
  return *packs;
}

}  // namespace

Buffer* pack_home(const Array& array) {
  return array.buffer && array.buffer->pool == &default_pool() ? array.buffer.get() : nullptr;
}

FoundPack find_pack(Buffer& buffer, const PackKey& key) {
  if (buffer.writable_views.load(std::memory_order_acquire) != 0) return {};
  FoundPack found;
  found.stamp = buffer.version.load(std::memory_order_acquire) + buffer.past_views.load(std::memory_order_acquire);
  Packs& packs = packs_of(buffer);
  BufferRef stale;  // given back without the lock
  std::lock_guard guard(packs.lock);
  Packs::Entry& entry = packs.entry(key);
  if (entry.key == key && entry.stamp == found.stamp) {
    found.pack = entry.pack;
    found.wanted = !entry.pack;
    return found;
  }
  stale = std::exchange(entry.pack, {});
  entry.key = key;
  entry.stamp = found.stamp;
  return found;
}

void keep_pack(Buffer& buffer, const PackKey& key, std::uint64_t stamp, BufferRef pack) {
  Packs& packs = packs_of(buffer);
  std::lock_guard guard(packs.lock);
  Packs::Entry& entry = packs.entry(key);
  // Another thread may have packed the same, or the memory may have been written meanwhile.
  if (entry.key == key && entry.stamp == stamp && !entry.pack) entry.pack = std::move(pack);
}

void free_packs(Packs* packs) { delete packs; }

}  // namespace mlext
