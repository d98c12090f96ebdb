#include "kernels/ctc/ctc.h"

#include <tuple>

#include "bind/door.h"
#include "bind/families.h"
#include "kernels/softmax/labels.h"

namespace mlext {
namespace {

std::tuple<Array, Array> ctc_door(const Array& prediction, Indices target, const Array* input_lengths,
                                  const Array* target_lengths, index blank, bool zero_infinity,
                                  std::string_view reduction, bool with_gradient) {
  const CtcOptions options{blank, zero_infinity, parse_reduction("ctc", reduction), with_gradient};
  Array loss, gradient;
  ctc(prediction, target.array, input_lengths, target_lengths, options, loss, gradient);
  return {loss, gradient};
}

}  // namespace

void bind_ctc(py::module_& m) {
  door<&ctc_door>(m, "ctc",
                  {"prediction", "target", "input_lengths", "target_lengths", "blank", "zero_infinity", "reduction",
                   "with_gradient"},
                  "(loss, gradient of the scores), the gradient without elements unless wanted.");
}

}  // namespace mlext
