# SPDX-License-Identifier: BSD-3-Clause
# cyborg_add_test(<area> SOURCES <file>... [LIBRARIES <target>...]
#                 [OPTIONS <flag>...] [EACH_CASE])
#
# Makes the executable test_<area> and registers each of its files with CTest, as
# "<area>: <file without extension>". CTest runs all cases of a file in one
# process, because a process with LibTorch takes a third of a second to start; it
# prints the name and the time of each case (ctest -V, or the log of a failure).
# A case without an assertion fails. One case alone: bin/test_<area> "its name".
#
# With EACH_CASE, each case is a test of CTest's, "<area>: <name of the case>".
# This is for cases that may be skipped, because CTest shows only whole tests as
# skipped.
#
# All areas share one precompiled header, except those with OPTIONS.

function(cyborg_add_test area)
  cmake_parse_arguments(PARSE_ARGV 1 arg "EACH_CASE" ""
                        "SOURCES;LIBRARIES;OPTIONS")
  set(target test_${area})
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE cyborg_test_support cyborg_test_main
                                          ${arg_LIBRARIES})
  if(arg_OPTIONS)
    target_compile_options(${target} PRIVATE ${arg_OPTIONS})
  else()
    cyborg_use_precompiled_torch(${target})
  endif()
  if(arg_EACH_CASE)
    _cyborg_add_each_case(${area} ${target})
    return()
  endif()
  foreach(source IN LISTS arg_SOURCES)
    if(source MATCHES "^link/")
      continue() # no cases: a file that the cases use
    endif()
    cmake_path(GET source STEM file)
    add_test(NAME "${area}: ${file}"
             COMMAND ${target} --filenames-as-tags "[#${file}]~[.]" --durations
                     yes --warn NoAssertions)
    # Catch2 2 ends with 0 where it finds no case, but says so.
    set_tests_properties(
      "${area}: ${file}"
      PROPERTIES LABELS ${area} TIMEOUT 900 ENVIRONMENT OMP_NUM_THREADS=1
                 FAIL_REGULAR_EXPRESSION "No tests ran;No test cases matched")
  endforeach()
endfunction()

# Each link of the executable writes a list of its cases, which CTest reads.
# (docs/decisions/0002 says why Catch2's own function is not used.)
function(_cyborg_add_each_case area target)
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
