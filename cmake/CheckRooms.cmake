# SPDX-License-Identifier: BSD-3-Clause
# Checks which header includes which. The folders of include/cyborg are rooms, and
# includes go in one direction (docs/architecture.md draws it).
#   cmake -D include=FOLDER -P CheckRooms.cmake
# Fails and prints the two file names of each include that breaks one of these
# rules:
#   1. A room includes itself and the rooms listed for it below, nothing else.
#   2. The `detail` folder of a room is included from that room alone.
#   3. Only data/ and report/ reach stb. No header includes fmt, JSON or a library
#      for command lines.
#   4. cyborg.hpp includes every public header, except those that it names as
#      needing a newer LibTorch or c10d.
#   5. No header has more than 400 lines, and none lies directly in detail/.
#   6. No file of examples/, where that lies beside FOLDER, includes a `detail`
#      folder.

cmake_minimum_required(VERSION 3.25)
include("${CMAKE_CURRENT_LIST_DIR}/IncludeGraph.cmake")

# The rooms that each room may include.
set(room_io "")
set(room_detail/torch "")
set(room_maps detail/torch)
set(room_detail/kernels maps detail/torch)
set(room_human maps detail/torch)
set(room_cam maps detail/kernels detail/torch)
set(room_guide cam human maps detail/kernels detail/torch)
set(room_measure detail/torch)
set(room_data io human maps detail/torch)
set(room_report io maps data human detail/torch)
set(room_train io guide detail/torch)

# The room of a header, "" for cyborg.hpp and version.hpp.
function(room_of header out)
  if(header STREQUAL "cyborg/jit.hpp")
    set(room cam)
  elseif(header STREQUAL "cyborg/loss.hpp")
    set(room guide)
  elseif(header MATCHES "^cyborg/(detail/[^/]+)/")
    set(room "${CMAKE_MATCH_1}")
  elseif(header MATCHES "^cyborg/([^/]+)/")
    set(room "${CMAKE_MATCH_1}")
  elseif(header MATCHES "^cyborg/(cyborg|version)\\.hpp$")
    set(room "")
  else()
    set(room "(none)")
  endif()
  set(${out} "${room}" PARENT_SCOPE)
endfunction()

file(GLOB_RECURSE headers RELATIVE "${include}" "${include}/cyborg/*.hpp")
cyborg_read_includes("${include}" ${headers})

set(broken "")
foreach(header IN LISTS headers)
  room_of("${header}" room)
  if(header MATCHES "^cyborg/detail/[^/]*$")
    list(APPEND broken "${header} lies directly in detail/")
  elseif(NOT room STREQUAL "" AND NOT DEFINED room_${room})
    list(APPEND broken "${header} lies in a room without a rule: ${room}")
  endif()
  # CMake joins a line with an opening bracket to the next one in a list of lines.
  # So the line breaks of the text are counted.
  file(READ "${include}/${header}" text)
  string(REGEX REPLACE "[^\n]" "" breaks "${text}")
  string(LENGTH "${breaks}" count)
  if(count GREATER 400)
    list(APPEND broken "${header} has ${count} lines, expected 400 at most")
  endif()
  foreach(other IN LISTS includes_${header})
    if(other MATCHES "^cyborg/")
      room_of("${other}" other_room)
      set(owner "")  # the folder that a private header belongs to
      if(other MATCHES "^cyborg/(.+)/detail/")
        set(owner "${CMAKE_MATCH_1}")
      endif()
      if(NOT other IN_LIST headers)
        list(APPEND broken "${header} includes ${other}, which does not exist")
      elseif(NOT owner STREQUAL "" AND NOT header MATCHES "^cyborg/${owner}/")
        list(APPEND broken
             "${header} includes ${other}, which is private to ${owner}/")
      elseif(NOT room STREQUAL "" AND NOT room STREQUAL other_room
             AND NOT other_room STREQUAL "" AND NOT other_room IN_LIST
                                                room_${room})
        list(APPEND broken
             "${header} includes ${other}: ${room}/ may not include ${other_room}/"
        )
      elseif(other STREQUAL "cyborg/cyborg.hpp")
        list(APPEND broken "${header} includes ${other}, which includes everything")
      endif()
    endif()
  endforeach()
  if(header IN_LIST reaches_${header})
    list(APPEND broken "${header} includes itself, through other headers")
  endif()
  if(NOT room MATCHES "^(data|report)$" AND NOT header STREQUAL
                                            "cyborg/cyborg.hpp")
    foreach(other IN LISTS reaches_${header})
      if(other MATCHES "^stb[/_]")
        # Name the header of cyborg through which stb is reached.
        foreach(step IN LISTS includes_${header})
          if(step MATCHES "^stb[/_]" OR "${reaches_${step}}" MATCHES
                                      "(^|;)stb[/_]")
            list(APPEND broken "${header} includes ${step}, which needs stb")
          endif()
        endforeach()
        break()
      endif()
    endforeach()
  endif()
  foreach(other IN LISTS includes_${header})
    if(room STREQUAL "io" AND other MATCHES "/" AND NOT other MATCHES
       "^(cyborg/|c10/util/Exception.h$|sys/)")
      list(APPEND broken "${header} includes ${other}: io/ needs no LibTorch")
    elseif(other MATCHES "/|[.]hpp$" AND NOT other MATCHES
           "^(cyborg|torch|ATen|c10|caffe2|stb|gloo|sanitizer|sys)/")
      list(APPEND broken
           "${header} includes ${other}, which only programs may include")
    endif()
  endforeach()
endforeach()

set(left_out cyborg.hpp train/data_parallel.hpp train/distributed.hpp
             train/gloo.hpp train/nccl.hpp)
foreach(header IN LISTS headers)
  string(REGEX REPLACE "^cyborg/" "" name "${header}")
  if(NOT name MATCHES "detail/"
     AND NOT name IN_LIST left_out
     AND NOT header IN_LIST includes_cyborg/cyborg.hpp)
    list(APPEND broken "cyborg/cyborg.hpp does not include ${header}")
  endif()
endforeach()

file(GLOB_RECURSE programs RELATIVE "${include}/.." "${include}/../examples/*.?pp")
foreach(program IN LISTS programs)
  file(STRINGS "${include}/../${program}" private
       REGEX "^#include <cyborg/.*detail/")
  if(private)
    list(APPEND broken "${program}: ${private} is private to the library")
  endif()
endforeach()

list(LENGTH headers count)
if(count EQUAL 0)
  message(FATAL_ERROR "${include} has no headers: expected an absolute path")
endif()
if(broken)
  list(REMOVE_DUPLICATES broken)
  list(JOIN broken "\n  " lines)
  message(FATAL_ERROR "Includes that the rooms do not allow:\n  ${lines}")
endif()
message("${count} headers keep the rules of their rooms")
