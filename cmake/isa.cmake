# The ISA levels, best last. This list is the only one: the compiler flags of every *.simd.cpp and the run-time CPU check
# are both generated from it, so they cannot drift apart. A feature is a gcc/clang -m<feature> name that
# csrc/core/cpu_features.cpp knows by the same name.
#
# A level LIKE another has instructions that no kernel is written for yet: it runs the kernels of the other, and nothing
# is compiled twice.
set(MLEXT_X86_V3   avx avx2 fma f16c bmi bmi2 lzcnt movbe popcnt)
set(MLEXT_AVX512   ${MLEXT_X86_V3} avx512f avx512bw avx512dq avx512vl)

set(MLEXT_LEVELS)    # all of them
set(MLEXT_COMPILED)  # those that kernels are compiled for
function(mlext_level name)
  cmake_parse_arguments(arg "X86" "LIKE" "FLAGS;FEATURES" ${ARGN})
  if(arg_X86 AND NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    return()
  endif()
  list(TRANSFORM arg_FEATURES PREPEND "-m" OUTPUT_VARIABLE flags)
  set(MLEXT_LEVELS ${MLEXT_LEVELS} ${name} PARENT_SCOPE)
  if(NOT arg_LIKE)
    set(arg_LIKE ${name})
    set(MLEXT_COMPILED ${MLEXT_COMPILED} ${name} PARENT_SCOPE)
  endif()
  set(MLEXT_KERNELS_${name} ${arg_LIKE} PARENT_SCOPE)
  set(MLEXT_FLAGS_${name} ${flags} ${arg_FLAGS} PARENT_SCOPE)
  string(REPLACE ";" " " features "${arg_FEATURES}")
  set(MLEXT_FEATURES_${name} "${features}" PARENT_SCOPE)
endfunction()

mlext_level(portable)
mlext_level(avx2        X86 FEATURES ${MLEXT_X86_V3})
mlext_level(avx512      X86 FEATURES ${MLEXT_AVX512} FLAGS -mprefer-vector-width=512)
mlext_level(avx512_bf16 X86 FEATURES ${MLEXT_AVX512} avx512vnni avx512bf16 LIKE avx512)

# Writes isa_levels.h: MLEXT_FOR_EACH_LEVEL(X, ...) calls X(level, "features", kernels, ...) for every level of this build;
# `kernels` is the level whose kernels it runs.
set(rows "")
foreach(level IN LISTS MLEXT_LEVELS)
  string(APPEND rows " \\\n  X(${level}, \"${MLEXT_FEATURES_${level}}\", ${MLEXT_KERNELS_${level}} __VA_OPT__(,) __VA_ARGS__)")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/generated/isa_levels.h CONTENT
"// Generated from cmake/isa.cmake.
#pragma once
#define MLEXT_FOR_EACH_LEVEL(X, ...)@rows@
" @ONLY)
