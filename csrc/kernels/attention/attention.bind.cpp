#include "kernels/attention/problem.h"

#include "bind/door.h"
#include "bind/families.h"

namespace mlext {
namespace {

using AttentionResult = std::tuple<Array, Array, Array>;

AttentionResult attention_door(const Array& q, const Array& k, const Array& v, const Array* mask, const Array* alibi,
                               const Array* lengths, const Array* offsets, const Array* k_scale, const Array* v_scale,
                               const Array* state, double scale, double soft_cap, double dropout_p, bool bottom_right,
                               index left, index right, bool saves) {
  const Attended done = attention({&q, &k, &v, k_scale, v_scale, mask, alibi, lengths, offsets}, state,
                                  {scale, soft_cap, dropout_p, bottom_right, left, right, saves});
  return {done.out, or_nothing(done.stats, DType::float32), or_nothing(done.drawn, DType::int64)};
}

AttentionResult attention_gradient_door(const Array& g, const Array& q, const Array& k, const Array& v,
                                        const Array& out, const Array& stats, const Array& drawn, const Array* mask,
                                        const Array* alibi, const Array* lengths, const Array* offsets, double scale,
                                        double soft_cap, double dropout_p, bool bottom_right, index left, index right) {
  const AttentionGradients found =
      attention_gradient({&q, &k, &v, nullptr, nullptr, mask, alibi, lengths, offsets}, g, {out, stats, drawn},
                         {scale, soft_cap, dropout_p, bottom_right, left, right, true});
  return {found.q, found.k, found.v};
}

}  // namespace

void bind_attention(py::module_& m) {
  door<&attention_door>(m, "attention",
                        {"q", "k", "v", "mask", "alibi", "lengths", "offsets", "k_scale", "v_scale", "state", "scale",
                         "soft_cap", "dropout_p", "bottom_right", "left", "right", "saves"},
                        "(out, stats, drawn) of softmax attention; the last two are what a gradient needs.");
  door<&attention_gradient_door>(m, "attention_gradient",
                                 {"g", "q", "k", "v", "out", "stats", "drawn", "mask", "alibi", "lengths", "offsets",
                                  "scale", "soft_cap", "dropout_p", "bottom_right", "left", "right"},
                                 "(gq, gk, gv) of softmax attention.");
}

}  // namespace mlext
