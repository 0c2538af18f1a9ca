// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "options.hpp"

namespace programs {

/// `train --check`: reads every picture and map once and prints what is wrong
/// with them. Writes `options.out`/maps.png, some pictures with their maps over
/// them. Returns whether all pictures and maps can be read.
bool check_data(const TrainOptions& options);

}  // namespace programs
