# SPDX-License-Identifier: BSD-3-Clause
# Runs a program and compares its output with its source: with the lines after
# "// Output:" that start with "//   ". There, three dots match any text.
#   cmake -D executable=FILE -D source=FILE -P CheckOutput.cmake

file(READ "${source}" text)
if(NOT text MATCHES "\n// Output:\n((//[^\n]*\n)+)")
  message(FATAL_ERROR "${source} has no `// Output:` with its expected output")
endif()
string(REGEX REPLACE "(^|\n)//  ?( ?)" "\\1" expected "${CMAKE_MATCH_1}")
string(REGEX REPLACE "(^|\n)//(\n|$)" "\\1\\2" expected "${expected}")
string(STRIP "${expected}" expected)

execute_process(
  COMMAND "${executable}"
  OUTPUT_VARIABLE output
  ERROR_VARIABLE errors
  RESULT_VARIABLE result)
string(REGEX REPLACE "[ \t]+\n" "\n" output "${output}\n")
string(STRIP "${output}" output)

# The expected text as a regular expression. In "0....", the last three dots match
# any text.
string(REGEX REPLACE "\\.\\.\\.([^.]|$)" "<anything>\\1" pattern "${expected}")
string(REGEX REPLACE "([][+.*?()^$\\|])" "\\\\\\1" pattern "${pattern}")
string(REPLACE "<anything>" ".*" pattern "${pattern}")
message("${output}\n${errors}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${executable} ended with ${result}")
elseif(NOT output MATCHES "^${pattern}$")
  message("${source} says:\n${expected}")
  message(FATAL_ERROR "The output differs from the one in the source.")
endif()
