# SPDX-License-Identifier: BSD-3-Clause
# The warnings of our own code, never exported.

add_library(cyborg_warnings INTERFACE)
target_compile_options(
  cyborg_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
                            # GCC takes LibTorch's optionals for uninitialised.
            $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
            $<$<BOOL:${CYBORG_WARNINGS_AS_ERRORS}>:-Werror>)
