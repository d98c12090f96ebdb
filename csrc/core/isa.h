// ISA levels: which exist in this build, which this CPU can run, which is active; and the tables kernels are picked from.
#pragma once

#include <string>
#include <vector>

#include "core/types.h"
#include "isa_levels.h"

namespace mlext {

enum class Level : int {
#define MLEXT_ENUM(level, features, kernels) level,
  MLEXT_FOR_EACH_LEVEL(MLEXT_ENUM)
#undef MLEXT_ENUM
      count
};
inline constexpr int kLevels = static_cast<int>(Level::count);

// Names in the order of the enum; `available` says whether this CPU has every feature of the level.
const char* level_name(Level level);
const char* level_features(Level level);
bool level_available(Level level);
// Whether it is faster on this CPU than the levels before it. Takes a tenth of a millisecond; only for available levels.
bool level_pays(Level level);

// The level in use: MLEXT_ISA if set, else the best one that is available and pays. Throws ValueError for an unknown or
// unavailable name.
Level active_level();
void set_active_level(const std::string& name);

// True when the CPU and the operating system support one feature by its gcc name ("avx512f").
bool cpu_has(const std::string& feature);

[[noreturn]] void throw_no_device_kernels(const char* table);

// In a family's driver: MLEXT_DISPATCH(GemmKernels, gemm_kernels) declares the table of every level (defined in
// <f>.simd.cpp as `const GemmKernels gemm_kernels` inside namespace mlext::MLEXT_LEVEL) and a function
// `gemm_kernels(device)` that returns the active row. A device is one more row; until its library is loaded the row is
// empty and asking for it throws.
#define MLEXT_DECLARE_TABLE(level, features, kernels, Table, name) \
  namespace kernels {                                              \
  extern const Table name;                                         \
  }
#define MLEXT_TABLE_ROW(level, features, kernels, name) &kernels::name,
#define MLEXT_DISPATCH_FROM(for_each_level, Table, name)                                     \
  for_each_level(MLEXT_DECLARE_TABLE, Table, name) static const Table& name(Device device) { \
    static const Table* const rows[kLevels] = {for_each_level(MLEXT_TABLE_ROW, name)};       \
    if (device != Device::cpu) throw_no_device_kernels(#name);                               \
    return *rows[static_cast<int>(active_level())];                                          \
  }
#define MLEXT_DISPATCH(Table, name) MLEXT_DISPATCH_FROM(MLEXT_FOR_EACH_LEVEL, Table, name)
// The same for kernels that some level owns (cmake/isa.cmake).
#define MLEXT_DISPATCH_OF(owned, Table, name) MLEXT_DISPATCH_FROM(MLEXT_FOR_EACH_LEVEL_OF_##owned, Table, name)

}  // namespace mlext
