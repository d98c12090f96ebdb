// What a kernel made of memory that seldom changes, such as the panels of a weight, kept with the buffer it was made of.
//
// A pack is found only while the memory still holds what it was made of: the same version, no NumPy array that could write
// to it, nor one that could have since. One is asked for at the second request for the same contents, so that weights which
// change with every step are not packed and thrown away. Packs are given back with their buffer.
#pragma once

#include "core/allocator.h"
#include "core/array.h"
#include "core/types.h"

namespace mlext {

// Who made a pack: layouts of different makers have nothing to do with each other.
enum class PackKind : std::uint8_t { product, correlation, depthwise, winograd, recurrent };

// Which part of the buffer, read how, arranged how.
struct PackKey {
  PackKind kind = PackKind::product;
  const void* data = nullptr;
  index rows = 0, cols = 0, row = 0, col = 0;
  int layout = 0;
  bool operator==(const PackKey&) const = default;
};

// Where packs of an array's memory may be kept, or null: not with the private memory of a capture, where a replay writes and
// nothing counts it, nor with others' memory.
Buffer* pack_home(const Array& array);

struct FoundPack {
  BufferRef pack;           // empty: there is none
  bool wanted = false;      // then: whether to make one and keep_pack() it
  std::uint64_t stamp = 0;  // of the contents, before they are read
};

// Safe from several threads at once.
FoundPack find_pack(Buffer& buffer, const PackKey& key);
void keep_pack(Buffer& buffer, const PackKey& key, std::uint64_t stamp, BufferRef pack);

}  // namespace mlext
