// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "options.hpp"

namespace programs {

/// `train --check`: reads every picture and map once, prints what a person
/// should know, and writes `request.out`/maps.png, pictures with their maps
/// over them. Returns whether all of them can be used.
bool check(const Request& request);

}  // namespace programs
