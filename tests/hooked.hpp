// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What the tests of the hook do again and again.

#include "support.hpp"

#include <cyborg/cam/hook.hpp>

#include <torch/torch.h>

#include <sstream>
#include <string>
#include <utility>

namespace hooked {

/// A batch [batch, 3, size, size] of random pictures.
inline torch::Tensor pictures(int64_t batch = 2, int64_t size = 8) {
  return torch::randn({batch, 3, size, size});
}

/// What `hook` prints.
inline std::string printed(const cyborg::CamHook& hook) {
  std::ostringstream text;
  text << hook;
  return text.str();
}

/// The error of a forward pass of `net` on `x` under a hook.
template <class Net>
std::string refusal(
    Net& net, const torch::Tensor& x, cyborg::CamHookOptions options = {}) {
  return support::error_of([&] {
    cyborg::CamHook hook(net, options);
    hook.forward([&] { return net.forward(x); });
    hook.require();
  });
}

/// How the errors of `CamHook::forward` begin.
inline const std::string kForward = "cyborg::CamHook::forward: ";

}  // namespace hooked
