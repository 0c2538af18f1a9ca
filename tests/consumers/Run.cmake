# SPDX-License-Identifier: BSD-3-Clause
# Configures a project from nothing, builds it and runs its program `consumer`.
#   cmake -D source=DIR -D binary=DIR -D generator=NAME -D options=LIST -P ...

file(REMOVE_RECURSE "${binary}")
execute_process(
  COMMAND "${CMAKE_COMMAND}" -S "${source}" -B "${binary}" -G "${generator}"
          ${options} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${binary}" --verbose
                        COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${binary}/consumer" COMMAND_ERROR_IS_FATAL ANY)
