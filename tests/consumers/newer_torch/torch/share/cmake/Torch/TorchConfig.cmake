# SPDX-License-Identifier: BSD-3-Clause
add_library(torch INTERFACE IMPORTED)
set(TORCH_INSTALL_PREFIX "${CMAKE_CURRENT_LIST_DIR}/../../..")
