// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace cyborg::train {

/// What carries tensors from one process to another. An option of `Group`.
///
/// A program has a transport when at least one of its files includes the header
/// of the transport and is compiled with the CMake target cyborg::distributed.
/// <cyborg/train/distributed.hpp> includes both headers. A group of one process
/// needs no transport.
/// Example:
///     const auto options = cyborg::train::GroupOptions().transport(
///         cyborg::train::Transport::kNccl);
enum class Transport {
  kGloo,  ///< for tensors on the CPU: <cyborg/train/gloo.hpp>
  kNccl,  ///< for tensors on GPUs: <cyborg/train/nccl.hpp>
};

}  // namespace cyborg::train
