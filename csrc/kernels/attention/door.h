// Attention at the door: checks, and what arrays become.
#pragma once

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "core/launch.h"
#include "kernels/attention/problem.h"
#include "kernels/elementwise/elementwise.h"

namespace mlext::attention_detail {

inline Operand operand_of(const Array& a) { return {a.data, a.strides[0], a.strides[1], a.strides[2]}; }

// Features of a head side by side.
inline Array with_features(const Array& a) { return a.strides[3] == 1 || a.shape[3] == 1 ? a : dense(a); }

// Inputs that fit each other, as kernels take them.
class Checked {
 public:
  Checked(const char* op, const AttentionInputs& in, const AttentionOptions& options) : op_(op), options_(options) {
    check_operands(in);
    q_ = with_features(*in.q), k_ = with_features(*in.k), v_ = with_features(*in.v);
    if (in.mask != nullptr) take_mask(*in.mask);
    if (in.slopes != nullptr) {
      require_floating(op, "alibi", *in.slopes);
      require_shape(op, "alibi", *in.slopes, {q_.shape[2]}, " (a slope for each head)");
      slopes_ = dense(*in.slopes, computed());
    }
    if (in.k_scale != nullptr) k_scale_ = *in.k_scale, v_scale_ = *in.v_scale;
    take_bounds(in);
    const auto finite = [&](const char* name, double x) {
      if (!std::isfinite(x)) refuse(op, name, "a finite number", x);
    };
    finite("scale", options.scale), finite("soft_cap", options.cap);
    if (options.cap < 0) refuse(op, "soft_cap", "a positive number, or None", options.cap);
    if (!(options.dropout >= 0 && options.dropout <= 1))
      refuse(op, "dropout_p", "a probability from 0 to 1", options.dropout);
    if (options.left < 0 || options.right < 0)
      refuse(op, "window", "steps to the left and to the right, 0 or more",
             text("(", options.left, ", ", options.right, ")"));
  }

  DType computed() const { return accumulate_dtype(q_.dtype); }
  Dims out_shape() const { return {q_.shape[0], q_.shape[1], q_.shape[2], v_.shape[3]}; }
  Dims stats_shape() const { return {q_.shape[0], q_.shape[2], q_.shape[1], 2}; }
  const Array& q() const { return q_; }
  const Array& k() const { return k_; }
  const Array& v() const { return v_; }

  Problem problem() const {
    Problem p{};
    p.device = q_.device;
    p.dtype = q_.dtype, p.kv_dtype = k_.dtype;
    p.batches = q_.shape[0], p.queries = q_.shape[1], p.heads = q_.shape[2], p.width = q_.shape[3];
    p.keys = k_.shape[1], p.groups = k_.shape[2], p.v_width = v_.shape[3];
    p.q = operand_of(q_), p.k = operand_of(k_), p.v = operand_of(v_);
    p.k_scale = operand_of(k_scale_), p.v_scale = operand_of(v_scale_);
    p.scale = options_.scale, p.cap = options_.cap, p.dropout = options_.dropout;
    p.bottom_right = options_.bottom_right;
    p.left = std::min(options_.left, kUnbounded), p.right = std::min(options_.right, kUnbounded);
    p.slopes = slopes_.data;
    p.mask = mask_.data, p.hides = mask_.dtype == DType::bool_;
    if (mask_.data != nullptr) {
      const Array seen = mask_.broadcast_to({p.batches, p.heads, p.queries, p.keys});
      p.mask_batch = seen.strides[0], p.mask_head = seen.strides[1], p.mask_row = seen.strides[2];
    }
    p.lengths = lengths_.data != nullptr ? lengths_.ptr<std::int64_t>() : nullptr;
    p.offsets = offsets_.data != nullptr ? offsets_.ptr<std::int64_t>() : nullptr;
    p.sequences = p.offsets != nullptr ? offsets_.shape[0] - 1 : p.batches;
    return p;
  }
  // Of so many times the products of the way there.
  Work work(double times) const {
    return {times * problem().flops(), times * static_cast<double>(q_.nbytes() + k_.nbytes() + v_.nbytes())};
  }
  std::vector<const Array*> inputs(std::initializer_list<const Array*> more) const {
    std::vector<const Array*> all{&q_,
                                  &k_,
                                  &v_,
                                  given(k_scale_),
                                  given(v_scale_),
                                  given(mask_),
                                  given(slopes_),
                                  given(lengths_),
                                  given(offsets_)};
    all.insert(all.end(), more);
    return all;
  }

