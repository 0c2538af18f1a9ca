// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// A link by c10d, LibTorch's library for several processes. Not every LibTorch
// has c10d, and its header of Gloo needs Gloo's own headers, which LibTorch
// does not bring. The CMake target cyborg::distributed exists where both are
// there, and defines CYBORG_WITH_DISTRIBUTED. Without this macro the file is
// empty.

#ifdef CYBORG_WITH_DISTRIBUTED

#include <cyborg/train/detail/link.hpp>
#include <cyborg/train/detail/wait_for_server.hpp>
#include <cyborg/train/world.hpp>

#include <c10/util/Exception.h>
#include <c10/util/StringUtil.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/types.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

namespace cyborg::train::detail {

/// Makes the process group of a transport. The store is where the processes
/// leave their addresses for each other.
using MakeBackend = c10::intrusive_ptr<c10d::Backend> (*)(
    const c10::intrusive_ptr<c10d::Store>& store, const World& world,
    std::chrono::milliseconds timeout);

/// The store of a world: a server at `world.address`, which is rank 0 or the
/// launcher. A launcher may start all processes again after a fault, so each
/// attempt has keys of its own.
inline c10::intrusive_ptr<c10d::Store> open_store(
    const World& world, std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(world.port);
  options.isServer = world.rank == 0 && !world.launcher_listens;
  options.numWorkers = static_cast<size_t>(world.size);
  options.waitWorkers = !world.launcher_listens;
  options.timeout = timeout;
  options.useLibUV = false;  // Debian's LibTorch was built without libuv
  if (!options.isServer) {
    wait_for_server(world.address, world.port, timeout);
  }
  return c10::make_intrusive<c10d::PrefixStore>(
      c10::str("cyborg/", world.attempt),
      c10::make_intrusive<c10d::TCPStore>(world.address, options));
}

/// A link by a process group of c10d. Every error of c10d becomes a
/// `c10::DistBackendError` that says which rank threw it and what it was doing.
class C10dLink final : public Link {
 public:
  C10dLink(
      const World& world, std::chrono::milliseconds timeout,
      MakeBackend make_backend)
      : name_(c10::str(
            "cyborg::train::Group: rank ", world.rank, " of ", world.size)),
        timeout_(timeout) {
    backend_ = with_context(
        c10::str(
            ": could not connect to the other ranks at ", world.address, ':',
            world.port, " within ", seconds(), " s: "),
        [&] {
          return make_backend(open_store(world, timeout), world, timeout);
        });
  }

  Wait sum(const torch::Tensor& tensor) override {
    TORCH_CHECK(
        backend_, name_,
        ": expected a group that is connected, got one after abort()");
    std::vector<torch::Tensor> tensors{tensor};
    const auto work =
        with_context(lost(), [&] { return backend_->allreduce(tensors); });
    return [this, work] { with_context(lost(), [&] { return work->wait(); }); };
  }

  void abort() override { backend_.reset(); }

 private:
  double seconds() const { return static_cast<double>(timeout_.count()) / 1e3; }

  /// The likely cause of an error in an exchange.
  std::string lost() const {
    return c10::str(
        ": another rank has ended, or has not answered within ", seconds(),
        " s: ");
  }

  /// Returns what `call` returns. Where `call` throws, this throws the same
  /// text after the name of the rank and the context.
  template <class Call>
  auto with_context(const std::string& context, Call call) const
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
        name_ + context + what);
  }

  std::string name_;  ///< begins each error: which rank of how many
  std::chrono::milliseconds timeout_;
  c10::intrusive_ptr<c10d::Backend> backend_;  ///< null after `abort`
};

}  // namespace cyborg::train::detail

#endif
