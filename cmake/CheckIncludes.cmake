# SPDX-License-Identifier: BSD-3-Clause
# Fails if a file includes, directly or not, one of the named headers, which take
# too long to compile.
#   cmake -D source=FILE -D compiler=PATH -D standard=N -D includes=DIR,DIR,...
#         -D forbidden=HEADER,HEADER,... -P CheckIncludes.cmake

string(REPLACE "," ";" includes "${includes}")
string(REPLACE "," ";" forbidden "${forbidden}")
list(TRANSFORM includes PREPEND -I)
execute_process(
  COMMAND "${compiler}" -std=c++${standard} ${includes} -M "${source}"
  OUTPUT_VARIABLE read
  ERROR_VARIABLE errors
  RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${compiler} -M ${source}: ${result}\n${errors}")
endif()
if(NOT read MATCHES "/ATen/core/Tensor\\.h")
  message(FATAL_ERROR "No ATen/core/Tensor.h in the list:\n${read}")
endif()
foreach(header IN LISTS forbidden)
  string(FIND "${read}" "/${header}" found)
  if(NOT found EQUAL -1)
    message(SEND_ERROR "${source} draws in ${header}")
  endif()
endforeach()
