// SPDX-License-Identifier: BSD-3-Clause
#include "terms.hpp"

#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/harmonize.hpp>
#include <cyborg/guide/perturb.hpp>
#include <cyborg/guide/right_reasons.hpp>
#include <cyborg/guide/saliency_term.hpp>
#include <cyborg/guide/ternary.hpp>

#include <algorithm>
#include <utility>

namespace torchcyborg {

namespace {

using cyborg::GradientScore;
using cyborg::TernaryForm;

constexpr std::array<Choice<GradientScore>, 3> kScores = {
    {{"log-probabilities", GradientScore::kLogProbabilities},
     {"loss", GradientScore::kLoss},
     {"logit", GradientScore::kLogit}}};

/// Sets an option where Python gives one.
template <class T, class Set>
void take(const py::dict& options, const char* name, const Set& set) {
  if (options.contains(name)) {
    try {
      set(options[name].cast<T>());
    } catch (const py::cast_error&) {
      throw py::type_error(
          "torchcyborg: expected another type for the option " +
          std::string(name) + ", got " +
          py::repr(options[name]).cast<std::string>());
    }
  }
}

/// Sets the two options that choose the class of a map.
template <class Options>
void take_class(const py::dict& given, Options& options) {
  take<std::string>(given, "cam_class", [&](const std::string& name) {
    options.cam_class(chosen("cam_class", kClasses, name));
  });
  take<int64_t>(
      given, "fixed_class", [&](int64_t fixed) { options.fixed_class(fixed); });
}

template <class T>
Term term_of(T made) {
  return {T::kNeeds, std::move(made)};
}

/// A distance of maps as a term.
template <class Distance>
TermKind distance_kind(const char* name, const char* help) {
  return {
      name,
      help,
      cyborg::needs::kNothing,
      {"cam_class", "fixed_class", "map_normalizer", "human_normalizer"},
      [](const py::dict& given) {
        cyborg::SaliencyTermOptions options;
        take_class(given, options);
        take<std::string>(given, "map_normalizer", [&](const std::string& n) {
          options.map_normalizer(chosen("map_normalizer", kNormalizers, n));
        });
        take<std::string>(given, "human_normalizer", [&](const std::string& n) {
          options.human_normalizer(chosen("human_normalizer", kNormalizers, n));
        });
        return term_of(cyborg::SaliencyTerm<Distance>(options));
      }};
}

TermKind ternary_kind(
    const char* name, const char* help, TernaryForm form,
    std::vector<std::string> options) {
  options.insert(options.end(), {"cam_class", "fixed_class"});
  return {
      name, help, cyborg::needs::kNothing, std::move(options),
      [form](const py::dict& given) {
        auto made = cyborg::TernaryOptions().form(form);
        take_class(given, made);
        take<double>(
            given, "threshold", [&](double value) { made.threshold(value); });
        take<double>(given, "slack", [&](double value) { made.slack(value); });
        return term_of(cyborg::Ternary{made});
      }};
}

std::vector<TermKind> make_kinds() {
  using namespace cyborg;  // NOLINT: the terms are all of the library
  return {
      distance_kind<L1>("l1", "mean absolute difference of the maps"),
      distance_kind<L2>(
          "l2", "mean squared difference (HINT without its ranking)"),
      distance_kind<KL>("kl", "divergence of the maps as distributions"),
      distance_kind<Cosine>("cosine", "angle between the maps"),
      distance_kind<Pearson>("pearson", "one minus the correlation"),
      distance_kind<Dice>("dice", "one minus the overlap"),
      distance_kind<BceWithLogits>(
          "bce", "binary cross entropy of the map as it is"),
      distance_kind<Ssim>("ssim", "one minus the structural similarity"),
      distance_kind<EnergyInside>(
          "energy", "share of the evidence outside people's map"),
      distance_kind<OutsideSquare>(
          "outside", "squared map where it is wrong: RRR-G"),
      ternary_kind(
          "gradia", "the map should be dark except where it is wanted",
          TernaryForm::kGradia, {}),
      ternary_kind(
          "haics", "cross entropy of the map where people said something",
          TernaryForm::kHaics, {}),
      ternary_kind(
          "res-g", "gradia with tolerance for maps that are not exact",
          TernaryForm::kResG, {"threshold", "slack"}),
      {"cam-entropy",
       "the map should be focused",
       CamEntropy::kNeeds,
       {"cam_class", "fixed_class"},
       [](const py::dict& given) {
         CamEntropyOptions options;
         take_class(given, options);
         return term_of(CamEntropy{options});
       }},
      {"right-reasons",
       "the gradient of the pictures where it is wrong: RRR, GALS",
       RightReasons::kNeeds,
       {"score", "power"},
       [](const py::dict& given) {
         RightReasonsOptions options;
         take<std::string>(given, "score", [&](const std::string& name) {
           options.score(chosen("score", kScores, name));
         });
         take<int64_t>(
             given, "power", [&](int64_t value) { options.power(value); });
         return term_of(RightReasons{options});
       }},
      {"harmonize",
       "the gradient of the pictures should be like people's map",
       Harmonize::kNeeds,
       {"levels"},
       [](const py::dict& given) {
         HarmonizeOptions options;
         take<int64_t>(
             given, "levels", [&](int64_t value) { options.levels(value); });
         return term_of(Harmonize{options});
       }},
      {"perturbed",
       "the loss of pictures that are changed where it is wrong: PGD-Ex",
       PerturbedReasons::kNeeds,
       {"steps", "epsilon", "low", "high"},
       [](const py::dict& given) {
         PerturbedReasons made;
         take<int64_t>(
             given, "steps", [&](int64_t value) { made.options.steps(value); });
         take<double>(given, "epsilon", [&](double value) {
           made.options.epsilon(value);
         });
         take<std::vector<double>>(
             given, "low", [&](std::vector<double> values) {
               made.options.low(std::move(values));
             });
         take<std::vector<double>>(
             given, "high", [&](std::vector<double> values) {
               made.options.high(std::move(values));
             });
         return term_of(std::move(made));
       }},
      {"sgt",
       "the prediction should not change where the gradient is small",
       SaliencyGuidedTraining::kNeeds,
       {"fraction"},
       [](const py::dict& given) {
         SaliencyGuidedTraining made;
         take<double>(given, "fraction", [&](double value) {
           made.options.fraction(value);
         });
         return term_of(std::move(made));
       }}};
}

}  // namespace

const std::vector<TermKind>& term_kinds() {
  static const std::vector<TermKind> kinds = make_kinds();
  return kinds;
}

Term term_named(const std::string& name, const py::dict& options) {
  std::string names;
  for (const auto& kind : term_kinds()) {
    names += (names.empty() ? "" : ", ") + std::string(kind.name);
    if (name != kind.name) {
      continue;
    }
    for (const auto& [key, value] : options) {
      const auto option = key.cast<std::string>();
      const auto& known = kind.options;
      if (std::find(known.begin(), known.end(), option) == known.end()) {
        std::string own;
        for (const auto& one : known) {
          own += (own.empty() ? "" : ", ") + one;
        }
        throw py::type_error(
            "torchcyborg: the term " + name + " has no option " + option +
            "; it has " + own);
      }
    }
    return kind.make(options);
  }
  throw py::value_error(
      "torchcyborg: expected a term among " + names +
      ", or a function that takes what was seen and returns values [B], got '" +
      name + "'");
}

unsigned need_named(const std::string& name) {
  constexpr std::array<Choice<unsigned>, 2> kNeeds = {
      {{"input-gradient", cyborg::needs::kInputGradient},
       {"forward", cyborg::needs::kForward}}};
  return chosen("needs", kNeeds, name);
}

}  // namespace torchcyborg
