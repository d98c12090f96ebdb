#include "kernels/rotary/rotary.h"

#include "bind/door.h"
#include "bind/families.h"

namespace mlext {
namespace {

Array rotary_door(const Array& x, const Array& cos, const Array& sin, bool interleaved, bool opposite) {
  return rotary(x, cos, sin, {interleaved, opposite});
}

}  // namespace

void bind_rotary(py::module_& m) {
  door<&rotary_door>(m, "rotary", {"x", "cos", "sin", "interleaved", "opposite"},
                     "Pairs of features turned by the angles of their positions, or by the opposite angles.");
}

}  // namespace mlext
