# SPDX-License-Identifier: BSD-3-Clause
# ccache where there is one. The sloppiness lets it cache what uses a precompiled
# header; it would skip those files otherwise.

find_program(CYBORG_CCACHE ccache)
mark_as_advanced(CYBORG_CCACHE)
if(CYBORG_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND}" -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      "${CYBORG_CCACHE}")
endif()
