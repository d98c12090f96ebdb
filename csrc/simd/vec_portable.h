// Portable<T, bytes>: the whole of an ISA level written in gcc/clang vector extensions, so it
// compiles for any CPU. The portable level is this with 16-byte vectors; the x86 levels derive from
// it and replace what has a better instruction.
#pragma once

#include "core/types.h"
#if defined(__SSE2__)
// gcc 12 takes the deliberately undefined pass-through operand inside its own intrinsics for a bug
// (gcc PR 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace mlext::MLEXT_LEVEL {

template <class T>
struct Isa;

template <class T>
struct IntOf;
template <>
struct IntOf<float> {
  using Int = std::int32_t;
  using UInt = std::uint32_t;
};
template <>
struct IntOf<double> {
  using Int = std::int64_t;
  using UInt = std::uint64_t;
};

// A typedef, because gcc ignores vector_size on an alias of a dependent type.
template <class T, int kBytes>
struct Native_ {
  typedef T Type __attribute__((vector_size(kBytes)));
};
template <class T, int kBytes>
using NativeVector = typename Native_<T, kBytes>::Type;

template <int... i>
struct Lanes {};
template <int n, int... i>
struct MakeLanes : MakeLanes<n - 1, n - 1, i...> {};
template <int... i>
struct MakeLanes<0, i...> {
  using Type = Lanes<i...>;
};

MLEXT_INLINE void portable_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

template <class T, int kBytes>
struct Portable {
  using Int = typename IntOf<T>::Int;
  using UInt = typename IntOf<T>::UInt;
  using Native = NativeVector<T, kBytes>;
  using INative = NativeVector<Int, kBytes>;
  using UNative = NativeVector<UInt, kBytes>;
  using MNative = INative;  // all bits of a lane set or none
  static constexpr index N = kBytes / static_cast<int>(sizeof(T));
  using AllLanes = typename MakeLanes<N>::Type;
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  static constexpr bool kFma = true;
#else
  static constexpr bool kFma = false;
#endif

  static MLEXT_INLINE Native as_float(INative a) { return reinterpret_cast<Native>(a); }
  static MLEXT_INLINE INative as_int(Native a) { return reinterpret_cast<INative>(a); }
  // Integer arithmetic is done unsigned: it must wrap, also in lanes whose result is not used.
  static MLEXT_INLINE Native as_float(UNative a) { return reinterpret_cast<Native>(a); }
  static MLEXT_INLINE UNative as_unsigned(Native a) { return reinterpret_cast<UNative>(a); }
  static MLEXT_INLINE UNative as_unsigned(INative a) { return reinterpret_cast<UNative>(a); }
  static MLEXT_INLINE Native broadcast(T x) { return x - Native{}; }

