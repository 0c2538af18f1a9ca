# SPDX-License-Identifier: BSD-3-Clause
# The target cyborg::distributed, which a program of several processes links
# instead of cyborg::cyborg. It adds Gloo's headers and the definition
# CYBORG_WITH_DISTRIBUTED, with which <cyborg/train/gloo.hpp> and
# <cyborg/train/nccl.hpp> are not empty.
#
# It needs a LibTorch with Gloo, and Gloo's headers (Debian: libgloo-dev).
# LibTorch contains Gloo's library, but not its headers. If one is missing,
# there is no such target, and programs run as one process. Our own build and
# the installed package include this file.

set(CYBORG_WITH_DISTRIBUTED AUTO
    CACHE STRING "Whether to make the target cyborg::distributed: ON, OFF, or \
AUTO, which makes it if LibTorch and Gloo's headers allow it")
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
    set(_cyborg_missing "this LibTorch was built without Gloo")
  elseif(NOT CYBORG_GLOO_INCLUDE)
    set(_cyborg_missing "gloo/algorithm.h was not found (Debian: libgloo-dev; \
CYBORG_GLOO_INCLUDE names its folder)")
  else()
    set(_cyborg_missing "")
    add_library(cyborg::distributed INTERFACE IMPORTED GLOBAL)
    target_link_libraries(cyborg::distributed INTERFACE cyborg::cyborg)
    target_compile_definitions(cyborg::distributed
                               INTERFACE CYBORG_WITH_DISTRIBUTED)
    target_include_directories(cyborg::distributed SYSTEM
                               INTERFACE "${CYBORG_GLOO_INCLUDE}")
  endif()
  if(_cyborg_missing AND NOT CYBORG_WITH_DISTRIBUTED STREQUAL "AUTO")
    message(FATAL_ERROR "CYBORG_WITH_DISTRIBUTED: ${_cyborg_missing}")
  elseif(_cyborg_missing AND PROJECT_NAME STREQUAL "cyborg"
         AND PROJECT_IS_TOP_LEVEL)
    message(STATUS "No target cyborg::distributed: ${_cyborg_missing}")
  endif()
endif()
