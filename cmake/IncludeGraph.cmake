# SPDX-License-Identifier: BSD-3-Clause
# What the headers of the library include, read from their text.
#
# cyborg_read_includes(<folder> <header>...)
#     For each header, a path below <folder> such as cyborg/cam/hook.hpp, sets
#       includes_<header>   the headers that it includes itself
#       reaches_<header>    all that it includes, directly or through headers of
#                           cyborg (not through those of other libraries)
#     in the caller. Names of other libraries stay as they are written.

# The headers of <header> and of all that it includes; each is visited once.
function(_cyborg_reach header out)
  set(open "${header}")
  set(seen "")
  while(open)
    list(POP_FRONT open next)
    foreach(include IN LISTS includes_${next})
      if(NOT include IN_LIST seen)
        list(APPEND seen "${include}")
        list(APPEND open "${include}")
      endif()
    endforeach()
  endwhile()
  set(${out} "${seen}" PARENT_SCOPE)
endfunction()

# Fails for an include that the rules could not see: one in quotation marks (a
# path that begins at the including file), or one that is not plain text between
# angle brackets.
function(cyborg_read_includes folder)
  foreach(header IN LISTS ARGN)
    # Brackets would join lines in CMake's lists.
    file(READ "${folder}/${header}" text)
    string(REGEX REPLACE "[][;]" "_" text "${text}")
    string(REGEX MATCHALL "\n[ \t]*#[ \t]*include[^\n]*" lines "\n${text}")
    set(includes_${header} "")
    foreach(line IN LISTS lines)
      if(NOT line MATCHES "#[ \t]*include[ \t]*<([^>]+)>")
        string(STRIP "${line}" line)
        message(SEND_ERROR "${header} has `${line}`: expected `#include <...>`")
        continue()
      endif()
      list(APPEND includes_${header} "${CMAKE_MATCH_1}")
    endforeach()
    set(includes_${header} "${includes_${header}}" PARENT_SCOPE)
  endforeach()
  foreach(header IN LISTS ARGN)
    _cyborg_reach("${header}" reached)
    set(reaches_${header} "${reached}" PARENT_SCOPE)
  endforeach()
endfunction()
