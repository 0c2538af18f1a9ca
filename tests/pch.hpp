// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Precompiled once for all tests. torch first: see catch.hpp.

#include <torch/torch.h>

#include "catch.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>
