// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The version of cyborg, by https://semver.org. The build reads it from here.
#define CYBORG_VERSION_MAJOR 0
#define CYBORG_VERSION_MINOR 1
#define CYBORG_VERSION_PATCH 0
