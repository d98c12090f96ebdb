// What the inner loops of GEMM are made of, compiled in the order of the source. They use nearly all registers; left to
// itself gcc 12 loads the next operands before the last ones are done with, and pays with copies of the sums from register
// to register: four in 168 instructions cost 4 per cent, since they take the ports of the fmas.
//
// What these read must not have been written by the function they are called from: the compiler does not see it.
#pragma once

#include "simd/vec.h"

// The sanitizer does not see what asm reads, so it gets plain code.
#if defined(__AVX2__) && !defined(__SANITIZE_ADDRESS__)
#define MLEXT_PINNED 1
#else
#define MLEXT_PINNED 0
#endif

namespace mlext::MLEXT_LEVEL {

// sum = fma(a, b, sum), and sum stays in its register.
template <class T>
MLEXT_INLINE void add_product(Vec<T>& sum, Vec<T> a, Vec<T> b) {
#if MLEXT_PINNED
  if constexpr (sizeof(T) == 4) {
    asm volatile("vfmadd231ps %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
  } else {
    asm volatile("vfmadd231pd %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
  }
#else
  sum = fma(a, b, sum);
#endif
}

// Zero by an instruction that takes no port. gcc would zero one register and copy it to the others, which does.
template <class T>
MLEXT_INLINE Vec<T> zero_pinned() {
  Vec<T> x;
#if MLEXT_PINNED && defined(__AVX512VL__)
  asm volatile("vpxord %x0, %x0, %x0" : "=v"(x.v));
#elif MLEXT_PINNED
  asm volatile("vpxor %x0, %x0, %x0" : "=v"(x.v));
#else
  x = Vec<T>::zero();
#endif
  return x;
}

// The vector kOffset bytes and kStrides strides (0 to 2, what an address can hold) behind base.
template <class T, int kOffset, int kStrides>
MLEXT_INLINE Vec<T> load_pinned(const char* base, index stride) {
#if MLEXT_PINNED
  Vec<T> x;
  if constexpr (kStrides == 0) {
    asm volatile("vmovups %c2(%1), %0" : "=v"(x.v) : "r"(base), "i"(kOffset));
  } else {
    asm volatile("vmovups %c3(%1,%2,%c4), %0" : "=v"(x.v) : "r"(base), "r"(stride), "i"(kOffset), "i"(kStrides));
  }
  return x;
#else
  return Vec<T>::load(reinterpret_cast<const T*>(base + kOffset + kStrides * stride));
#endif
}

// The first n lanes of the vector there, the others 0. Where a mask is a vector, it comes from memory into the register that
// it leaves for the result.
template <class T, int kOffset>
MLEXT_INLINE Vec<T> load_pinned(const char* base, index n) {
#if MLEXT_PINNED
  Vec<T> x;
  const auto mask = Vec<T>::I::mask_first(n);
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    asm volatile("vmovups %c2(%1), %0%{%3%}%{z%}" : "=v"(x.v) : "r"(base), "i"(kOffset), "Yk"(mask));
  } else {
    asm volatile("vmovupd %c2(%1), %0%{%3%}%{z%}" : "=v"(x.v) : "r"(base), "i"(kOffset), "Yk"(mask));
  }
#else
  if constexpr (sizeof(T) == 4) {
    asm volatile("vmovdqu %3, %0\n\tvmaskmovps %c2(%1), %0, %0" : "=&v"(x.v) : "r"(base), "i"(kOffset), "m"(mask));
  } else {
    asm volatile("vmovdqu %3, %0\n\tvmaskmovpd %c2(%1), %0, %0" : "=&v"(x.v) : "r"(base), "i"(kOffset), "m"(mask));
  }
#endif
  return x;
#else
  return Vec<T>::load(reinterpret_cast<const T*>(base + kOffset), n);
#endif
}

// x, kOffset bytes behind base.
template <class T, int kOffset>
MLEXT_INLINE void store_pinned(char* base, Vec<T> x) {
#if MLEXT_PINNED
  asm volatile("vmovups %1, %c2(%0)" : : "r"(base), "v"(x.v), "i"(kOffset) : "memory");
#else
  x.store(reinterpret_cast<T*>(base + kOffset));
#endif
}

// The element there, in all lanes.
template <class T, int kOffset, int kStrides>
MLEXT_INLINE Vec<T> broadcast_pinned(const char* base, index stride) {
#if MLEXT_PINNED
  Vec<T> x;
  if constexpr (sizeof(T) == 4 && kStrides == 0) {
    asm volatile("vbroadcastss %c2(%1), %0" : "=v"(x.v) : "r"(base), "i"(kOffset));
  } else if constexpr (sizeof(T) == 4) {
    asm volatile("vbroadcastss %c3(%1,%2,%c4), %0" : "=v"(x.v) : "r"(base), "r"(stride), "i"(kOffset), "i"(kStrides));
  } else if constexpr (kStrides == 0) {
    asm volatile("vbroadcastsd %c2(%1), %0" : "=v"(x.v) : "r"(base), "i"(kOffset));
  } else {
    asm volatile("vbroadcastsd %c3(%1,%2,%c4), %0" : "=v"(x.v) : "r"(base), "r"(stride), "i"(kOffset), "i"(kStrides));
  }
  return x;
#else
  return Vec<T>(*reinterpret_cast<const T*>(base + kOffset + kStrides * stride));
#endif
}

// sum += b times the element kOffset bytes behind base: one instruction where there is one that takes its operand from
// memory and spreads it over all lanes.
template <class T, int kOffset>
MLEXT_INLINE void add_product_from(Vec<T>& sum, const char* base, Vec<T> b) {
#if MLEXT_PINNED && defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    asm volatile("vfmadd231ps %c3(%2)%{1to16%}, %1, %0" : "+v"(sum.v) : "v"(b.v), "r"(base), "i"(kOffset));
  } else {
    asm volatile("vfmadd231pd %c3(%2)%{1to8%}, %1, %0" : "+v"(sum.v) : "v"(b.v), "r"(base), "i"(kOffset));
  }
#else
  add_product(sum, broadcast_pinned<T, kOffset, 0>(base, 0), b);
#endif
}

// Keeps the compiler from replacing a pointer by others that it would also have to count up.
template <class P>
MLEXT_INLINE void pin(P*& pointer) {
  asm("" : "+r"(pointer));
}

// x is in a register, and not read by each instruction that needs it from memory.
template <class T>
MLEXT_INLINE void hold([[maybe_unused]] Vec<T>& x) {
#if MLEXT_PINNED
  asm("" : "+v"(x.v));
#endif
}

// The register of x is in use up to here.
template <class T>
MLEXT_INLINE void keep([[maybe_unused]] Vec<T> x) {
#if MLEXT_PINNED
  asm volatile("" : : "v"(x.v));
#endif
}

}  // namespace mlext::MLEXT_LEVEL
