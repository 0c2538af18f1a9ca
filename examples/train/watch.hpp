// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What ends a training before its time: somebody who stops it, a loss that is
// not finite, processes that no longer read the same batches.

#include <cstdint>
#include <string>
#include <vector>

namespace programs {

/// From now on Ctrl-C (SIGINT) and SIGTERM ask the training to stop. A second
/// one ends the program at once, as it does without this function.
void catch_stop_signals();

/// Whether such a signal arrived since `catch_stop_signals`.
bool stop_signalled();

/// Throws: `std::runtime_error`, which names the pictures of the batch.
/// `epoch` and `batch` count from 1.
[[noreturn]] void throw_not_finite(
    int64_t epoch, int64_t batch, const std::vector<std::string>& pictures);

/// A batch without a readable picture is skipped. With several processes that
/// must not happen: the others would wait for the one that skipped it.
///
/// `expected` and `read` count batches from 0: the next one of the training and
/// the one that this process has read.
/// Throws: `std::runtime_error` where these differ and there are several
/// processes.
void check_no_batch_skipped(int64_t processes, int64_t expected, int64_t read);

}  // namespace programs
