// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/hook.hpp>
#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/guide/batch.hpp>
#include <cyborg/guide/detail/blend_terms.hpp>
#include <cyborg/guide/reduction.hpp>
#include <cyborg/guide/saliency_term.hpp>
#include <cyborg/guide/seen.hpp>
#include <cyborg/guide/task.hpp>

#include <torch/arg.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg {

/// Options of `Guidance`.
struct GuidanceOptions {
  /// The task's loss.
  TORCH_ARG(TaskOptions, task);
  /// How terms and task are added. Default `Blend::kConvex`, as in CYBORG.
  TORCH_ARG(Blend, blend) = Blend::kConvex;
  /// Who sets the strength. Default: `add` and `strength`.
  TORCH_ARG(Balance, balance) = Balance::kFixed;
  /// Mean over the samples (default), or sum.
  TORCH_ARG(ReductionChoice, reduction) = Reduction::kMean;

 public:
};

/// What `Guidance` returns: tensors without dimensions, on the device.
struct GuidanceTerms {
  /// One term's part.
  struct Part {
    std::string name;
    torch::Tensor value;  ///< over the samples that count; not times strength
    torch::Tensor count;  ///< how many samples counted
    double strength;      ///< its factor in `total`; a balance does not use it
    Blend blend;          ///< how it was added
  };
  torch::Tensor total;       ///< run backward from this
  torch::Tensor task;        ///< the task's own loss
  torch::Tensor task_count;  ///< the sum of the weights of its mean
  std::vector<Part> parts;   ///< in the order in which they were added

  /// The part with this name.
  /// Throws: where there is none, as for a term whose strength is 0.
  const Part& operator[](const std::string& name) const {
    for (const Part& part : parts) {
      if (part.name == name) {
        return part;
      }
    }
    TORCH_CHECK_VALUE(
        false, "cyborg::GuidanceTerms: there is no term ", name,
        ", or its strength is 0, so that it was not computed");
  }
};

/// The task's loss and any number of terms that steer what the network looks
/// at, behind one call.
///
///     kConvex    total = (1 - sum of s_t n_t / B) task + sum of s_t n_t / B S_t
///     kAdditive  total = task + sum of s_t n_t / B S_t
///
/// s_t is the strength of term t, which counts n_t of the B samples and whose
/// mean over these is S_t. With one distance and s = 1 - alpha, kConvex is
/// `SaliencyGuidedLoss`; kAdditive is the form of RRR, HINT, GRADIA and others,
/// with s their lambda. A sample that does not count changes nothing, so a
/// batch that nobody annotated has the task's loss, value and gradient.
///
/// `Batch::weight` multiplies a sample's whole loss and is not normalised. With
/// reduction kSum, task and S are sums over the samples:
/// total = (1 - sum of s_t n_t / B) task + sum of s_t S_t.
///
/// A term is any object with `PerSample operator()(const Seen&) const`; see
/// `Seen` for one of your own. A distance becomes the term
/// `SaliencyTerm<Distance>`.
///
/// It is a plain class: it has no parameters, and reads no tensor back from the
/// device (`SaliencyTerm` does so where a batch has `positions`). With gradient
/// mode off it returns the same values.
///
/// Gradient: as each term says.
/// Source: the convex blend is that of Boyd et al., "CYBORG", WACV 2023.
/// Example:
///     cyborg::CamHook hook(*net);
///     cyborg::Guidance guidance;
///     guidance.add("people", 0.5, cyborg::L2());
///     auto terms = guidance(
///         hook, [&](auto& images) { return net->forward(images); },
///         cyborg::Batch{images, labels, maps});
///     terms.total.backward();
class Guidance {
 public:
  /// Throws: on options that do not fit each other.
  explicit Guidance(GuidanceOptions options = {})
      : options_(std::move(options)) {
    TORCH_CHECK_VALUE(
        options_.balance() == Balance::kFixed ||
            options_.blend() == Blend::kConvex,
        kName, ": a balance needs the blend kConvex, got kAdditive");
  }

