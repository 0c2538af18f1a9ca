// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Gives a program `Transport::kGloo`, for tensors on the CPU. One file of a
// program has to include this header; <cyborg/train/distributed.hpp> does. The
// file is empty without CYBORG_WITH_DISTRIBUTED, which the CMake target
// cyborg::distributed defines.

#ifdef CYBORG_WITH_DISTRIBUTED

#include <cyborg/train/detail/c10d_link.hpp>
#include <cyborg/train/detail/link.hpp>
#include <cyborg/train/transport.hpp>
#include <cyborg/train/world.hpp>

#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <cstdlib>
#include <memory>

namespace cyborg::train::detail {

/// The network interface of this process: the one that GLOO_SOCKET_IFNAME
/// names; else the loopback interface where the processes meet there; else the
/// interface of the host's name.
inline std::shared_ptr<::gloo::transport::Device> gloo_device(
    const World& world) {
  if (const char* name = std::getenv("GLOO_SOCKET_IFNAME")) {
    return c10d::ProcessGroupGloo::createDeviceForInterface(name);
  }
  return world.address == "localhost" || world.address == "127.0.0.1"
             ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
             : c10d::ProcessGroupGloo::createDefaultDevice();
}

inline c10::intrusive_ptr<c10d::Backend> make_gloo(
    const c10::intrusive_ptr<c10d::Store>& store, const World& world,
    std::chrono::milliseconds timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  options->devices.push_back(gloo_device(world));
  return c10::make_intrusive<c10d::ProcessGroupGloo>(
      store, world.rank, world.size, options);
}

inline c10::intrusive_ptr<Link> connect_by_gloo(
    const World& world, std::chrono::milliseconds timeout) {
  return c10::make_intrusive<C10dLink>(world, timeout, make_gloo);
}

/// Its initialiser registers the transport; nobody reads it.
inline const bool kGlooRegistered =
    register_connector(Transport::kGloo, connect_by_gloo);

}  // namespace cyborg::train::detail

#endif
