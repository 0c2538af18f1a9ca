// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The one way to include Catch2: version 3, or the single header of 2.13.
//
// torch comes first: its logging defines CHECK too, and whoever is included last
// wins. With Catch2 first, CHECK would be torch's, count nothing, and abort.

#include <torch/types.h>

#if defined(__has_include) && __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // at global scope, as in version 2 with `Catch::`
#else
#include <catch2/catch.hpp>
#endif
