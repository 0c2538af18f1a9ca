# SPDX-License-Identifier: BSD-3-Clause
# Finds LibTorch and defines the target `torch`. It takes the first that works of
#   1. the user's own: Torch_DIR, Torch_ROOT or CMAKE_PREFIX_PATH;
#   2. the torch package of the Python that is found first on PATH;
#   3. the system's (libtorch-dev).
# Nothing is downloaded here; ./dev does that.

include("${CMAKE_CURRENT_LIST_DIR}/scripts/PythonTorch.cmake")

# Whether the user named a LibTorch.
function(_cyborg_user_torch out)
  set(${out} FALSE PARENT_SCOPE)
  foreach(name IN ITEMS Torch_DIR Torch_ROOT)
    if("${${name}}" OR NOT "$ENV{${name}}" STREQUAL "")
      set(${out} TRUE PARENT_SCOPE)
      return()
    endif()
  endforeach()
  unset(_cyborg_config)
  find_path(
    _cyborg_config TorchConfig.cmake NO_CACHE
    PATH_SUFFIXES share/cmake/Torch lib/cmake/Torch
    NO_SYSTEM_ENVIRONMENT_PATH NO_CMAKE_SYSTEM_PATH)
  if(_cyborg_config)
    set(${out} TRUE PARENT_SCOPE)
  endif()
endfunction()

# A macro, so that Torch_VERSION and similar variables reach the caller.
macro(_cyborg_find_torch)
  # The targets are global, because a parent project that links cyborg::cyborg must
  # see `torch`, too. QUIET, because every LibTorch without Kineto warns about that.
  set(_cyborg_globals "${CMAKE_FIND_PACKAGE_TARGETS_GLOBAL}")
  set(_cyborg_log_level "${CMAKE_MESSAGE_LOG_LEVEL}")
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
  set(CMAKE_MESSAGE_LOG_LEVEL ERROR)
  find_package(Torch 1.13 CONFIG)
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL "${_cyborg_globals}")
  set(CMAKE_MESSAGE_LOG_LEVEL "${_cyborg_log_level}")
endmacro()

if(NOT TARGET torch)
  _cyborg_user_torch(_cyborg_named)
  if(NOT _cyborg_named)
    _cyborg_python_torch(_cyborg_torch_root _cyborg_left_out)
    if(_cyborg_left_out)
      message(STATUS "LibTorch: ${_cyborg_left_out}")
    endif()
    # The prefix is the root of the package. With its share/cmake alone, CMake could
    # take c10 from another LibTorch on the system.
    if(_cyborg_torch_root)
      list(PREPEND CMAKE_PREFIX_PATH "${_cyborg_torch_root}")
    endif()
  endif()
  _cyborg_find_torch()
  if(NOT Torch_FOUND)
    message(
      FATAL_ERROR
        "LibTorch 1.13 or newer was not found. Either run ./dev, which finds or "
        "downloads one, or name yours: -DCMAKE_PREFIX_PATH=/path/to/libtorch")
  endif()
  if(PROJECT_IS_TOP_LEVEL)
    message(STATUS "LibTorch ${Torch_VERSION}: ${TORCH_INSTALL_PREFIX}")
  endif()
endif()

# C++17 is enough for LibTorch before 2.14, whose headers need C++20.
set(CYBORG_CXX_STANDARD 17)
if(Torch_VERSION VERSION_GREATER_EQUAL 2.14)
  set(CYBORG_CXX_STANDARD 20)
endif()
