# The ISA levels, best last. This list is the only one: the compiler flags of every *.simd.cpp and the run-time CPU check
# are both generated from it, so they cannot drift apart. A feature is a gcc/clang -m<feature> name that
# csrc/core/cpu_features.cpp knows by the same name.
#
# A level LIKE another runs the kernels of the other, except those of the <name>.simd.cpp that it lists as OWN: only
# what has use for its instructions is compiled again.
set(MLEXT_X86_V3   avx avx2 fma f16c bmi bmi2 lzcnt movbe popcnt)
set(MLEXT_AVX512   ${MLEXT_X86_V3} avx512f avx512bw avx512dq avx512vl)

set(MLEXT_LEVELS)    # all of them
set(MLEXT_COMPILED)  # those that some kernels are compiled for
set(MLEXT_OWNED)     # the names of which some level has its own, on whatever CPU
function(mlext_level name)
  cmake_parse_arguments(arg "X86" "LIKE" "FLAGS;FEATURES;OWN" ${ARGN})
  set(MLEXT_OWNED ${MLEXT_OWNED} ${arg_OWN} PARENT_SCOPE)
  if(arg_X86 AND NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    return()
  endif()
  list(TRANSFORM arg_FEATURES PREPEND "-m" OUTPUT_VARIABLE flags)
  set(MLEXT_LEVELS ${MLEXT_LEVELS} ${name} PARENT_SCOPE)
  if(arg_OWN OR NOT arg_LIKE)
    set(MLEXT_COMPILED ${MLEXT_COMPILED} ${name} PARENT_SCOPE)
  endif()
  set(MLEXT_OWN_${name} "${arg_OWN}" PARENT_SCOPE)
  set(MLEXT_LIKE_${name} "${arg_LIKE}" PARENT_SCOPE)
  set(MLEXT_FLAGS_${name} ${flags} ${arg_FLAGS} PARENT_SCOPE)
  string(REPLACE ";" " " features "${arg_FEATURES}")
  set(MLEXT_FEATURES_${name} "${features}" PARENT_SCOPE)
endfunction()

# The level whose kernels of <name>.simd.cpp a level runs.
function(mlext_kernels_of name level out)
  while(MLEXT_LIKE_${level} AND NOT name IN_LIST MLEXT_OWN_${level})
    set(level ${MLEXT_LIKE_${level}})
  endwhile()
  set(${out} ${level} PARENT_SCOPE)
endfunction()

mlext_level(portable)
mlext_level(avx2        X86 FEATURES ${MLEXT_X86_V3})
mlext_level(avx512      X86 FEATURES ${MLEXT_AVX512} FLAGS -mprefer-vector-width=512)
mlext_level(avx512_vnni X86 FEATURES ${MLEXT_AVX512} avx512vnni LIKE avx512 OWN qgemm machine FLAGS -mprefer-vector-width=512)
mlext_level(avx512_bf16 X86 FEATURES ${MLEXT_AVX512} avx512vnni avx512bf16 LIKE avx512_vnni OWN bgemm machine
            FLAGS -mprefer-vector-width=512)

# Writes isa_levels.h: MLEXT_FOR_EACH_LEVEL(X, ...) calls X(level, "features", kernels, ...) for every level of this build;
# `kernels` is the level whose kernels it runs. MLEXT_FOR_EACH_LEVEL_OF_<name> is the same for kernels that some level owns.
set(lists "")
foreach(name all ${MLEXT_OWNED})
  set(rows "")
  foreach(level IN LISTS MLEXT_LEVELS)
    mlext_kernels_of(${name} ${level} kernels)
    string(APPEND rows " \\\n  X(${level}, \"${MLEXT_FEATURES_${level}}\", ${kernels} __VA_OPT__(,) __VA_ARGS__)")
  endforeach()
  set(suffix "_OF_${name}")
  if(name STREQUAL all)
    set(suffix "")
  endif()
  string(APPEND lists "#define MLEXT_FOR_EACH_LEVEL${suffix}(X, ...)${rows}\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/generated/isa_levels.h CONTENT
"// Generated from cmake/isa.cmake.
#pragma once
@lists@" @ONLY)