 private:
  void check_operands(const AttentionInputs& in) const {
    const Array &q = *in.q, &k = *in.k, &v = *in.v;
    require_floating(op_, "q", q);
    if (in.k_scale != nullptr || in.v_scale != nullptr) {
      check_bytes(in);
    } else {
      require_same_dtype(op_, "k", k, "q", q);
      require_same_dtype(op_, "v", v, "q", q);
    }
    const auto rank = [&](const char* name, const Array& a, const char* shape) {
      if (a.rank() != 4) refuse(op_, name, text("4 dimensions ", shape), "shape ", a.shape);
    };
    rank("q", q, "(N, Tq, H, D)"), rank("k", k, "(N, Tk, H, D)"), rank("v", v, "(N, Tk, H, D)");
    if (q.shape[3] < 1) refuse(op_, "q", "at least one feature in a head", "shape ", q.shape);
    const index groups = k.shape[2];
    if (groups < 1 || q.shape[2] % groups != 0)
      refuse(op_, "k", text("a number of heads that divides the ", q.shape[2], " of q"), "shape ", k.shape);
    require_shape(op_, "k", k, {q.shape[0], k.shape[1], groups, q.shape[3]}, " (sequences and features as q has)");
    require_shape(op_, "v", v, {k.shape[0], k.shape[1], groups, v.shape[3]}, " (sequences, steps and heads as k has)");
  }

  void check_bytes(const AttentionInputs& in) const {
    const auto bytes = [&](const char* name, const Array& a, const char* scale_name, const Array* scale) {
      require_dtype(op_, name, a, DType::int8, " (it has a scale)");
      if (scale == nullptr)
        refuse<TypeError>(op_, scale_name, "what a step of bytes stands for, as for the other", "None");
      require_dtype(op_, scale_name, *scale, DType::float32, "");
      const Dims& of = a.shape;
      if (a.rank() == 4)
        require_shape(op_, scale_name, *scale, {of[0], of[1], of[2]}, " (one for each head of a step)");
    };
    bytes("k", *in.k, "k_scale", in.k_scale), bytes("v", *in.v, "v_scale", in.v_scale);
    if (accumulate_dtype(in.q->dtype) == DType::float64)
      refuse<TypeError>(op_, "q", "float32 or a half type with k of bytes", in.q->dtype);
  }

  // Rows of a mask are read whole: keys lie side by side.
  void take_mask(const Array& mask) {
    const Dims scores{q_.shape[0], q_.shape[2], q_.shape[1], k_.shape[1]};
    if (mask.dtype != DType::bool_) {
      if (!is_floating(mask.dtype)) refuse<TypeError>(op_, "mask", "bool or the dtype of 'q'", mask.dtype);
      require_same_dtype(op_, "mask", mask, "q", q_);
    }
    bool fits = mask.rank() <= 4;
    for (int i = 1; fits && i <= mask.rank(); ++i) {
      const index size = mask.shape[mask.rank() - i];
      fits = size == 1 || size == scores[4 - i];
    }
    if (!fits) refuse(op_, "mask", text("a shape that broadcasts to (N, H, Tq, Tk) = ", scores), mask.shape);
    Dims whole = mask.shape;
    if (whole.rank == 0) whole.push(1);
    whole[whole.rank - 1] = scores[3];
    const Array rows = mask.broadcast_to(whole);
    const DType kept = mask.dtype == DType::bool_ ? DType::bool_ : computed();
    mask_ = rows.dtype == kept && (rows.strides[whole.rank - 1] == 1 || scores[3] == 1) ? rows : dense(rows, kept);
  }

  void take_bounds(const AttentionInputs& in) {
    if (in.lengths != nullptr) {
      require_dtype(op_, "lengths", *in.lengths, DType::int64, "");
      require_shape(op_, "lengths", *in.lengths, {q_.shape[0]}, " (keys of each sequence)");
      lengths_ = dense(*in.lengths);
    }
    if (in.offsets == nullptr) return;
    require_dtype(op_, "offsets", *in.offsets, DType::int64, "");
    if (in.offsets->rank() != 1 || in.offsets->shape[0] < 1)
      refuse(op_, "offsets", "shape (B + 1), where each of B sequences begins, and the end", in.offsets->shape);
    if (q_.shape[0] != 1 || q_.shape[1] != k_.shape[1] || in.lengths != nullptr)
      refuse(op_, "offsets", "q and k with one row of as many steps, and no lengths",
             text("shapes ", q_.shape, " and ", k_.shape, in.lengths != nullptr ? " and lengths" : ""));
    offsets_ = dense(*in.offsets);
  }

  const char* op_;
  AttentionOptions options_;
  Array q_, k_, v_, k_scale_, v_scale_, mask_, slopes_, lengths_, offsets_;
};

}  // namespace mlext::attention_detail
