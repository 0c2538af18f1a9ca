// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/train/transport.hpp>
#include <cyborg/train/world.hpp>

#include <ATen/core/ivalue.h>
#include <c10/util/Exception.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>

// How a group reaches its other processes. This file knows no transport: the
// header of a transport registers a function that connects, and a group asks
// for that function when it is made. So no macro changes what is declared here,
// and files of one program may be compiled with and without c10d.

namespace cyborg::train::detail {

/// Waits until an exchange is complete, and throws what went wrong in it. Must
/// not be called after the link that it came from is gone.
using Wait = std::function<void()>;

/// The connection of this process with the other processes of its group.
/// A `CustomClassHolder`, so that a graph of autograd can keep it alive.
class Link : public torch::CustomClassHolder {
 public:
  /// Starts to replace `tensor`, which is contiguous, by its sum over all
  /// processes. The tensor must not be used until the result was called.
  virtual Wait sum(const torch::Tensor& tensor) = 0;
  /// Closes the connection. A later `sum` throws.
  virtual void abort() = 0;
};

/// The link of a group of one process. The sum over one process is the tensor
/// itself, so there is nothing to do.
class SingleProcessLink final : public Link {
 public:
  Wait sum(const torch::Tensor& /*tensor*/) override {
    return [] {};
  }
  void abort() override {}
};

/// Connects a process with the others of its world. Throws when the others
/// cannot be reached within the timeout.
using Connector =
    c10::intrusive_ptr<Link> (*)(const World&, std::chrono::milliseconds);

/// The connector of a transport, or null where the program does not have the
/// transport. There is one for the whole program, and it is written before
/// main() begins or while a shared library is loaded.
inline std::atomic<Connector>& connector_of(Transport transport) {
  static std::array<std::atomic<Connector>, 2> all{};
  return all[static_cast<size_t>(transport)];
}

/// Gives the program a transport. The header of a transport calls it in the
/// initialiser of a variable; hence the result.
inline bool register_connector(
    Transport transport, Connector connector) noexcept {
  connector_of(transport) = connector;
  return true;
}

/// The link of a new group.
inline c10::intrusive_ptr<Link> connect(
    const World& world, Transport transport,
    std::chrono::milliseconds timeout) {
  if (world.size == 1) {
    return c10::make_intrusive<SingleProcessLink>();
  }
  const Connector connector = connector_of(transport);
  if (connector != nullptr) {
    return connector(world, timeout);
  }
  // A program with NCCL has Gloo, too: nccl.hpp includes gloo.hpp.
  TORCH_CHECK_VALUE(
      connector_of(Transport::kGloo) == nullptr,
      "cyborg::train::Group: expected transport kGloo, got kNccl: this "
      "LibTorch was built without NCCL, or nccl.h was not found");
  TORCH_CHECK(
      false, "cyborg::train::Group: WORLD_SIZE is ", world.size,
      ", and this program was built for one process. For several processes, "
      "install Gloo's headers (Debian's libgloo-dev), link the CMake target "
      "cyborg::distributed and include <cyborg/train/distributed.hpp>. "
      "Otherwise, start one process");
}

}  // namespace cyborg::train::detail
