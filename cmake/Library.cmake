# SPDX-License-Identifier: BSD-3-Clause
# The library: headers and LibTorch. It sets no flags, no warnings and no
# precompiled header, because its users would get them, too.

add_library(cyborg INTERFACE)
add_library(cyborg::cyborg ALIAS cyborg)
target_link_libraries(cyborg INTERFACE torch)
target_compile_features(cyborg INTERFACE cxx_std_${CYBORG_CXX_STANDARD})

include("${CMAKE_CURRENT_LIST_DIR}/Headers.cmake")
target_sources(
  cyborg INTERFACE FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}/include"
                   FILES ${CYBORG_HEADERS})
