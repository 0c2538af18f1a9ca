# SPDX-License-Identifier: BSD-3-Clause
# What to build. Everything is on when cyborg is the project being built, and
# off when it is a part of another one.

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
