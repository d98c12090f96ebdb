// Random numbers from the counter-based generator Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
// as easy as 1, 2, 3", SC11).
//
// The state is memory: int64[2] = key, counter; a third element, if there is one, is the upper half of the 128-bit counter
// and tells apart streams of one key. Every launch reads it and moves the counter on, so a replay gives fresh numbers.
// Word w of block counter + b is 32-bit word 4 b + w of the sequence. Element i of a float32 result takes word i, of a
// float64 result words 2 i and 2 i + 1: the numbers depend neither on threads nor on the ISA level (normal.h says how the
// normal distribution manages that). Half types are float32 numbers, rounded.
#pragma once

#include "core/types.h"

namespace mlext {

struct Stream {
  std::uint64_t key, counter, high;
};

// Elements [begin, begin + n) of one draw from the stream; begin is a multiple of 4. p: the distribution's
// parameters.
using RandomFn = void (*)(const Stream& stream, index begin, index n, const double* p, void* out);

// Words that a kernel makes before it turns them into numbers: 1 KiB, which stays in L1.
inline constexpr index kRandomBlock = 256;

struct DropoutArgs {
  const void* x;
  void* y;
  bool* mask;          // true where x is kept
  std::uint32_t last;  // dropped where word <= last
  double scale;
};

struct RandomKernels {
  RandomFn bits;        // the words themselves
  RandomFn uniform[2];  // float32, float64; p: low, high, the largest number below high
  RandomFn normal[2];   // p: mean, standard deviation
  RandomFn bernoulli;   // bool; p: true where word <= p[0]
  void (*dropout[2])(const Stream& stream, index begin, index n, const DropoutArgs& args);
  void (*masked[2])(const bool* mask, const void* g, double scale, void* out, index n);  // g scale, or 0
};

// ---- driver ---------------------------------------------------------------------------------------------------------

// Raises unless `state` is one that a launch may read and move on.
void require_state(const char* op, const Array* state);
// What such a state of two or three elements says.
Stream stream_at(const std::int64_t* state, index elements);
// The largest word that counts as "below p"; p = 0 has none, -1.
double last_word(double p);

Array random_bits(const Array& state, const Dims& shape);
Array random_uniform(const Array& state, const Dims& shape, double low, double high, DType dtype);
Array random_normal(const Array& state, const Dims& shape, double mean, double std, DType dtype);
Array random_truncated_normal(const Array& state, const Dims& shape, double mean, double std, double low, double high,
                              DType dtype);
Array random_bernoulli(const Array& state, const Dims& shape, double p, DType dtype);
Array random_integers(const Array& state, const Dims& shape, index low, index high);
Array random_permutation(const Array& state, index n);
// y = x / (1 - p) where kept, else 0; `mask` is made here: bool, true where kept.
Array dropout(const Array& x, double p, const Array& state, Array& mask);
Array dropout_backward(const Array& g, const Array& mask, double p);

}  // namespace mlext
