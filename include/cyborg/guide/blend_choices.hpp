// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace cyborg {

/// How terms and task are added.
enum class Blend {
  kConvex,    ///< the task has what the terms leave of 1
  kAdditive,  ///< the terms are added to the whole task
};

/// Who sets the strength of a term.
enum class Balance {
  /// Whoever calls `Guidance::add` and `strength`.
  kFixed,
  /// The batch: alpha = task / (task + S + 1e-8), a number without gradient, is
  /// the weight of the task, and 1 - alpha that of the one term. So each of
  /// them has the more weight, the larger it is. The term's own strength is not
  /// used. Source: VISER, without the gradient of alpha.
  kTaskShare,
  /// The same with the gradient of alpha, as VISER's code computes it. If S is
  /// small compared with the task, it makes S larger: the derivative of the
  /// total by S is negative there (-0.35 at task 0.69 and S 0.15). For
  /// comparison with published numbers only.
  kTaskShareAttached,
};

}  // namespace cyborg
