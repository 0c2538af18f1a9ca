// SPDX-License-Identifier: BSD-3-Clause
// All but the losses, in one translation unit: reading the headers of torch
// takes most of the time that a file takes. With loss.cpp, whose kernels take
// as long as all of these, two jobs compile the extension.
#include "guidance.cpp"
#include "hook.cpp"
#include "maps.cpp"
#include "measure.cpp"
#include "module.cpp"
#include "terms.cpp"
