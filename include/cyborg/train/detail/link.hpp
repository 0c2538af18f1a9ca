// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// How processes reach each other: by LibTorch's c10d where the program was
// built with it, which CYBORG_WITH_DISTRIBUTED says. c10d's header of Gloo
// includes Gloo's own, which LibTorch does not bring.

#include <cyborg/train/world.hpp>

#include <ATen/core/ivalue.h>
#include <torch/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#ifdef CYBORG_WITH_DISTRIBUTED
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
// NCCL's header does not come with LibTorch either.
#if defined(USE_C10D_NCCL) && __has_include(<nccl.h>)
#define CYBORG_WITH_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#endif

namespace cyborg::train {

/// What carries the tensors from process to process.
enum class Transport {
  kGloo,  ///< for tensors on the CPU
  kNccl,  ///< for tensors on GPUs, where LibTorch was built with it
};

namespace detail {

/// Waits for what was started, and throws what went wrong. Must not outlive
/// the link that it came from.
using Wait = std::function<void()>;

/// What a group does to its tensors. This one is for one process: a sum over
/// one is the tensor itself.
class Link : public torch::CustomClassHolder {
 public:
  /// Starts to replace a contiguous tensor by its sum over all processes.
  virtual Wait sum(const torch::Tensor& /*tensor*/) {
    return [] {};
  }
  virtual void abort() {}
};

#ifdef CYBORG_WITH_DISTRIBUTED

class C10dLink final : public Link {
 public:
  C10dLink(
      const World& world, Transport transport,
      std::chrono::milliseconds timeout)
      : name_(c10::str(
            "cyborg::train::Group: rank ", world.rank, " of ", world.size)),
        timeout_(timeout) {
#ifndef CYBORG_WITH_NCCL
    TORCH_CHECK_VALUE(
        transport == Transport::kGloo,
        "cyborg::train::Group: expected transport kGloo, got kNccl, which this "
        "LibTorch was built without, or whose nccl.h was not found");
#endif
    attempt(
        [&] {
          connect(world, transport);
          return 0;
        },
        c10::str(
            ": could not meet the others at ", world.address, ':', world.port,
            " within ", seconds(), " s: "));
  }

  Wait sum(const torch::Tensor& tensor) override {
    TORCH_CHECK(backend_, name_, ": expected a group, got one after abort()");
    std::vector<torch::Tensor> tensors{tensor};
    const auto work =
        attempt([&] { return backend_->allreduce(tensors); }, lost());
    return [this, work] { attempt([&] { return work->wait(); }, lost()); };
  }

  void abort() override { backend_.reset(); }

 private:
  void connect(const World& world, Transport transport) {
    c10d::TCPStoreOptions meeting;
    meeting.port = static_cast<uint16_t>(world.port);
    meeting.isServer = world.rank == 0 && !world.launcher_listens;
    meeting.numWorkers = static_cast<size_t>(world.size);
    meeting.waitWorkers = !world.launcher_listens;
    meeting.timeout = timeout_;
    meeting.useLibUV = false;  // which Debian's LibTorch lacks
    const auto store = c10::make_intrusive<c10d::PrefixStore>(
        c10::str("cyborg/", world.attempt),
        c10::make_intrusive<c10d::TCPStore>(world.address, meeting));
    if (transport == Transport::kGloo) {
      auto options = c10d::ProcessGroupGloo::Options::create(timeout_);
      options->devices.push_back(device(world));
      backend_ = c10::make_intrusive<c10d::ProcessGroupGloo>(
          store, world.rank, world.size, options);
      return;
    }
#ifdef CYBORG_WITH_NCCL
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = timeout_;
    backend_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        store, world.rank, world.size, options);
#endif
  }

  /// The network interface: the one that GLOO_SOCKET_IFNAME names, the loopback
  /// where all meet there, or the one of the host's name.
  static std::shared_ptr<::gloo::transport::Device> device(const World& world) {
    if (const char* name = std::getenv("GLOO_SOCKET_IFNAME")) {
      return c10d::ProcessGroupGloo::createDeviceForInterface(name);
    }
    return world.address == "localhost" || world.address == "127.0.0.1"
               ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
               : c10d::ProcessGroupGloo::createDefaultDevice();
  }

  double seconds() const { return static_cast<double>(timeout_.count()) / 1e3; }

  std::string lost() const {
    return c10::str(
        ": another rank has ended, or has not answered within ", seconds(),
        " s: ");
  }

  /// What `call` returns; what it throws, with what was going on before it.
  template <class Call>
  auto attempt(Call call, const std::string& trouble) const
      -> decltype(call()) {
    std::string what;
    try {
      return call();
    } catch (const c10::Error& error) {
      what = error.what_without_backtrace();
    } catch (const std::exception& error) {
      what = error.what();
    }
    throw c10::DistBackendError(
        {__func__, __FILE__, static_cast<uint32_t>(__LINE__)},
        name_ + trouble + what);
  }

  std::string name_;
  std::chrono::milliseconds timeout_;
  c10::intrusive_ptr<c10d::Backend> backend_;
};

#endif

inline c10::intrusive_ptr<Link> connect(
    const World& world, Transport transport,
    std::chrono::milliseconds timeout) {
  if (world.size == 1) {
    return c10::make_intrusive<Link>();
  }
#ifdef CYBORG_WITH_DISTRIBUTED
  return c10::make_intrusive<C10dLink>(world, transport, timeout);
#else
  (void)transport;
  (void)timeout;
  TORCH_CHECK(
      false, "cyborg::train::Group: WORLD_SIZE is ", world.size,
      ", and this program was built for one process. Install Gloo's headers "
      "(Debian's libgloo-dev) and link the CMake target cyborg::distributed, "
      "or start one process");
#endif
}

}  // namespace detail
}  // namespace cyborg::train
