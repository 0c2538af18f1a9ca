# SPDX-License-Identifier: BSD-3-Clause
# As a part of another project, cyborg adds its target and nothing else.

foreach(option IN ITEMS BUILD_TESTS BUILD_EXAMPLES BUILD_BENCHMARKS BUILD_DOCS
                        INSTALL)
  if(CYBORG_${option})
    message(FATAL_ERROR "CYBORG_${option} is on within another project")
  endif()
endforeach()
if(TARGET cyborg_warnings)
  message(FATAL_ERROR "the warnings of cyborg are seen by another project")
endif()
foreach(property IN ITEMS COMPILE_OPTIONS COMPILE_DEFINITIONS PRECOMPILE_HEADERS)
  get_target_property(value cyborg INTERFACE_${property})
  if(value)
    message(FATAL_ERROR "cyborg hands on INTERFACE_${property}: ${value}")
  endif()
endforeach()
