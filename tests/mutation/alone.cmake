# SPDX-License-Identifier: BSD-3-Clause
# Adds one executable for each file of tests, so that a fault costs the files
# that should see it. Only run.py includes this file, at the end of
# tests/CMakeLists.txt in its copy of the project.

get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
set(list "")
foreach(target IN LISTS targets)
  if(NOT target MATCHES "^test_" OR target MATCHES "^test_kernels_")
    continue() # no tests, or the same file with other flags
  endif()
  string(REGEX REPLACE "^test_" "" area ${target})
  foreach(property IN ITEMS SOURCES LINK_LIBRARIES COMPILE_DEFINITIONS
                            MANUALLY_ADDED_DEPENDENCIES)
    get_target_property(${property} ${target} ${property})
  endforeach()
  set(helpers ${SOURCES})  # what the tests of the target are linked with
  list(FILTER helpers EXCLUDE REGEX "^test_[a-z0-9_]+\\.cpp$")
  list(FILTER SOURCES INCLUDE REGEX "^test_[a-z0-9_]+\\.cpp$")
  foreach(source IN LISTS SOURCES)
    cmake_path(GET source STEM stem)
    set(alone alone_${area}_${stem})
    add_executable(${alone} EXCLUDE_FROM_ALL ${source} ${helpers})
    target_link_libraries(${alone} PRIVATE ${LINK_LIBRARIES})
    cyborg_use_precompiled_torch(${alone})
    if(COMPILE_DEFINITIONS)
      target_compile_definitions(${alone} PRIVATE ${COMPILE_DEFINITIONS})
    endif()
    if(MANUALLY_ADDED_DEPENDENCIES)
      add_dependencies(${alone} ${MANUALLY_ADDED_DEPENDENCIES})
    endif()
    string(APPEND list "${area} ${alone}\n")
  endforeach()
endforeach()
file(WRITE "${PROJECT_BINARY_DIR}/alone.txt" "${list}")