  /// Adds a term. `strength` is its factor in `total`, from 0; with 0 it is not
  /// computed. `blend` is that of this term alone; default: the options'.
  /// Throws: for a name twice, for a strength out of range (those of all terms
  /// with kConvex are together at most 1), and what the term's own `check()`
  /// throws, if it has one.
  template <class T>
  Guidance& add(
      std::string name, double strength, T term,
      std::optional<Blend> blend = std::nullopt) {
    const Blend how = blend.value_or(options_.blend());
    if constexpr (detail::HasCheck<T>::value) {
      term.check();
    }
    TORCH_CHECK_VALUE(!name.empty(), kName, ": expected a name, got none");
    TORCH_CHECK_VALUE(
        find(name) == nullptr, kName, ": there is a term ", name, " already");
    TORCH_CHECK_VALUE(
        options_.balance() == Balance::kFixed || terms_.empty(), kName,
        ": a balance needs exactly one term, got a second: ", name);
    TORCH_CHECK_VALUE(
        options_.balance() == Balance::kFixed || how == Blend::kConvex, kName,
        ": a balance needs the blend kConvex, got kAdditive for ", name);
    if constexpr (std::is_invocable_r_v<PerSample, const T&, const Seen&>) {
      terms_.push_back(
          {std::move(name), 0, how, detail::needs_of<T>(), std::move(term)});
    } else {
      static_assert(
          std::is_invocable_r_v<
              torch::Tensor, const T&, const torch::Tensor&,
              const torch::Tensor&>,
          "cyborg::Guidance: a term needs: PerSample operator()(const Seen&) "
          "const; a distance: torch::Tensor operator()(const torch::Tensor& "
          "model, const torch::Tensor& human) const");
      terms_.push_back(
          {std::move(name), 0, how, needs::kNothing,
           SaliencyTerm<T>({}, std::move(term))});
    }
    try {
      this->strength(terms_.back().name, strength);
    } catch (...) {
      terms_.pop_back();
      throw;
    }
    return *this;
  }

  /// Sets the strength of a term, for schedules.
  /// Throws: for an unknown name, and as `add`.
  void strength(const std::string& name, double value) {
    Term* term = find(name);
    TORCH_CHECK_VALUE(
        term != nullptr, kName, ": expected the name of a term, got ", name,
        terms_.empty() ? " (there are none)" : "");
    TORCH_CHECK_VALUE(
        std::isfinite(value) && value >= 0, kName, ": expected a strength >= 0",
        " for ", name, ", got ", value);
    double sum = value;
    for (const Term& other : terms_) {
      sum +=
          &other == term || other.blend != Blend::kConvex ? 0 : other.strength;
    }
    TORCH_CHECK_VALUE(
        term->blend != Blend::kConvex || sum <= 1 + 1e-9, kName,
        ": with the blend kConvex the strengths add up to at most 1, got ", sum,
        " with ", name, " (kAdditive has no limit)");
    term->strength = value;
  }

  /// The strength of a term.
  double strength(const std::string& name) const {
    const Term* term = const_cast<Guidance*>(this)->find(name);
    TORCH_CHECK_VALUE(
        term != nullptr, kName, ": expected the name of a term, got ", name);
    return term->strength;
  }

  const GuidanceOptions& options() const { return options_; }

  /// What the terms that are computed need, together.
  unsigned needs() const {
    unsigned all = needs::kNothing;
    for (const Term& term : terms_) {
      all |= computed(term) ? term.needs : needs::kNothing;
    }
    return all;
  }

  /// Runs the network under the hook, and computes the loss. `forward` is
  /// called with the pictures and returns the logits.
  ///
  /// Where a term needs the gradient of the pictures, they require one in this
  /// same forward; nothing runs twice. Pictures that require a gradient already
  /// are used as they are, so that what made them learns, too.
  /// Throws: where a needed part of the batch is missing; as the terms do.
  template <class F>
  GuidanceTerms operator()(
      CamHook& hook, F&& forward, const Batch& batch) const {
    TORCH_CHECK_VALUE(
        batch.images.defined(), kName, ": expected images, got none");
    const bool input_gradient = (needs() & needs::kInputGradient) != 0;
    const bool wanted = at::GradMode::is_enabled();
    const at::AutoGradMode graph(wanted || input_gradient);
    torch::Tensor images = batch.images;
    if (input_gradient) {
      TORCH_CHECK_VALUE(
          images.is_floating_point(), kName,
          ": a term needs the gradient of the pictures: expected images of "
          "floating point, got ",
          images.scalar_type());
      if (!images.requires_grad()) {  // else they may come from a network
        images = images.detach().requires_grad_();
      }
    }
    const std::function<torch::Tensor(const torch::Tensor&)> again =
        [&forward](const torch::Tensor& other) -> torch::Tensor {
      return forward(other);
    };
    const torch::Tensor logits = hook.forward([&] { return again(images); });
    return compute(
        logits, hook.observation(), hook, batch, images, again, wanted);
  }

  /// The loss of a forward pass that you ran yourself. `source` is a `CamHook`,
  /// an `Observation` or the model's maps [B, *S]. Terms that need the gradient
  /// of the pictures need `batch.images` that went into the network and require
  /// a gradient; terms that run the network again need the other call.
  template <class Source>
  GuidanceTerms operator()(
      const torch::Tensor& logits, const Source& source,
      const Batch& batch) const {
    return compute_from(logits, source, batch, {});
  }

