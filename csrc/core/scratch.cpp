#include "core/scratch.h"

#include "core/allocator.h"

namespace mlext {

void* scratch(int slot, std::size_t bytes) {
  thread_local BufferRef blocks[kScratchSlots];
  BufferRef& block = blocks[slot];
  // Always from the default pool: workspace outlives the capture it may be first used in.
  if (!block || block->bytes < bytes) block = BufferRef(default_pool().take(bytes));
  return block->data;
}

}  // namespace mlext
