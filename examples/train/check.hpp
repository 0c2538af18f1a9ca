// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "options.hpp"

namespace programs {

/// `train --check`: reads every picture and map once and prints what is wrong
/// with them, as `data::check_pictures` finds it. The last line is the verdict.
///
/// Writes into `options.out` check.csv, all that was found, and maps.png, some
/// pictures with their maps over them. Returns whether there are no faults;
/// warnings alone are none.
bool check_data(const TrainOptions& options);

}  // namespace programs