  /// The same for terms that run the network again, too: `forward` is called
  /// with changed pictures and returns their logits. It must not disturb
  /// `source`: a hook may not observe it.
  template <class Source, class F>
  GuidanceTerms operator()(
      const torch::Tensor& logits, const Source& source, const Batch& batch,
      F&& forward) const {
    return compute_from(
        logits, source, batch,
        [&forward](const torch::Tensor& images) -> torch::Tensor {
          return forward(images);
        });
  }

 private:
  static constexpr const char* kName = "cyborg::Guidance";

  struct Term {
    std::string name;
    double strength;
    Blend blend;
    unsigned needs;
    std::function<PerSample(const Seen&)> loss;
  };

  /// Whether a term is computed. A balance does not use its strength.
  bool computed(const Term& term) const {
    return term.strength > 0 || options_.balance() != Balance::kFixed;
  }

  Term* find(const std::string& name) {
    const auto found = std::find_if(
        terms_.begin(), terms_.end(),
        [&](const Term& term) { return term.name == name; });
    return found == terms_.end() ? nullptr : &*found;
  }

  template <class Source>
  GuidanceTerms compute_from(
      const torch::Tensor& logits, const Source& source, const Batch& batch,
      const std::function<torch::Tensor(const torch::Tensor&)>& again) const {
    const Observation nothing;
    const Observation* seen = &nothing;
    if constexpr (std::is_same_v<Source, Observation>) {
      seen = &source;
    } else if constexpr (detail::has_observation<Source>::value) {
      seen = &source.observation();
    }
    return compute(
        logits, *seen, source, batch, batch.images, again,
        at::GradMode::is_enabled());
  }

  template <class Source>
  GuidanceTerms compute(
      const torch::Tensor& logits, const Observation& observation,
      const Source& source, const Batch& batch, const torch::Tensor& images,
      const std::function<torch::Tensor(const torch::Tensor&)>& again,
      bool wanted) const {
    const torch::Tensor rows = detail::logit_rows(kName, logits);
    check(rows, batch);
    const Seen seen{
        batch,
        images,
        rows,
        observation,
        again,
        options_.task(),
        [&](const torch::Tensor& classes) {
          return detail::map_of(source, rows, classes);
        }};
    detail::Blended blended(
        options_.balance(), options_.reduction() == Reduction::kSum,
        seen.loss_of(rows), batch.weight);
    GuidanceTerms found;
    for (const Term& term : terms_) {
      if (!computed(term)) {
        continue;
      }
      check_needs(term, seen);
      const auto part = blended.add(
          kName, term.name, term.strength, term.blend, term.loss(seen));
      found.parts.push_back(
          {term.name, part.value, part.count, term.strength, term.blend});
    }
    found.task = blended.task();
    found.task_count = blended.task_count();
    found.total = blended.total();
    if (!wanted) {
      found.total = found.total.detach();
      found.task = found.task.detach();
      for (GuidanceTerms::Part& part : found.parts) {
        part.value = part.value.detach();
      }
    }
    return found;
  }

  /// Throws unless the batch has one entry a sample.
  static void check(const torch::Tensor& rows, const Batch& batch) {
    if (batch.weight.defined()) {
      detail::check_weights(kName, batch.weight, rows);
    }
    if (batch.annotated.defined()) {
      detail::check_per_sample(kName, "annotated", batch.annotated, rows);
    }
    detail::check_wrong(kName, batch.wrong, batch.annotated, rows);
    TORCH_CHECK_VALUE(
        !batch.images.defined() || batch.images.dim() > 0, kName,
        ": expected images [B, ...], got ", batch.images.sizes());
  }

  /// Throws where a term cannot have what it needs.
  static void check_needs(const Term& term, const Seen& seen) {
    TORCH_CHECK_VALUE(
        term.needs == needs::kNothing || !seen.batch.positions.defined(), kName,
        ": positions are those of the model's map, and ", term.name,
        " works on the pictures: it cannot know which parts of them exist");
    TORCH_CHECK_VALUE(
        (term.needs & needs::kForward) == 0 || seen.forward, kName, ": ",
        term.name,
        " runs the network again: call guidance(hook, forward, batch)");
    TORCH_CHECK_VALUE(
        (term.needs & needs::kInputGradient) == 0 ||
            (seen.images.defined() && seen.images.requires_grad()),
        kName, ": ", term.name,
        " needs the gradient of the pictures: call guidance(hook, forward, "
        "batch), or give images that require a gradient to the network and to "
        "the batch");
  }

  GuidanceOptions options_;
  std::vector<Term> terms_;
};

}  // namespace cyborg
