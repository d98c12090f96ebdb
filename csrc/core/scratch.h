// Per-thread workspace that kernels reuse between calls: 64-byte aligned, grown on demand, never returned. A slot holds
// one live block per thread; a caller that needs two blocks at once uses two slots.
#pragma once

#include "core/types.h"

namespace mlext {

inline constexpr int kScratchSlots = 9;

void* scratch(int slot, std::size_t bytes);

template <class T>
T* scratch(int slot, index count) {
  return static_cast<T*>(scratch(slot, static_cast<std::size_t>(count) * sizeof(T)));
}

}  // namespace mlext
