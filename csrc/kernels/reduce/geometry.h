// Which elements a reduction visits: the axes of an array, split into kept and reduced ones and merged where memory allows.
#pragma once

#include "core/array.h"

namespace mlext {

// Marks of the reduced axes, and the shapes that follow from them.
struct ReducedAxes {
  bool reduced[kMaxRank] = {};
  index count = 1;  // elements per result
  Dims kept_dims;   // reduced axes have size 1
  Dims shape;       // as the caller wants it: with or without those
};

// `axes` null: all. IndexError for an axis out of range, ValueError for one given twice.
ReducedAxes check_axes(const char* op, const Array& x, const Dims* axes, bool keepdims);

struct Axis {
  index size, stride;
};

struct Geometry {
  int kept = 0, reduced = 0;
  Axis kept_axis[kMaxRank];     // in the array's order
  Axis reduced_axis[kMaxRank];  // largest stride first: the order of a reduction is ours to choose

  Geometry() = default;
  Geometry(const Array& x, const bool* is_reduced);
  void add_kept(Axis axis);
  // Joins reduced axes that memory crosses without a jump; at least one axis of size 1 remains.
  void merge_reduced();
  index outputs() const;
};

// One axis reduced by one kernel call per tile: see ReduceArgs for the two layouts.
struct Plan {
  bool columns;
  int rank;             // of the kept axes, at least 1
  Axis axis[kMaxRank];  // the innermost kept axis is the last
  index n, step;        // the reduced axis

  index inner() const { return axis[rank - 1].size; }
  index inner_stride() const { return axis[rank - 1].stride; }
  index outer() const;
  // Elements from the start to row `at` of the outer axes (row-major).
  index offset(index at) const;
};

// Takes one reduced axis out of `g`: a contiguous one if there is one. What stays of `g` describes the intermediate
// result, dense, with the remaining reduced axes outermost. False if no kernel fits: the caller makes a dense copy.
bool take_axis(Geometry& g, Plan& plan);

}  // namespace mlext
