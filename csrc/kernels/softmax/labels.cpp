#include "kernels/softmax/labels.h"

namespace mlext {

Reduction parse_reduction(const char* op, std::string_view name) {
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  if (name == "none") return Reduction::none;
  refuse(op, "reduction", "'mean', 'sum' or 'none'", "'", name, "'");
}

void require_loss_gradient(const char* op, const Array& g, Reduction reduction, const Dims& shape) {
  require_shape(op, "g", g, reduction == Reduction::none ? shape : Dims(), " (shape of the loss)");
}

namespace {
template <class T>
void read_as(const Labels& labels, index* out) {
  const T* from = static_cast<const T*>(labels.data);
  for (index i = 0; i < labels.rows; ++i) {
    const index label = static_cast<index>(from[i]);
    const bool ignored = label == labels.ignore_index;
    if (!ignored && (label < 0 || label >= labels.classes)) {
      throw IndexError(text(labels.op, ": label ", label, " at position ", i, " is out of range for ", labels.classes,
                            labels.classes == 1 ? " class" : " classes"));
    }
    out[i] = ignored ? -1 : label;
  }
}
}  // namespace

void Labels::read(index* out) const {
  visit_dtype(dtype, [&]<class T>(Type<T>) {
    if constexpr (std::is_integral_v<T>) read_as<T>(*this, out);
  });
}

template <class C>
double weight_of_labels(const index* labels, index rows, const C* weight) {
  double total = 0;
  for (index i = 0; i < rows; ++i) {
    if (labels[i] >= 0) total += weight == nullptr ? 1.0 : static_cast<double>(weight[labels[i]]);
  }
  return total;
}
template double weight_of_labels(const index*, index, const float*);
template double weight_of_labels(const index*, index, const double*);

template <class C>
double ordered_sum(const C* x, index n) {
  double sums[4] = {};
  index i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int k = 0; k < 4; ++k) sums[k] += static_cast<double>(x[i + k]);
  }
  for (; i < n; ++i) sums[0] += static_cast<double>(x[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}
template double ordered_sum(const float*, index);
template double ordered_sum(const double*, index);

}  // namespace mlext
