# SPDX-License-Identifier: BSD-3-Clause
# The target cyborg::distributed: cyborg::cyborg for a program of several
# processes (cyborg/train/). What is needed: a LibTorch with Gloo, and Gloo's
# headers, which LibTorch does not bring and whose library it does (Debian:
# libgloo-dev). Without them there is no such target, and such a program runs as
# one process. Used by our own build and by an installed cyborg.

set(CYBORG_WITH_DISTRIBUTED AUTO
    CACHE STRING "The target cyborg::distributed: ON, OFF, or AUTO, where it can")
set_property(CACHE CYBORG_WITH_DISTRIBUTED PROPERTY STRINGS AUTO ON OFF)

if(CYBORG_WITH_DISTRIBUTED AND NOT TARGET cyborg::distributed)
  find_path(CYBORG_GLOO_INCLUDE gloo/algorithm.h)
  mark_as_advanced(CYBORG_GLOO_INCLUDE)
  set(_cyborg_definitions "")
  if(TARGET torch_cpu)
    get_target_property(_cyborg_definitions torch_cpu
                        INTERFACE_COMPILE_DEFINITIONS)
  endif()
  if(NOT "USE_C10D_GLOO" IN_LIST _cyborg_definitions)
    set(_cyborg_lacking "this LibTorch was built without Gloo")
  elseif(NOT CYBORG_GLOO_INCLUDE)
    set(_cyborg_lacking "gloo/algorithm.h was not found (Debian: libgloo-dev; \
CYBORG_GLOO_INCLUDE names its folder)")
  else()
    set(_cyborg_lacking "")
    add_library(cyborg::distributed INTERFACE IMPORTED GLOBAL)
    target_link_libraries(cyborg::distributed INTERFACE cyborg::cyborg)
    target_compile_definitions(cyborg::distributed
                               INTERFACE CYBORG_WITH_DISTRIBUTED)
    target_include_directories(cyborg::distributed SYSTEM
                               INTERFACE "${CYBORG_GLOO_INCLUDE}")
  endif()
  if(_cyborg_lacking AND NOT CYBORG_WITH_DISTRIBUTED STREQUAL "AUTO")
    message(FATAL_ERROR "CYBORG_WITH_DISTRIBUTED: ${_cyborg_lacking}")
  elseif(_cyborg_lacking AND PROJECT_NAME STREQUAL "cyborg"
         AND PROJECT_IS_TOP_LEVEL)
    message(STATUS "cyborg::distributed is left out: ${_cyborg_lacking}")
  endif()
endif()
