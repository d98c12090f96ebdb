// Errors raised below Python. Each maps to the Python exception of the same name (bind/door.cpp).
// Text: "{op}: argument '{name}': expected {what}, got {what}".
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "core/types.h"

namespace mlext {

#define MLEXT_ERROR(Name)                    \
  class Name : public std::runtime_error {   \
   public:                                   \
    using std::runtime_error::runtime_error; \
  };
MLEXT_ERROR(TypeError)
MLEXT_ERROR(ValueError)
MLEXT_ERROR(IndexError)
MLEXT_ERROR(MemoryError)
MLEXT_ERROR(RuntimeError)
MLEXT_ERROR(FloatingPointError)
#undef MLEXT_ERROR

// Ctrl-C arrived inside a kernel: the host language already holds its own pending exception.
class Interrupted : public std::exception {};

std::ostream& operator<<(std::ostream& out, const Dims& dims);
std::ostream& operator<<(std::ostream& out, DType dtype);

// Everything printable, one after the other.
template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

[[noreturn]] inline void throw_type_error(const std::string& message) { throw TypeError(message); }
[[noreturn]] inline void throw_value_error(const std::string& message) { throw ValueError(message); }

// "softmax: argument 'x': expected ..., got ...".
template <class Exception = ValueError, class... Got>
[[noreturn]] void refuse(const char* op, const char* argument, const std::string& expected, const Got&... got) {
  throw Exception(text(op, ": argument '", argument, "': expected ", expected, ", got ", got...));
}

}  // namespace mlext
