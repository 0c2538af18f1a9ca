# SPDX-License-Identifier: BSD-3-Clause
# Installs the headers and the CMake package: find_package(cyborg) defines the
# target cyborg::cyborg.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(_cyborg_package "${CMAKE_INSTALL_DATADIR}/cmake/cyborg")
install(TARGETS cyborg EXPORT cyborgTargets FILE_SET HEADERS)
install(EXPORT cyborgTargets NAMESPACE cyborg:: DESTINATION
        "${_cyborg_package}")

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/cyborgConfig.cmake.in"
  "${CMAKE_CURRENT_BINARY_DIR}/cyborgConfig.cmake"
  INSTALL_DESTINATION "${_cyborg_package}"
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
  "${CMAKE_CURRENT_BINARY_DIR}/cyborgConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/cyborgConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/cyborgConfigVersion.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/Distributed.cmake"
        DESTINATION "${_cyborg_package}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE"
        DESTINATION "${CMAKE_INSTALL_DOCDIR}")
