// Vector math: elementary functions over Vec<float> and Vec<double>, the same source at every
// level.
//
// Promises, for every input: infinities, NaN, signed zeros and domain errors as in C's Annex F;
// subnormal inputs and results are right (no flushing); no calls, no tables that need gathers, no
// fast-math. The largest errors, in units in the last place, hold at every level, for float and for
// double; tests/test_simd.py states and checks the same numbers:
//
// clang-format off
//   exp    1.0 1.1    exp2   1.2 1.2    expm1     1.7 1.6    log        1.0 1.0    log2  1.5 1.5
//   log1p  1.2 1.2    tanh   1.7 1.7    sigmoid   1.9 1.9    erf        1.4 1.4    sin   1.0 1.0
//   cos    1.0 1.0    pow    1.3 1.3    softplus  1.7 1.7    normal_cdf 4.5 4.5    gelu  3.5 3.5
//   gelu_tanh  3.5 3.5
// clang-format on
//
// Coefficients: weighted least squares on Chebyshev nodes with Lawson's reweighting (close to
// minimax), solved in 45 digits; each coefficient was rounded to T in turn, lowest first, and the
// rest fitted again.
#pragma once

#include "simd/math_erf.h"
#include "simd/math_exp.h"
#include "simd/math_log.h"
#include "simd/math_pow.h"
#include "simd/math_trig.h"
