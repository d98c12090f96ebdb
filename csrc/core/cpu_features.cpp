// What the CPU and the operating system support, asked of CPUID once. Feature bits only, never vendor or family.
#include <cstdint>
#include <string_view>

#include "core/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mlext {
namespace {

enum Register { kEax, kEbx, kEcx, kEdx };

struct Feature {
  std::string_view name;
  std::uint32_t leaf, subleaf;
  Register reg;
  int bit;
};

// Intel SDM volume 2A, CPUID.
constexpr Feature kFeatures[] = {
    {"popcnt", 1, 0, kEcx, 23},   {"movbe", 1, 0, kEcx, 22},      {"fma", 1, 0, kEcx, 12},
    {"f16c", 1, 0, kEcx, 29},     {"avx", 1, 0, kEcx, 28},        {"avx2", 7, 0, kEbx, 5},
    {"bmi", 7, 0, kEbx, 3},       {"bmi2", 7, 0, kEbx, 8},        {"lzcnt", 0x80000001u, 0, kEcx, 5},
    {"avx512f", 7, 0, kEbx, 16},  {"avx512dq", 7, 0, kEbx, 17},   {"avx512bw", 7, 0, kEbx, 30},
    {"avx512vl", 7, 0, kEbx, 31}, {"avx512vnni", 7, 0, kEcx, 11}, {"avx512bf16", 7, 1, kEax, 5},
};

}  // namespace

#if defined(__x86_64__)

// The operating system must save the wide registers: XCR0 bits 1, 2 for ymm and 5, 6, 7 for masks and zmm.
static bool os_saves(std::string_view feature) {
  if (feature.substr(0, 3) != "avx" && feature != "fma" && feature != "f16c") return true;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return false;
  std::uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const std::uint32_t needed = feature.substr(0, 6) == "avx512" ? 0xe6 : 0x6;
  return (low & needed) == needed;
}

bool cpu_has(const std::string& name) {
  for (const Feature& feature : kFeatures) {
    if (feature.name != name) continue;
    unsigned r[4];
    if (!__get_cpuid_count(feature.leaf, feature.subleaf, &r[0], &r[1], &r[2], &r[3])) return false;
    return (r[feature.reg] >> feature.bit & 1) && os_saves(name);
  }
  return false;
}

#else

bool cpu_has(const std::string&) { return false; }

#endif

}  // namespace mlext
