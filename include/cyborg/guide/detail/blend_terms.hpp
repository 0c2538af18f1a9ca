// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// How the losses of task and terms, one number a sample, become one number.

#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/guide/batch.hpp>
#include <cyborg/guide/blend_choices.hpp>
#include <cyborg/guide/detail/blend.hpp>
#include <cyborg/guide/seen.hpp>

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg {

namespace detail {

/// Whether a term says what it needs.
template <class T, class = void>
struct HasNeeds : std::false_type {};
template <class T>
struct HasNeeds<T, std::void_t<decltype(T::kNeeds)>> : std::true_type {};

/// What a term needs; nothing where it does not say.
template <class T>
constexpr unsigned needs_of() {
  if constexpr (HasNeeds<T>::value) {
    return T::kNeeds;
  } else {
    return needs::kNothing;
  }
}

/// Whether a term checks its own options.
template <class T, class = void>
struct HasCheck : std::false_type {};
template <class T>
struct HasCheck<T, std::void_t<decltype(std::declval<const T&>().check())>>
    : std::true_type {};

/// Task and terms of one batch, added one after the other.
class Blended {
 public:
  /// One term after the reduction over its samples.
  struct Part {
    torch::Tensor value, count;
  };

  Blended(
      Balance balance, bool sums, const PerSample& task,
      const torch::Tensor& weight)
      : balance_(balance), sums_(sums), weight_(weight) {
    const Part all = reduce(task);
    task_ = all.value;
    task_count_ = all.count;
    batch_ = task.value.size(0);
    used_ = at::zeros({}, task_.options().requires_grad(false));
  }

  const torch::Tensor& task() const { return task_; }
  const torch::Tensor& task_count() const { return task_count_; }

  /// Adds a term.
  /// Throws: on behalf of `function`, unless it returned one number a sample.
  Part add(
      const char* function, const std::string& name, double strength,
      Blend blend, const PerSample& found) {
    check(function, name, found);
    const Part part = reduce(found);
    const torch::Tensor share = part.count / batch_;
    if (balance_ != Balance::kFixed) {
      // Both are means here, so that alpha is that of kMean for a sum, too.
      const torch::Tensor task = mean_of({task_, task_count_});
      torch::Tensor alpha = task / (task + mean_of(part) + 1e-8);
      if (balance_ == Balance::kTaskShare) {
        alpha = alpha.detach();
      }
      const torch::Tensor of_term = (1 - alpha) * share;
      used_ = of_term;
      terms_ = sums_ ? (1 - alpha) * part.value : of_term * part.value;
      return part;
    }
    if (blend == Blend::kConvex) {
      used_ = used_ + strength * share;
    }
    // In a sum each sample that counts has its whole value.
    const torch::Tensor scaled =
        (sums_ ? part.value : part.value * share) * strength;
    terms_ = terms_.defined() ? terms_ + scaled : scaled;
    return part;
  }

  /// The loss of the batch.
  torch::Tensor total() const {
    if (!terms_.defined()) {
      return task_;
    }
    return (1 - used_) * task_ + terms_;
  }

 private:
  /// Mean (or sum) over the samples that count. Those that do not are set to
  /// zero before they are added, so that a NaN of theirs is not seen.
  Part reduce(const PerSample& one) const {
    const auto type = one.value.scalar_type();
    if (!one.usable.defined()) {
      const torch::Tensor value = weighted(one.value, weight_);
      return {
          sums_ ? value.sum() : value.mean(),
          at::full(
              {}, one.value.size(0), value.options().requires_grad(false))};
    }
    const torch::Tensor usable = one.usable.detach().to(type);
    const torch::Tensor count = usable.sum();
    const torch::Tensor value =
        weighted(one.value.masked_fill(usable.eq(0), 0), weight_) * usable;
    const torch::Tensor sum = value.sum();
    return {sums_ ? sum : sum / count.masked_fill(count.eq(0), 1), count};
  }

  /// The mean of a part, whatever the reduction is.
  torch::Tensor mean_of(const Part& part) const {
    return sums_ ? part.value / part.count.masked_fill(part.count.eq(0), 1)
                 : part.value;
  }

  /// Throws unless a term returned one number a sample, with a gradient where
  /// the task has one.
  void check(
      const char* function, const std::string& name,
      const PerSample& found) const {
    TORCH_CHECK_VALUE(
        found.value.defined() && found.value.dim() == 1 &&
            found.value.size(0) == batch_ && found.value.is_floating_point(),
        function, ": expected values [", batch_,
        "] of floating point from the term ", name, ", got ",
        found.value.defined() ? found.value.sizes() : at::IntArrayRef());
    TORCH_CHECK_VALUE(
        !found.usable.defined() ||
            (found.usable.dim() == 1 && found.usable.size(0) == batch_),
        function, ": expected usable [", batch_, "] from the term ", name,
        ", got ", found.usable.sizes());
    if (found.usable.defined() && found.usable.is_cpu() &&
        found.usable.is_floating_point()) {
      TORCH_CHECK_VALUE(
          found.usable.ge(0).logical_and(found.usable.le(1)).all().item<bool>(),
          function, ": expected usable in [0, 1] from the term ", name,
          ", got ", found.usable.min().item<double>(), " ... ",
          found.usable.max().item<double>());
    }
    TORCH_CHECK(
        !at::GradMode::is_enabled() || !task_.requires_grad() ||
            found.value.requires_grad(),
        function, ": the term ", name,
        " has no gradient path: the task's loss requires a gradient and the "
        "term does not, so it would change nothing. Compute it in gradient "
        "mode from features that are neither detached nor frozen, or set its "
        "strength to 0");
  }

  Balance balance_;
  bool sums_;
  torch::Tensor weight_;      // [B], or undefined
  torch::Tensor task_;        // the task's loss
  torch::Tensor task_count_;  // what its mean is divided by
  int64_t batch_ = 0;
  torch::Tensor used_;   // what the terms take of the task's weight
  torch::Tensor terms_;  // the sum of the terms; undefined: none yet
};

}  // namespace detail
}  // namespace cyborg
