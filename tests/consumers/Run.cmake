# SPDX-License-Identifier: BSD-3-Clause
# Configures a project with an empty cache, builds it and runs its program `consumer`.
#   cmake -D source=DIR -D binary=DIR -D generator=NAME -D options=LIST -P ...

# The cache goes, objects that are up to date stay.
execute_process(
  COMMAND "${CMAKE_COMMAND}" --fresh -S "${source}" -B "${binary}" -G "${generator}"
          ${options} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${binary}" --verbose
                        COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${binary}/consumer" COMMAND_ERROR_IS_FATAL ANY)
