#include "core/loop.h"

namespace mlext {

void Loop::add(const Array& a, const Dims& target) {
  if (operands == 0) {
    rank = target.rank;
    for (int i = 0; i < rank; ++i) shape[i] = target[i];
  }
  const int shift = target.rank - a.rank();
  for (int i = 0; i < target.rank; ++i) {
    const bool broadcast = i < shift || a.shape[i - shift] == 1;
    step[operands][i] = broadcast ? 0 : a.strides[i - shift];
  }
  itemsize[operands++] = item_size(a.dtype);
}

void Loop::collapse() {
  int kept = 0;
  for (int i = 0; i < rank; ++i) {
    if (shape[i] == 1) continue;
    bool joins = kept > 0;
    for (int o = 0; joins && o < operands; ++o) joins = step[o][kept - 1] == step[o][i] * shape[i];
    const int to = joins ? kept - 1 : kept++;
    shape[to] = joins ? shape[to] * shape[i] : shape[i];
    for (int o = 0; o < operands; ++o) step[o][to] = step[o][i];
  }
  if (kept == 0) {
    shape[0] = 1;
    // One element: any step serves, and 1 keeps it off the strided path.
    for (int o = 0; o < operands; ++o) step[o][0] = 1;
    kept = 1;
  }
  rank = kept;
}

index Loop::outer() const {
  index n = 1;
  for (int i = 0; i < rank - 1; ++i) n *= shape[i];
  return n;
}

index Loop::offset(int o, index at) const {
  index elements = 0;
  for (int i = rank - 2; i >= 0; --i) {
    elements += at % shape[i] * step[o][i];
    at /= shape[i];
  }
  return elements * itemsize[o];
}

}  // namespace mlext
