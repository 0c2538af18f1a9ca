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
