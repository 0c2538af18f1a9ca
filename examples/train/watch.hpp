// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What ends a training before its time: somebody who stops it, numbers that are
// not finite, processes that no longer read the same batches.

#include <cstdint>
#include <string>
#include <vector>

namespace programs {

/// The exit status of a training that was stopped and can be resumed. (That of
/// a finished one is 0, that of an error 2.)
constexpr int kStopped = 75;  // EX_TEMPFAIL of sysexits.h: try again

/// From now on Ctrl-C (SIGINT), SIGTERM, SIGHUP and SIGUSR1 ask the training to
/// stop; schedulers send the last three. A second Ctrl-C ends the program at
/// once, as it does without this function. A signal that the program was told
/// to ignore, as by nohup, stays ignored.
void catch_stop_signals();

/// Whether such a signal arrived since `catch_stop_signals`.
bool stop_signalled();

/// Throws: `std::runtime_error`, which names the pictures of the batch.
/// `epoch` and `batch` count from 1.
[[noreturn]] void throw_not_finite(
    int64_t epoch, int64_t batch, const std::vector<std::string>& pictures);

/// Throws: `std::runtime_error`, which names the first of the weights, or of
/// the optimizer's values, that are not finite after optimizer step `step`.
/// `names` is empty where that was found in another process.
[[noreturn]] void throw_weights_not_finite(
    int64_t step, const std::vector<std::string>& names);

/// A batch without a readable picture is skipped. With several processes that
/// must not happen: the others would wait for the one that skipped it.
///
/// `expected` and `read` count batches from 0: the next one of the training and
/// the one that this process has read.
/// Throws: `std::runtime_error` where these differ and there are several
/// processes.
void check_no_batch_skipped(int64_t processes, int64_t expected, int64_t read);

}  // namespace programs
