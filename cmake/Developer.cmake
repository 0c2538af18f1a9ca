# SPDX-License-Identifier: BSD-3-Clause
# What only developers of cyborg need. A user's project does not include it.

option(CYBORG_WARNINGS_AS_ERRORS "Stop at a warning" ${PROJECT_IS_TOP_LEVEL})

option(CYBORG_TEST_CONSUMERS "Test that other projects can use cyborg"
       ${PROJECT_IS_TOP_LEVEL})

option(CYBORG_CHECK_HEADERS "Compile each header alone" OFF)

include(cmake/Warnings.cmake)
include(cmake/Ccache.cmake)
include(cmake/Packages.cmake)

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
if(CYBORG_BUILD_TESTS)
  include(CTest)
endif()

# One precompiled <torch/torch.h> for tests and programs, which all include this
# header or a part of it.
file(CONFIGURE OUTPUT precompiled.cpp CONTENT "// Carries the precompiled header.\n")
add_library(cyborg_precompiled_torch OBJECT
            "${CMAKE_CURRENT_BINARY_DIR}/precompiled.cpp")
target_link_libraries(cyborg_precompiled_torch PRIVATE cyborg_programs
                                                       cyborg_warnings)
target_precompile_headers(cyborg_precompiled_torch PRIVATE <torch/torch.h>)
function(cyborg_use_precompiled_torch target)
  target_precompile_headers(${target} REUSE_FROM cyborg_precompiled_torch)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # For ccache, which reads preprocessed sources.
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(${target} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
  endif()
endfunction()

# clang-tidy checks headers through the files that include them. It runs without
# the tests, so this file includes all headers.
if(CMAKE_CXX_CLANG_TIDY)
  add_library(cyborg_tidy OBJECT tests/link/two.cpp)
  target_link_libraries(cyborg_tidy PRIVATE cyborg_programs cyborg_warnings)
endif()

# Otherwise a header that is in no list would be forgotten, and nobody would see
# it. (tests/CMakeLists.txt checks the same for its files.)
file(GLOB_RECURSE forgotten RELATIVE "${PROJECT_SOURCE_DIR}"
     "${PROJECT_SOURCE_DIR}/include/*.h*")
list(REMOVE_ITEM forgotten ${CYBORG_HEADERS})
foreach(header IN LISTS forgotten)
  message(SEND_ERROR "${header} is not named in cmake/Headers.cmake")
endforeach()