  // ---- loads and stores of T itself
  static MLEXT_INLINE Native load(const T* p) {
    Native v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static MLEXT_INLINE Native load(const T* p, index n) {
    T lanes[N] = {};
    copy_lanes(static_cast<T*>(lanes), p, n);
    return load(static_cast<const T*>(lanes));
  }
  static MLEXT_INLINE void store(T* p, Native v) { __builtin_memcpy(p, &v, sizeof v); }
  static MLEXT_INLINE void store(T* p, Native v, index n) { copy_lanes(p, reinterpret_cast<const T*>(&v), n); }
  static MLEXT_INLINE void stream(T* p, Native v) { store(p, v); }

  // ---- loads and stores of other types: widened or narrowed lane by lane, which both compilers
  // turn into one or two instructions where the target has them
  template <class S>
  static MLEXT_INLINE Native load(const S* p) {
    using Narrow = NativeVector<S, N * sizeof(S)>;
    Narrow v;
    __builtin_memcpy(&v, p, sizeof v);
    if constexpr (sizeof(S) < sizeof(std::int32_t)) {
      using Wide = NativeVector<std::int32_t, N * sizeof(std::int32_t)>;
      return __builtin_convertvector(__builtin_convertvector(v, Wide), Native);
    } else {
      return __builtin_convertvector(v, Native);
    }
  }
  static MLEXT_INLINE Native load(const bool* p) { return load(reinterpret_cast<const std::uint8_t*>(p)); }
  static MLEXT_INLINE Native load(const bf16* p) { return as_float(as_unsigned(Isa<T>::load_u16(p)) << 16); }
  static MLEXT_INLINE Native load(const f16* p) { return f16_to_float(Isa<T>::load_u16(p)); }
  template <class S>
  static MLEXT_INLINE Native load(const S* p, index n) {
    S lanes[N] = {};
    copy_lanes(static_cast<S*>(lanes), p, n);
    return Isa<T>::load(static_cast<const S*>(lanes));
  }
  // Blocks of halving size instead of a loop, which gcc would turn into a call of memcpy in every
  // tail.
  template <class S>
  static MLEXT_INLINE void copy_lanes(S* to, const S* from, index n) {
    if (n >= N) {
      __builtin_memcpy(to, from, N * sizeof(S));
    } else {
      copy_blocks<static_cast<int>(N) / 2>(to, from, n);
    }
  }
  template <int block, class S>
  static MLEXT_INLINE void copy_blocks(S* to, const S* from, index n) {
    if (n & block) {
      __builtin_memcpy(to, from, block * sizeof(S));
      to += block;
      from += block;
    }
    if constexpr (block > 1) copy_blocks<block / 2>(to, from, n);
  }

  template <class S>
  static MLEXT_INLINE void store(S* p, Native v) {
    using Narrow = NativeVector<S, N * sizeof(S)>;
    const Narrow narrow = __builtin_convertvector(v, Narrow);
    __builtin_memcpy(p, &narrow, sizeof narrow);
  }
  static MLEXT_INLINE void store(bf16* p, Native v) { store_u16(p, float_to_bf16(v)); }
  static MLEXT_INLINE void store(f16* p, Native v) { store_u16(p, float_to_f16(v)); }
  template <class S>
  static MLEXT_INLINE void store(S* p, Native v, index n) {
    S lanes[N];
    Isa<T>::store(static_cast<S*>(lanes), v);
    copy_lanes(p, static_cast<const S*>(lanes), n);
  }

  using Half = NativeVector<std::uint16_t, N * 2>;
  static MLEXT_INLINE INative load_u16(const void* p) {
    Half h;
    __builtin_memcpy(&h, p, sizeof h);
    return __builtin_convertvector(h, INative);
  }
  static MLEXT_INLINE void store_u16(void* p, INative v) {
    const Half h = __builtin_convertvector(v, Half);
    __builtin_memcpy(p, &h, sizeof h);
  }

  // Round to nearest even on the bits: adding 0x7fff, or 0x8000 when the kept part is odd, carries
  // exactly when it should. A NaN would carry into infinity or lose its payload, so it is truncated
  // and quieted instead.
  static MLEXT_INLINE INative float_to_bf16(Native v) {
    const UNative b = as_unsigned(v);
    const UNative rounded = b + ((b >> 16) & 1) + 0x7fff;
    const Native kept = Isa<T>::select(Isa<T>::ne(v, v), as_float(b | 0x400000), as_float(rounded));
    return as_int(as_float(as_unsigned(kept) >> 16));
  }

  // The f16 exponent and mantissa moved into place make a float that is 2^112 too small, subnormals
  // included; the multiplication is exact. Infinity and NaN need the exponent of infinity instead.
  static MLEXT_INLINE Native f16_to_float(INative half) {
    const UNative h = as_unsigned(half), magnitude = (h & 0x7fff) << 13, sign = (h & 0x8000) << 16;
    const UNative finite = as_unsigned(as_float(magnitude) * 0x1p112f);
    const INative is_nan = (h & 0x7fff) > 0x7c00;
    const UNative special = magnitude | 0x7f800000 | (as_unsigned(is_nan) & 0x400000);
    return as_float(sign | (magnitude >= 0x0f800000 ? special : finite));
  }
  // Normal results round like bf16. For subnormal ones, adding 0.5 makes the float adder round at
  // 2^-24, f16's last place.
  static MLEXT_INLINE INative float_to_f16(Native v) {
    const UNative b = as_unsigned(v), m = b & 0x7fffffff;
    const UNative normal = (m + ((m >> 13) & 1) + 0xfff - (112 << 23)) >> 13;
    const UNative subnormal = as_unsigned(as_float(m) + 0.5f) - 0x3f000000;
    const UNative nan = 0x7e00 | ((m >> 13) & 0x3ff);
    UNative h = m < 0x38800000 ? subnormal : normal;
    h = m >= 0x477ff000 ? UNative{} + 0x7c00 : h;
    h = m > 0x7f800000 ? nan : h;
    return as_int(as_float(h | ((b >> 16) & 0x8000)));
  }

  // ---- arithmetic beyond the operators
  static MLEXT_INLINE Native fma(Native a, Native b, Native c) {
    if constexpr (kFma) {
      for (index i = 0; i < N; ++i) c[i] = fma1(a[i], b[i], c[i]);
      return c;
    }
    return a * b + c;
  }
  static MLEXT_INLINE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static MLEXT_INLINE double fma1(double a, double b, double c) { return __builtin_fma(a, b, c); }
  static MLEXT_INLINE float sqrt1(float a) { return __builtin_sqrtf(a); }
  static MLEXT_INLINE double sqrt1(double a) { return __builtin_sqrt(a); }
  static MLEXT_INLINE Native min(Native a, Native b) { return a < b ? a : b; }
  static MLEXT_INLINE Native max(Native a, Native b) { return a > b ? a : b; }
  static MLEXT_INLINE Native sqrt(Native a) {
    for (index i = 0; i < N; ++i) a[i] = sqrt1(a[i]);
    return a;
  }
  static MLEXT_INLINE Native reciprocal(Native a) { return broadcast(T(1)) / a; }
  // |a| + 2^mantissa drops the fraction by the adder's own rounding; from there on every number is
  // integral already (and NaN fails the comparison, so it stays).
  static MLEXT_INLINE Native round(Native a) {
    const T big = sizeof(T) == 4 ? T(0x1p23) : T(0x1p52);
    const INative sign = as_int(a) & as_int(broadcast(T(-0.0)));
    const Native magnitude = as_float(as_int(a) ^ sign);
    const Native rounded = (magnitude + big) - big;
    return as_float(as_int(magnitude < big ? rounded : magnitude) | sign);
  }
  static MLEXT_INLINE Native floor(Native a) {
    const Native r = round(a);
    const Native lower = r - T(1);
    return r > a ? lower : r;
  }
  // 2^n may not be a normal number where the result is, so it is applied in two halves. The first
  // product is exact, so the result is rounded once.
  static MLEXT_INLINE Native scale(Native a, Native n) {
    const Native magic = broadcast(sizeof(T) == 4 ? T(12582912.0) : T(6755399441055744.0));
    const UNative k = as_unsigned(n + magic) - as_unsigned(magic);
    const UNative half = as_unsigned(Isa<T>::shift_right_arithmetic(as_int(as_float(k)), 1));
    return a * power_of_two(half) * power_of_two(k - half);
  }
  static MLEXT_INLINE Native scale_where(MNative m, Native a, Native n) {
    return Isa<T>::select(m, scale(a, Isa<T>::select(m, n, Native{})), Native{});
  }
  static MLEXT_INLINE Native power_of_two(UNative k) {
    constexpr int mantissa = sizeof(T) == 4 ? 23 : 52;
    constexpr UInt bias = sizeof(T) == 4 ? 127 : 1023;
    return as_float((k + bias) << mantissa);
  }
  static MLEXT_INLINE INative shift_right_arithmetic(INative a, int n) { return a >> n; }

  // ---- comparisons, masks
  static MLEXT_INLINE MNative lt(Native a, Native b) { return a < b; }
  static MLEXT_INLINE MNative le(Native a, Native b) { return a <= b; }
  static MLEXT_INLINE MNative not_lt(Native a, Native b) { return ~(a < b); }
  static MLEXT_INLINE MNative eq(Native a, Native b) { return a == b; }
  static MLEXT_INLINE MNative ne(Native a, Native b) { return a != b; }
  static MLEXT_INLINE MNative ieq(INative a, INative b) { return a == b; }
  static MLEXT_INLINE MNative igt(INative a, INative b) { return a > b; }
  static MLEXT_INLINE Native select(MNative m, Native a, Native b) {
    return as_float((as_int(a) & m) | (as_int(b) & ~m));
  }
  static MLEXT_INLINE MNative mask_and(MNative a, MNative b) { return a & b; }
  static MLEXT_INLINE MNative mask_or(MNative a, MNative b) { return a | b; }
  static MLEXT_INLINE MNative mask_xor(MNative a, MNative b) { return a ^ b; }
  static MLEXT_INLINE MNative mask_not(MNative a) { return ~a; }
  template <int... i>
  static MLEXT_INLINE INative iota(Lanes<i...>) {
    return INative{i...};
  }
  static MLEXT_INLINE MNative mask_first(index n) { return iota(AllLanes{}) < static_cast<Int>(n); }
  static MLEXT_INLINE unsigned mask_bits(MNative m) {
    unsigned bits = 0;
    for (index i = 0; i < N; ++i) bits |= static_cast<unsigned>(m[i] & 1) << i;
    return bits;
  }

  // ---- reduction: the operand and itself with lanes i and i ^ distance exchanged, distance N/2,
  // N/4, ... 1
  template <int distance, int... i>
  static MLEXT_INLINE Native exchange(Native a, Lanes<i...>) {
    return __builtin_shufflevector(a, a, (i ^ distance)...);
  }
  template <int distance = static_cast<int>(N) / 2, class Op>
  static MLEXT_INLINE T fold(Native a, Op op) {
    const Native b = op(a, exchange<distance>(a, AllLanes{}));
    if constexpr (distance == 1) {
      return b[0];
    } else {
      return fold<distance / 2>(b, op);
    }
  }
};

}  // namespace mlext::MLEXT_LEVEL
