// Attention over arrays: checked, launched. attention.h has the formulas and the layout.
#pragma once

#include <algorithm>
#include <limits>

#include "core/array.h"
#include "kernels/attention/attention.h"
#include "kernels/random/random.h"

namespace mlext {

// Null means absent.
struct AttentionInputs {
  const Array *q, *k, *v;
  const Array *k_scale, *v_scale;  // (N, Tk, G) if k and v are bytes
  const Array* mask;               // bool, or of q's dtype, broadcast to (N, H, Tq, Tk)
  const Array* slopes;             // (H)
  const Array* lengths;            // (N), keys of each sequence
  const Array* offsets;  // (B + 1): sequence b is steps offsets[b] to offsets[b + 1] of the one row of q, k and v
};
struct AttentionOptions {
  double scale, cap, dropout;
  bool bottom_right;
  index left, right;  // kUnbounded: no limit
  bool saves;
};
inline constexpr index kUnbounded = std::numeric_limits<index>::max() / 4;

// stats (N, H, Tq, 2) and `drawn`, the stream of random numbers, are for a gradient, and empty if that is not wanted. `state`: of
// the generator, or null without dropout.
struct Attended {
  Array out, stats, drawn;
};
Attended attention(const AttentionInputs& in, const Array* state, const AttentionOptions& options);

struct AttentionGradients {
  Array q, k, v;
};
AttentionGradients attention_gradient(const AttentionInputs& in, const Array& g, const Attended& left,
                                      const AttentionOptions& options);

namespace attention_detail {

// A (N, T, H, D) array, features last and contiguous.
struct Operand {
  void* data;
  index batch, step, head;

  index at(index n, index t, index h) const { return n * batch + t * step + h * head; }
};

// Steps of q and of k that belong together.
struct Segment {
  index batch, q_first, queries, k_first, keys;
};
struct Span {
  index first, last;
  index size() const { return last - first; }
};

constexpr double kLog2e = 1.4426950408889634;

struct Problem {
  Device device;
  DType dtype;     // of q and the result
  DType kv_dtype;  // the same, or int8
  index batches, queries, keys, heads, groups, width, v_width;
  Operand q, k, v, out;
  Operand k_scale, v_scale;  // of bytes
  void* stats;
  double scale, cap;
  bool bottom_right;
  index left, right;
  const void* slopes;
  const void* mask;  // bool if it hides, else of the type that is computed in
  bool hides;
  index mask_batch, mask_head, mask_row;
  const std::int64_t *lengths, *offsets;
  index sequences;  // as many as lengths or offsets tell, or batches
  double dropout;

  index heads_each() const { return heads / groups; }
  Segment segment(index b) const {
    if (offsets == nullptr)
      return {b, 0, queries, 0, lengths != nullptr ? std::clamp<index>(lengths[b], 0, keys) : keys};
    const index first = std::clamp<index>(offsets[b], 0, queries),
                last = std::clamp<index>(offsets[b + 1], first, queries);
    return {0, first, last - first, first, last - first};
  }
  index shift(const Segment& segment) const { return bottom_right ? segment.keys - segment.queries : 0; }
  // Keys that query i of a segment may see.
  Span seen(const Segment& segment, index i) const {
    const index own = i + shift(segment), first = std::clamp<index>(own - left, 0, segment.keys);
    return {first, std::clamp<index>(own + right + 1, first, segment.keys)};
  }
  // Whether scores are more than scaled products.
  bool alters() const { return cap != 0 || slopes != nullptr || mask != nullptr || !(scale > 0); }
  // What scores are multiplied with, to count in powers of two.
  double factor() const { return alters() ? kLog2e : kLog2e * scale; }
  double keep_scale() const { return dropout < 1 ? 1 / (1 - dropout) : 0; }
  double flops() const {
    const double pairs = static_cast<double>(batches * heads * queries) * static_cast<double>(keys);
    return 2 * pairs * static_cast<double>(width + v_width) * (left < keys || right < keys ? 0.5 : 1);
  }
};

}  // namespace attention_detail
}  // namespace mlext
