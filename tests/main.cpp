// SPDX-License-Identifier: BSD-3-Clause
// The main function of every test: version 3 of Catch2 brings its own.

#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
