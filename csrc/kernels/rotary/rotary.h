// Rotary position embedding: pairs of features turned by an angle that belongs to the position.
//
//   y1 = x1 cos - x2 sin,   y2 = x2 cos + x1 sin
//
// Half-split: pairs (i, i + P) for i < P; interleaved: pairs (2 i, 2 i + 1). Features from 2 P on pass as they are. The
// gradient is the same turn by the opposite angle. Half types compute in float32, C below.
#pragma once

#include "core/types.h"

namespace mlext {

// Positions of one sequence, all heads of each; steps in elements, features of a head side by side.
struct RotaryArgs {
  const void* x;
  const void *cos, *sin;  // (positions, pairs) of C
  void* out;
  index positions, heads, features, pairs;
  index position_step, head_step;  // of x; out is dense
  bool opposite;                   // turns by -angle
};

struct RotaryKernels {
  void (*turn[2][kDTypes])(const RotaryArgs&);  // [interleaved]
};

// ---- driver ---------------------------------------------------------------------------------------------------------

struct RotaryOptions {
  bool interleaved, opposite;
};
// x (N, T, H, D) of any strides but that of the last axis (which is made 1 by a copy). cos and sin (T, P) or (N, T, P) of
// C, 2 P <= D. The result is dense.
Array rotary(const Array& x, const Array& cos, const Array& sin, RotaryOptions options);

}  // namespace mlext
