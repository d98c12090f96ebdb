#include "kernels/update/plan.h"

#include "core/error.h"
#include "kernels/elementwise/elementwise.h"

namespace mlext {
namespace {

// Names are made only for an error: formatting one costs more than updating a small tensor.
std::string entry_name(const UpdateList& list, index i) { return text(list.name, "[", i, "]"); }

// `first` has the dtype of the whole call, `target` the shape of the entry.
void check_entry(const char* op, const UpdateList& list, index i, const Array& first, const Array* target) {
  const Array* a = list.arrays[i];
  if (a == nullptr) refuse<TypeError>(op, entry_name(list, i).c_str(), "a Tensor", "None");
  if (a->dtype != first.dtype) {
    refuse<TypeError>(op, entry_name(list, i).c_str(), text(first.dtype, ", as the others"), a->dtype);
  }
  if (!(a->shape == target->shape)) {
    refuse(op, entry_name(list, i).c_str(), text("shape ", target->shape), a->shape);
  }
}

void check_written(const char* op, const UpdateList& list, index i, Access access) {
  const Array& a = *list.arrays[i];
  if (!a.buffer) {
    refuse<TypeError>(op, entry_name(list, i).c_str(), "a Tensor, because it is updated in place", "an ndarray");
  }
  if (a.buffer->read_only) require_writable(op, entry_name(list, i).c_str(), a);
  if (access == Access::update && a.size() > 0 && !a.is_dense()) {
    refuse(op, entry_name(list, i).c_str(), "row-major memory; make a copy with mlext.tensor()", "strides ", a.strides);
  }
}

void check_lists(const char* op, const UpdateList* lists, int count) {
  for (int k = 1; k < count; ++k) {
    if (lists[k].count != lists[0].count) {
      refuse(op, lists[k].name, text(lists[0].count, " entries, as many as '", lists[0].name, "' has"), lists[k].count);
    }
  }
}

const Array* first_of(const UpdateList& list) {
  for (index i = 0; i < list.count; ++i) {
    if (list.arrays[i] != nullptr) return list.arrays[i];
  }
  return nullptr;
}

}  // namespace

void PlannedLists::finish() const {
  for (const auto& [target, copy] : backs) cast_into(*copy, *target);
  for (const Array* out : outputs) out->written();
}

PlannedLists plan_lists(const char* op, const UpdateList* lists, int count, Access access) {
  check_lists(op, lists, count);
  PlannedLists out;
  const Array* first = first_of(lists[0]);
  if (first == nullptr) return out;
  if (first->dtype != DType::float32 && first->dtype != DType::float64) {
    refuse<TypeError>(op, lists[0].name, "dtype float32 or float64", first->dtype);
  }
  out.plan.dtype = first->dtype;
  auto absent = [&](index i) {
    if (count > 1 && lists[1].arrays[i] == nullptr) return true;
    return access != Access::update && lists[0].arrays[i] == nullptr;
  };
  auto written = [&](int k) { return access != Access::read && k != 1; };

  // Everything is checked before anything is copied or written.
  for (index i = 0; i < lists[0].count; ++i) {
    for (int k = 0; k < count && !absent(i); ++k) {
      check_entry(op, lists[k], i, *first, lists[0].arrays[i]);
      if (written(k)) check_written(op, lists[k], i, access);
    }
  }
  // Strided arrays are the exception; counted first, so that pointers into `kept` stay valid.
  std::size_t strided = 0;
  for (index i = 0; i < lists[0].count; ++i) {
    for (int k = 0; k < count && !absent(i); ++k) strided += !lists[k].arrays[i]->is_dense();
  }
  out.kept.reserve(strided);
  out.plan.segments.reserve(static_cast<std::size_t>(lists[0].count));
  out.inputs.reserve(static_cast<std::size_t>(count * lists[0].count + 4));
  out.outputs.reserve(static_cast<std::size_t>(count * lists[0].count + 4));
  for (index i = 0; i < lists[0].count; ++i) {
    if (absent(i) || lists[0].arrays[i]->size() == 0) continue;
    Segment segment{{}, out.plan.total};
    for (int k = 0; k < count; ++k) {
      const Array* a = lists[k].arrays[i];
      if (!a->is_dense()) {
        out.kept.push_back(dense(*a));
        if (written(k)) out.backs.push_back({a, &out.kept.back()});
        a = &out.kept.back();
      }
      segment.at[k] = a->data;
      out.inputs.push_back(a);
      if (written(k)) out.outputs.push_back(a);
    }
    out.plan.total += lists[0].arrays[i]->size();
    out.plan.segments.push_back(segment);
  }
  return out;
}

}  // namespace mlext
