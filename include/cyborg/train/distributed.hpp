// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// All that a program of several processes needs: docs/distributed.md. The two
// transports are empty files where the program is not compiled with the CMake
// target cyborg::distributed; the program then runs as one process.

#include <cyborg/train/data_parallel.hpp>
#include <cyborg/train/gloo.hpp>
#include <cyborg/train/group.hpp>
#include <cyborg/train/nccl.hpp>
#include <cyborg/train/transport.hpp>
#include <cyborg/train/whole_batch.hpp>
#include <cyborg/train/world.hpp>
