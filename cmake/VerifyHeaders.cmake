# SPDX-License-Identifier: BSD-3-Clause
# With CMAKE_VERIFY_INTERFACE_HEADER_SETS the target
# all_verify_interface_header_sets compiles each header alone, as a user would,
# but with our warnings. CMake makes that target in this folder once everything
# else is made: what is set here reaches it and nothing else.

get_target_property(_cyborg_options cyborg_warnings INTERFACE_COMPILE_OPTIONS)
add_compile_options(${_cyborg_options} -O0 -g0)
include_directories(SYSTEM "${CYBORG_STB_INCLUDE}")
if(TARGET cyborg::distributed)
  include_directories(SYSTEM "${CYBORG_GLOO_INCLUDE}")
  add_compile_definitions(CYBORG_WITH_DISTRIBUTED)
endif()
