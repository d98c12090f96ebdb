#include "core/isa.h"

#include <atomic>
#include <cstdlib>
#include <sstream>

#include "core/error.h"

namespace mlext {
namespace {

constexpr const char* kNames[] = {
#define MLEXT_NAME(level, features, kernels) #level,
    MLEXT_FOR_EACH_LEVEL(MLEXT_NAME)
#undef MLEXT_NAME
};
constexpr const char* kFeatureLists[] = {
#define MLEXT_LIST(level, features, kernels) features,
    MLEXT_FOR_EACH_LEVEL(MLEXT_LIST)
#undef MLEXT_LIST
};

std::atomic<int> g_level{-1};

std::string available_names() {
  std::string names;
  for (int i = 0; i < kLevels; ++i) {
    if (level_available(static_cast<Level>(i))) names += (names.empty() ? "" : ", ") + std::string(kNames[i]);
  }
  return names;
}

int find_level(const std::string& name, const char* source) {
  for (int i = 0; i < kLevels; ++i) {
    if (name != kNames[i]) continue;
    if (level_available(static_cast<Level>(i))) return i;
    throw ValueError(text(source, ": this CPU lacks a feature of level '", name, "' (", kFeatureLists[i],
                          "); expected one of ", available_names()));
  }
  throw ValueError(text(source, ": unknown level '", name, "'; expected one of ", available_names()));
}

int best_level() {
  const char* wanted = std::getenv("MLEXT_ISA");
  if (wanted != nullptr && *wanted != '\0') return find_level(wanted, "MLEXT_ISA");
  int best = 0;
  for (int i = 0; i < kLevels; ++i) {
    const auto level = static_cast<Level>(i);
    if (level_available(level) && level_pays(level)) best = i;
  }
  return best;
}

}  // namespace

const char* level_name(Level level) { return kNames[static_cast<int>(level)]; }
const char* level_features(Level level) { return kFeatureLists[static_cast<int>(level)]; }

bool level_available(Level level) {
  std::istringstream features(level_features(level));
  for (std::string feature; features >> feature;) {
    if (!cpu_has(feature)) return false;
  }
  return true;
}

Level active_level() {
  int level = g_level.load(std::memory_order_relaxed);
  if (level < 0) [[unlikely]] {
    level = best_level();
    g_level.store(level, std::memory_order_relaxed);
  }
  return static_cast<Level>(level);
}

void set_active_level(const std::string& name) {
  g_level.store(find_level(name, "set_isa"), std::memory_order_relaxed);
}

void throw_no_device_kernels(const char* table) {
  throw RuntimeError(text(table, ": no kernels for device 'cuda'; mlext.cuda.why_not() says why"));
}

}  // namespace mlext
