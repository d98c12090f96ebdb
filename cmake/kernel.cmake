# mlext_kernel(<family>): which file of csrc/kernels/<family>/ goes into which target.
#   <f>.cpp and further *.cpp                 into the extension, compiled once with the baseline
#   *.bind.cpp                                into mlext_bind, the part of the extension that knows Python
#   *.simd.cpp                                into one object library per ISA level that has its own, compiled with
#                                             that level's flags
function(mlext_kernel family)
  set(dir ${CMAKE_CURRENT_SOURCE_DIR}/csrc/kernels/${family})
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cpp)
  foreach(source IN LISTS sources)
    if(source MATCHES "([^/]*)\\.simd\\.cpp$")
      set(name ${CMAKE_MATCH_1})
      foreach(level IN LISTS MLEXT_COMPILED)
        mlext_kernels_of(${name} ${level} kernels)
        if(kernels STREQUAL level)
          target_sources(mlext_${level} PRIVATE ${source})
        endif()
      endforeach()
    elseif(source MATCHES "\\.bind\\.cpp$")
      target_sources(mlext_bind PRIVATE ${source})
    else()
      target_sources(_C PRIVATE ${source})
    endif()
  endforeach()
endfunction()
