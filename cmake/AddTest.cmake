# SPDX-License-Identifier: BSD-3-Clause
# cyborg_add_test(<area> SOURCES <file>... [LIBRARIES <target>...]
#                 [OPTIONS <flag>...])
#
# Makes the executable test_<area> and registers every case in it with CTest, as
# "<area>: <name of the case>". All areas share one precompiled header, except
# one that is compiled with flags of its own.

function(cyborg_add_test area)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES;OPTIONS")
  set(target test_${area})
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE cyborg_test_support cyborg_test_main
                                          ${arg_LIBRARIES})
  if(arg_OPTIONS)
    target_compile_options(${target} PRIVATE ${arg_OPTIONS})
  else()
    target_precompile_headers(${target} REUSE_FROM cyborg_test_pch)
  endif()

  # CTest reads a list of cases that each link of the executable writes anew.
  # (Debian 12's Catch.cmake does it only in part, and knows Catch2 2 only.)
  set(list "${CMAKE_CURRENT_BINARY_DIR}/${target}_cases.cmake")
  add_custom_command(
    TARGET ${target} POST_BUILD
    BYPRODUCTS "${list}"
    COMMAND
      "${CMAKE_COMMAND}" -D "executable=$<TARGET_FILE:${target}>" -D
      "area=${area}" -D "list=${list}" -D "catch=${Catch2_VERSION}" -P
      "${PROJECT_SOURCE_DIR}/cmake/DiscoverTests.cmake"
    VERBATIM)
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES
                                         "${list}.include.cmake")
  file(
    WRITE "${list}.include.cmake"
    "if(EXISTS [==[${list}]==])\n  include([==[${list}]==])\nelse()\n"
    "  add_test([==[${area}: not built]==] ${target}-not-built)\nendif()\n")
endfunction()
