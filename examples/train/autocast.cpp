// SPDX-License-Identifier: BSD-3-Clause
#include "autocast.hpp"

#include <ATen/autocast_mode.h>
#include <c10/util/Exception.h>
#include <torch/version.h>

namespace programs {

AutocastGuard::AutocastGuard(bool on, c10::Device device)
    : type_(device.type()), on_(on) {
  if (on_) {
    enable(true);
    at::autocast::increment_nesting();
  }
}

AutocastGuard::~AutocastGuard() {
  if (on_) {
    // LibTorch keeps the casts of weights until the outermost guard ends.
    if (at::autocast::decrement_nesting() == 0) {
      at::autocast::clear_cache();
    }
    enable(false);
  }
}

void AutocastGuard::enable(bool on) const {
#if TORCH_VERSION_MAJOR > 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  at::autocast::set_autocast_enabled(type_, on);
  at::autocast::set_autocast_dtype(type_, at::kBFloat16);
#else
  TORCH_CHECK_VALUE(
      !on, "--bf16 needs LibTorch 2.4 or newer, and this is ", TORCH_VERSION);
#endif
}

}  // namespace programs
