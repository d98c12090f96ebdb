#include "kernels/random/random.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/isa.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/random/draws.h"

namespace mlext {

MLEXT_DISPATCH(RandomKernels, random_kernels)

void require_state(const char* op, const Array* state) {
  if (state == nullptr || !state->buffer) {
    refuse<TypeError>(op, "state", "a Tensor, because the generator is advanced in place",
                      state == nullptr ? "None" : "an ndarray");
  }
  require_dtype(op, "state", *state, DType::int64, " [key, counter]");
  require_writable(op, "state", *state);
  if (state->rank() != 1 || state->shape[0] < 2 || state->shape[0] > 3 || !state->is_dense()) {
    refuse(op, "state", "shape (2,) or (3,), row-major", state->shape);
  }
}

Stream stream_at(const std::int64_t* state, index elements) {
  return {static_cast<std::uint64_t>(state[0]), static_cast<std::uint64_t>(state[1]),
          elements > 2 ? static_cast<std::uint64_t>(state[2]) : 0};
}

double last_word(double p) { return std::nearbyint(p * 0x1p32) - 1; }

namespace {

constexpr index kChunk = 16384;  // elements; a multiple of kRandomBlock

void require_finite(const char* op, const char* name, double value) {
  if (!std::isfinite(value)) refuse(op, name, "a finite number", value);
}
void require_probability(const char* op, const char* name, double p) {
  if (!(p >= 0 && p <= 1)) refuse(op, name, "a probability from 0 to 1", p);
}
void require_deviation(const char* op, double std) {
  if (!(std >= 0) || std::isinf(std)) refuse(op, "std", "a finite number of 0 or more", std);
}
void require_float(const char* op, DType dtype) {
  if (!is_floating(dtype)) refuse<TypeError>(op, "dtype", "float32, float64, bfloat16 or float16", dtype);
}

// One launch: fill(stream, begin, n) for the elements of `out` in chunks, then the counter moves past `words` words.
template <class Fill>
void draw(const char* op, const Array& state, index words, ArrayList inputs, ArrayList outputs, index n, double bytes,
          Fill fill) {
  if (n == 0) return;
  auto* s = state.ptr<std::int64_t>();
  const index elements = state.shape[0];
  const auto blocks = static_cast<std::uint64_t>((words + 3) / 4);
  launch(op, Work{20.0 * static_cast<double>(n), bytes}, inputs, outputs, [=] {
    const Stream stream = stream_at(s, elements);
    fill(stream);
    s[1] = static_cast<std::int64_t>(stream.counter + blocks);
  });
  state.written();
}

index words_of(const Array& out) { return out.size() * (out.dtype == DType::float64 ? 2 : 1); }

// A kernel with parameters over a fresh array.
Array filled(const char* op, const Array& state, const Dims& shape, DType dtype, RandomFn fn, double p0, double p1 = 0,
             double p2 = 0) {
  Array out = Array::empty(shape, dtype);
  const index n = out.size();
  void* data = out.data;
  const index size = item_size(dtype);
  draw(op, state, words_of(out), {&state}, {&out, &state}, n, static_cast<double>(out.nbytes()),
       [=](const Stream& stream) {
         const double p[3] = {p0, p1, p2};
         parallel_for(n, kChunk, [&](index begin, index end) {
           fn(stream, begin, end - begin, p, static_cast<char*>(data) + begin * size);
         });
       });
  return out;
}

int row_of(DType dtype) { return dtype == DType::float64; }

template <class T, class Make>
Array drawn_singly(const char* op, const Array& state, const Dims& shape, Make make) {
  Array out = Array::empty(shape, kDTypeOf<T>);
  const index n = out.size();
  T* to = out.ptr<T>();
  const RandomFn bits = random_kernels(out.device).bits;
  draw(op, state, 2 * n, {&state}, {&out, &state}, n, static_cast<double>(out.nbytes()), [=](const Stream& stream) {
    parallel_for(n, kChunk, [&](index begin, index end) {
      Draws draws(bits, stream);
      for (index i = begin; i < end; ++i) to[i] = make(draws, i);
    });
  });
  return out;
}

}  // namespace

Array random_bits(const Array& state, const Dims& shape) {
  require_state("random_bits", &state);
  return filled("random_bits", state, shape, DType::int32, random_kernels(state.device).bits, 0);
}

Array random_uniform(const Array& state, const Dims& shape, double low, double high, DType dtype) {
  constexpr const char* op = "random_uniform";
  require_state(op, &state);
  require_float(op, dtype);
  require_finite(op, "low", low);
  require_finite(op, "high", high);
  if (low > high) refuse(op, "high", text("a number of low = ", low, " or more"), high);
  const DType made = accumulate_dtype(dtype);
  const double largest =
      made == DType::float64 ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
  if (!(high - low <= largest)) refuse(op, "high", text("high - low within the range of ", made), high);
  const double below = made == DType::float64 ? std::nextafter(high, low)
                                              : std::nextafter(static_cast<float>(high), static_cast<float>(low));
  const RandomFn fn = random_kernels(state.device).uniform[row_of(made)];
  return dense(filled(op, state, shape, made, fn, low, high, below), dtype);
}

Array random_normal(const Array& state, const Dims& shape, double mean, double std, DType dtype) {
  constexpr const char* op = "random_normal";
  require_state(op, &state);
  require_float(op, dtype);
  require_finite(op, "mean", mean);
  require_deviation(op, std);
  const DType made = accumulate_dtype(dtype);
  return dense(filled(op, state, shape, made, random_kernels(state.device).normal[row_of(made)], mean, std), dtype);
}

Array random_truncated_normal(const Array& state, const Dims& shape, double mean, double std, double low, double high,
                              DType dtype) {
  constexpr const char* op = "random_truncated_normal";
  require_state(op, &state);
  require_float(op, dtype);
  require_finite(op, "mean", mean);
  if (!(std > 0) || std::isinf(std)) refuse(op, "std", "a finite number above 0", std);
  if (!(low < high)) refuse(op, "high", text("a number above low = ", low), high);
  const Truncated number((low - mean) / std, (high - mean) / std);
  auto make = [=](Draws& draws, index i) { return std::clamp(mean + std * number(draws.open_unit(i)), low, high); };
  if (dtype == DType::float64) return drawn_singly<double>(op, state, shape, make);
  const float lowest = static_cast<float>(low), highest = static_cast<float>(high);
  auto make_float = [=](Draws& draws, index i) {
    return std::clamp(static_cast<float>(make(draws, i)), lowest, highest);
  };
  return dense(drawn_singly<float>(op, state, shape, make_float), dtype);
}

Array random_bernoulli(const Array& state, const Dims& shape, double p, DType dtype) {
  constexpr const char* op = "random_bernoulli";
  require_state(op, &state);
  require_probability(op, "p", p);
  const double last = last_word(p);
  if (last < 0) {
    Array out = Array::empty(shape, dtype);
    fill_into(0, out);
    return out;
  }
  return dense(filled(op, state, shape, DType::bool_, random_kernels(state.device).bernoulli, last), dtype);
}

Array random_integers(const Array& state, const Dims& shape, index low, index high) {
  constexpr const char* op = "random_integers";
  require_state(op, &state);
  if (low >= high) refuse(op, "high", text("an int above low = ", low), high);
  const std::uint64_t base = static_cast<std::uint64_t>(low), range = static_cast<std::uint64_t>(high) - base;
  return drawn_singly<std::int64_t>(
      op, state, shape, [=](Draws& draws, index i) { return static_cast<std::int64_t>(base + draws.below(i, range)); });
}

// Fisher and Yates, from the front ("inside-out"): one thread, because every swap depends on the one before.
Array random_permutation(const Array& state, index n) {
  constexpr const char* op = "random_permutation";
  require_state(op, &state);
  if (n < 0) refuse(op, "n", "0 or more", n);
  Array out = Array::empty({n}, DType::int64);
  auto* to = out.ptr<std::int64_t>();
  const RandomFn bits = random_kernels(out.device).bits;
  draw(op, state, 2 * n, {&state}, {&out, &state}, n, static_cast<double>(out.nbytes()), [=](const Stream& stream) {
    Draws draws(bits, stream);
    for (index i = 0; i < n; ++i) {
      const auto j = static_cast<index>(draws.below(i, static_cast<std::uint64_t>(i) + 1));
      if (j != i) to[i] = to[j];
      to[j] = i;
    }
  });
  return out;
}

Array dropout(const Array& x, double p, const Array& state, Array& mask) {
  constexpr const char* op = "dropout";
  require_state(op, &state);
  require_floating(op, "x", x);
  require_probability(op, "p", p);
  const DType made = accumulate_dtype(x.dtype);
  const Array input = dense(x, made);
  mask = Array::empty(x.shape, DType::bool_);
  const double last = last_word(p);
  if (last < 0) {
    fill_into(1, mask);
    return cast(x, x.dtype);
  }
  Array y = Array::empty(x.shape, made);
  const DropoutArgs args{input.data, y.data, mask.ptr<bool>(), static_cast<std::uint32_t>(last),
                         p < 1 ? 1 / (1 - p) : 0};
  const auto fn = random_kernels(x.device).dropout[row_of(made)];
  const index n = x.size();
  draw(op, state, n, {&input, &state}, {&y, &mask, &state}, n, 2.0 * static_cast<double>(y.nbytes() + n),
       [=](const Stream& stream) {
         parallel_for(n, kChunk, [&](index begin, index end) { fn(stream, begin, end - begin, args); });
       });
  return dense(y, x.dtype);
}

Array dropout_backward(const Array& g, const Array& mask, double p) {
  constexpr const char* op = "dropout_backward";
  require_floating(op, "g", g);
  require_dtype(op, "mask", mask, DType::bool_, "");
  require_shape(op, "mask", mask, g.shape, " (shape of 'g')");
  require_probability(op, "p", p);
  const DType made = accumulate_dtype(g.dtype);
  const Array input = dense(g, made), kept = dense(mask);
  Array out = Array::empty(g.shape, made);
  const auto fn = random_kernels(g.device).masked[row_of(made)];
  const double scale = p < 1 ? 1 / (1 - p) : 0;
  const index n = g.size(), size = item_size(made);
  const bool* m = kept.ptr<bool>();
  const char* from = input.ptr<char>();
  char* to = out.ptr<char>();
  if (n > 0) {
    launch(op, Work{static_cast<double>(n), static_cast<double>(2 * out.nbytes() + n)}, {&input, &kept}, {&out}, [=] {
      parallel_for(n, kChunk, [&](index begin, index end) {
        fn(m + begin, from + begin * size, scale, to + begin * size, end - begin);
      });
    });
  }
  return dense(out, g.dtype);
}

}  // namespace mlext
