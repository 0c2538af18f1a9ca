# SPDX-License-Identifier: BSD-3-Clause
# The warnings for our own code. Users of the library do not get them.

add_library(cyborg_warnings INTERFACE)
target_compile_options(
  cyborg_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
                            # GCC believes that LibTorch's optionals are not set.
            $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
            $<$<BOOL:${CYBORG_WARNINGS_AS_ERRORS}>:-Werror>)
