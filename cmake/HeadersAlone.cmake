# SPDX-License-Identifier: BSD-3-Clause
# Compiles each header alone, with our warnings, like a user who includes nothing
# else. A header that lacks an include does not compile.
#
# LibTorch's headers take most of the time. So the headers that reach one of those
# listed below share a precompiled one, that of the first in the list. The check is
# still complete. Such a header includes LibTorch's header itself, or through a
# header that is checked, too. A header of cyborg that comes before that include does
# not reach it, and so it is compiled here without it. Headers that only include
# others are left out: they compile if the others do.

set(_cyborg_precompiled
    torch/types.h                  # all operators
    torch/csrc/autograd/function.h # nodes of autograd
    ATen/TensorOperators.h)        # tensors

include("${CMAKE_CURRENT_LIST_DIR}/IncludeGraph.cmake")
set(_cyborg_headers ${CYBORG_HEADERS})
list(TRANSFORM _cyborg_headers REPLACE "^include/" "")
cyborg_read_includes("${PROJECT_SOURCE_DIR}/include" ${_cyborg_headers})

foreach(header IN LISTS _cyborg_headers)
  file(STRINGS "${PROJECT_SOURCE_DIR}/include/${header}" code
       REGEX "^[^/#]*[a-z;{}]")
  if(NOT code AND NOT header STREQUAL "cyborg/version.hpp")
    continue()
  endif()
  string(REPLACE "/" "_" name "${header}")
  set(source "${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cpp")
  file(CONFIGURE OUTPUT "${source}" CONTENT
       "#include <${header}>\n#include <${header}>\n")
  set(group alone)
  set(precompiled "")
  foreach(other IN LISTS _cyborg_precompiled)
    if(other IN_LIST reaches_${header})
      cmake_path(GET other STEM stem)
      string(TOLOWER "after_${stem}" group)
      set(precompiled "<${other}>")
      break()
    endif()
  endforeach()
  if(NOT TARGET cyborg_headers_${group})
    add_library(cyborg_headers_${group} OBJECT)
    target_link_libraries(cyborg_headers_${group} PRIVATE cyborg cyborg_stb
                                                          cyborg_warnings)
    target_compile_options(cyborg_headers_${group} PRIVATE -O0 -g0)
    set_target_properties(cyborg_headers_${group} PROPERTIES UNITY_BUILD OFF)
    target_precompile_headers(cyborg_headers_${group} PRIVATE ${precompiled})
    if(TARGET cyborg::distributed)
      target_link_libraries(cyborg_headers_${group} PRIVATE cyborg::distributed)
    endif()
  endif()
  target_sources(cyborg_headers_${group} PRIVATE "${source}")
endforeach()
