# SPDX-License-Identifier: BSD-3-Clause
# Compiles each header alone, with our warnings, like a user who includes nothing
# else. A header that lacks an include does not compile.
#
# Half of the headers reach <torch/types.h>, which takes most of their compile
# time, so these share a precompiled one. The check is still complete. Such a
# header includes <torch/types.h> itself, or through a header that is checked, too.
# A header of cyborg that comes before that include does not reach
# <torch/types.h>, and so it is compiled here without it. Headers that only include
# others are left out: they compile if the others do.

include("${CMAKE_CURRENT_LIST_DIR}/IncludeGraph.cmake")
set(_cyborg_headers ${CYBORG_HEADERS})
list(TRANSFORM _cyborg_headers REPLACE "^include/" "")
cyborg_read_includes("${PROJECT_SOURCE_DIR}/include" ${_cyborg_headers})

set(_cyborg_light "")
set(_cyborg_heavy "")
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
  if("torch/types.h" IN_LIST reaches_${header})
    list(APPEND _cyborg_heavy "${source}")
  else()
    list(APPEND _cyborg_light "${source}")
  endif()
endforeach()

add_library(cyborg_headers_alone OBJECT ${_cyborg_light})
add_library(cyborg_headers_after_torch OBJECT ${_cyborg_heavy})
target_precompile_headers(cyborg_headers_after_torch PRIVATE <torch/types.h>)
foreach(target IN ITEMS cyborg_headers_alone cyborg_headers_after_torch)
  target_link_libraries(${target} PRIVATE cyborg cyborg_stb cyborg_warnings)
  target_compile_options(${target} PRIVATE -O0 -g0)
  set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
  if(TARGET cyborg::distributed)
    target_link_libraries(${target} PRIVATE cyborg::distributed)
  endif()
endforeach()
