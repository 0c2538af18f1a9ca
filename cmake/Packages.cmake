# SPDX-License-Identifier: BSD-3-Clause
# The packages of tests and programs; the library itself needs none of them.

# stb reads and writes pictures, for data/ and report/.
add_library(cyborg_stb INTERFACE)
find_path(CYBORG_STB_INCLUDE stb/stb_image.h REQUIRED)
mark_as_advanced(CYBORG_STB_INCLUDE)
target_include_directories(cyborg_stb SYSTEM INTERFACE "${CYBORG_STB_INCLUDE}")

# fmt as headers only. The wheel of LibTorch has the headers of another version,
# and these come first, so the compiled library of the system would not link.
find_package(fmt REQUIRED)

# For the programs: command lines and JSON.
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)

# Everything that an example or a program may use.
add_library(cyborg_programs INTERFACE)
target_link_libraries(
  cyborg_programs INTERFACE cyborg cyborg_stb fmt::fmt-header-only CLI11::CLI11
                            nlohmann_json::nlohmann_json Threads::Threads)
