# SPDX-License-Identifier: BSD-3-Clause
# The packages of tests and programs; the library itself needs none of them.

# stb: pictures in and out, for data/ and report/.
add_library(cyborg_stb INTERFACE)
find_path(CYBORG_STB_INCLUDE stb/stb_image.h REQUIRED)
mark_as_advanced(CYBORG_STB_INCLUDE)
target_include_directories(cyborg_stb SYSTEM INTERFACE "${CYBORG_STB_INCLUDE}")

# fmt, header-only: the wheel of LibTorch holds the headers of another version,
# which come first, so that the compiled library of the system would not link.
find_package(fmt REQUIRED)

# Programs: command lines and JSON.
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)

# All of what an example or a program may use.
add_library(cyborg_programs INTERFACE)
target_link_libraries(
  cyborg_programs INTERFACE cyborg cyborg_stb fmt::fmt-header-only CLI11::CLI11
                            nlohmann_json::nlohmann_json Threads::Threads)
