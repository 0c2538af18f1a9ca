// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Gives a program `Transport::kNccl`, for tensors on GPUs. One file of a
// program has to include this header; <cyborg/train/distributed.hpp> does. The
// file is empty where gloo.hpp is empty, where LibTorch was built without NCCL,
// and where NCCL's own header, which LibTorch does not bring, is not found.

#include <cyborg/train/gloo.hpp>

#if defined(CYBORG_WITH_DISTRIBUTED) && defined(USE_C10D_NCCL) && \
    __has_include(<nccl.h>)

#include <cyborg/train/detail/c10d_link.hpp>
#include <cyborg/train/detail/link.hpp>
#include <cyborg/train/transport.hpp>
#include <cyborg/train/world.hpp>

#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>

namespace cyborg::train::detail {

inline c10::intrusive_ptr<c10d::Backend> make_nccl(
    const c10::intrusive_ptr<c10d::Store>& store, const World& world,
    std::chrono::milliseconds timeout) {
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(
      store, world.rank, world.size, options);
}

inline c10::intrusive_ptr<Link> connect_by_nccl(
    const World& world, std::chrono::milliseconds timeout) {
  return c10::make_intrusive<C10dLink>(world, timeout, make_nccl);
}

/// Its initialiser registers the transport; nobody reads it.
inline const bool kNcclRegistered =
    register_connector(Transport::kNccl, connect_by_nccl);

}  // namespace cyborg::train::detail

#endif
