// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/core/Device.h>

namespace programs {

/// While it lives, LibTorch computes in bfloat16 where that is safe. With `on`
/// false it does nothing.
///
/// Throws: `c10::ValueError` where LibTorch is older than 2.4.
class AutocastGuard {
 public:
  AutocastGuard(bool on, c10::Device device);
  ~AutocastGuard();
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  void enable(bool on) const;

  c10::DeviceType type_;
  bool on_;
};

}  // namespace programs
