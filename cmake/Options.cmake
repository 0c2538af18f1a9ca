# SPDX-License-Identifier: BSD-3-Clause
# What is built. By default everything is on if cyborg is the main project, and off
# if it is a part of another one.

option(CYBORG_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(CYBORG_BUILD_EXAMPLES "Build the examples and the demo"
       ${PROJECT_IS_TOP_LEVEL})
option(CYBORG_BUILD_BENCHMARKS "Build the benchmarks" ${PROJECT_IS_TOP_LEVEL})
option(CYBORG_BUILD_DOCS "Add the target `docs`" ${PROJECT_IS_TOP_LEVEL})
option(CYBORG_INSTALL "Add the install rules" ${PROJECT_IS_TOP_LEVEL})

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE
   AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, ..." FORCE)
endif()
