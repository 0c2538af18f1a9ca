# SPDX-License-Identifier: BSD-3-Clause
# Uses ccache if it is installed. Without these sloppiness settings it would not
# cache files that use a precompiled header.

find_program(CYBORG_CCACHE ccache)
mark_as_advanced(CYBORG_CCACHE)
if(CYBORG_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND}" -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      "${CYBORG_CCACHE}")
endif()
