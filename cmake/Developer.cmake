# SPDX-License-Identifier: BSD-3-Clause
# What only those who work on cyborg need: never seen by a user's project.

option(CYBORG_WARNINGS_AS_ERRORS "Stop at a warning" ${PROJECT_IS_TOP_LEVEL})

option(CYBORG_TEST_CONSUMERS "Test that other projects can use cyborg"
       ${PROJECT_IS_TOP_LEVEL})

include(cmake/Warnings.cmake)
include(cmake/Ccache.cmake)
include(cmake/Packages.cmake)

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
if(CYBORG_BUILD_TESTS)
  include(CTest)
endif()

# clang-tidy reads headers through the files that include them: one file includes
# all, where the tests are off.
if(CMAKE_CXX_CLANG_TIDY)
  add_library(cyborg_tidy OBJECT tests/link/two.cpp)
  target_link_libraries(cyborg_tidy PRIVATE cyborg_programs cyborg_warnings)
endif()

# A file that is in no list would be forgotten without a word.
function(_cyborg_check_list list folder pattern)
  file(GLOB_RECURSE files RELATIVE "${folder}" "${folder}/${pattern}")
  file(READ "${list}" text)
  foreach(file IN LISTS files)
    if(NOT text MATCHES "[ /(]${file}[ \n)]")
      message(SEND_ERROR "${file} is not named in ${list}")
    endif()
  endforeach()
endfunction()
_cyborg_check_list("${PROJECT_SOURCE_DIR}/cmake/Headers.cmake"
                   "${PROJECT_SOURCE_DIR}/include" *.hpp)
_cyborg_check_list("${PROJECT_SOURCE_DIR}/tests/CMakeLists.txt"
                   "${PROJECT_SOURCE_DIR}/tests" test_*.cpp)
