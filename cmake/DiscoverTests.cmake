# SPDX-License-Identifier: BSD-3-Clause
# Runs after each link of a test executable. It asks the executable for its cases
# and writes the commands that CTest includes.
#   cmake -D executable=FILE -D area=NAME -D list=FILE -D catch=VERSION -P ...

if(catch VERSION_LESS 3)
  set(arguments --list-test-names-only)
else()
  set(arguments --list-tests --verbosity quiet)
endif()
execute_process(
  COMMAND "${CMAKE_COMMAND}" -E env OMP_NUM_THREADS=1 "${executable}"
          ${arguments}
  OUTPUT_VARIABLE output
  ERROR_VARIABLE errors
  RESULT_VARIABLE result)
# The exit status of Catch2 2 is the number of cases.
if(NOT result MATCHES "^[0-9]+$" OR (catch VERSION_GREATER_EQUAL 3
                                     AND NOT result EQUAL 0))
  message(FATAL_ERROR "${executable} cannot list its cases: ${result}\n"
                      "${output}${errors}")
endif()

# Each line is a name. Brackets and semicolons must not be changed by CMake's
# lists.
string(REPLACE "[" "<bracket-open>" output "${output}")
string(REPLACE "]" "<bracket-close>" output "${output}")
string(REPLACE ";" "<semicolon>" output "${output}")
string(REPLACE "\n" ";" lines "${output}")
set(script "")
set(count 0)
foreach(line IN LISTS lines)
  string(STRIP "${line}" name)
  if(name STREQUAL "")
    continue()
  endif()
  string(REPLACE "<bracket-open>" "[" name "${name}")
  string(REPLACE "<bracket-close>" "]" name "${name}")
  string(REPLACE "<semicolon>" ";" name "${name}")
  # The name as a test specification, in which these characters have a meaning.
  set(spec "${name}")
  foreach(character IN ITEMS "\\" "," "[" "]")
    string(REPLACE "${character}" "\\${character}" spec "${spec}")
  endforeach()
  string(
    APPEND
    script
    "add_test([==[${area}: ${name}]==] [==[${executable}]==] [==[${spec}]==])\n"
    "set_tests_properties([==[${area}: ${name}]==] PROPERTIES\n"
    "  LABELS [==[${area}]==] TIMEOUT 900\n"
    "  SKIP_REGULAR_EXPRESSION [==[cyborg-test-skipped: ]==]\n"
    "  ENVIRONMENT [==[OMP_NUM_THREADS=1]==])\n")
  math(EXPR count "${count} + 1")
endforeach()
if(count EQUAL 0)
  message(FATAL_ERROR "${executable} holds no cases:\n${output}${errors}")
endif()
file(WRITE "${list}" "${script}")
