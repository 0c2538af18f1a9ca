# SPDX-License-Identifier: BSD-3-Clause
# Finds the folder of the Python package torch. cmake/LibTorch.cmake includes
# this file for its function. As a script it prints the folder, or nothing:
#   cmake [-D CYBORG_PYTHON=FILE] -P PythonTorch.cmake

if(CMAKE_SCRIPT_MODE_FILE)
  cmake_minimum_required(VERSION 3.25)
endif()

# Sets `root` to the folder of the torch package of CYBORG_PYTHON. If that is not
# set, it is the first Python that is found. `root` is "" if there is no such package
# or if it cannot be used. Sets `left_out` to the reason why it cannot be used, or to
# "".
function(_cyborg_python_torch root left_out)
  set(${root} "" PARENT_SCOPE)
  set(${left_out} "" PARENT_SCOPE)
  find_program(CYBORG_PYTHON NAMES python3 python)
  mark_as_advanced(CYBORG_PYTHON)
  if(NOT CYBORG_PYTHON)
    return()
  endif()
  # To import torch takes seconds. To ask for its folder takes 20 ms.
  execute_process(
    COMMAND
      "${CYBORG_PYTHON}" -c
      "import importlib.util as u; s = u.find_spec('torch'); \
print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE folder
    RESULT_VARIABLE failed
    ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(failed OR NOT EXISTS "${folder}/share/cmake/Torch/TorchConfig.cmake")
    return()
  endif()
  # A CUDA build stops the configuration when the toolkit is not there.
  if(EXISTS "${folder}/lib/libtorch_cuda.so")
    find_program(CYBORG_NVCC nvcc HINTS ENV CUDA_HOME /usr/local/cuda
                 PATH_SUFFIXES bin)
    mark_as_advanced(CYBORG_NVCC)
    if(NOT CYBORG_NVCC)
      set(${left_out} "left out ${folder}: it is a CUDA build, and the CUDA \
toolkit (nvcc) is not here" PARENT_SCOPE)
      return()
    endif()
  endif()
  set(${root} "${folder}" PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  _cyborg_python_torch(root left_out)
  if(left_out)
    message(NOTICE "cyborg: ${left_out}")  # to standard error
  endif()
  if(root)
    execute_process(COMMAND "${CMAKE_COMMAND}" -E echo "${root}")
  endif()
endif()
