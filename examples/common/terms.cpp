// SPDX-License-Identifier: BSD-3-Clause
#include "terms.hpp"

#include "choices.hpp"

#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/harmonize.hpp>
#include <cyborg/guide/perturb.hpp>
#include <cyborg/guide/right_reasons.hpp>
#include <cyborg/guide/saliency_term.hpp>
#include <cyborg/guide/ternary.hpp>

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace programs {

template <>
struct Choices<cyborg::GradientScore> {
  static constexpr Choice<cyborg::GradientScore> kAll[] = {
      {cyborg::GradientScore::kLogProbabilities, "log-probabilities", ""},
      {cyborg::GradientScore::kLoss, "loss", ""},
      {cyborg::GradientScore::kLogit, "logit", ""}};
};

namespace {

/// The classes whose map a term may compare.
struct ClassName {
  const char* name;
  cyborg::CamClass value;
};
constexpr ClassName kClassNames[] = {
    {"label", cyborg::CamClass::kLabel},
    {"predicted", cyborg::CamClass::kPredicted},
    {"difference", cyborg::CamClass::kDifference}};

const TermOption kClass = {
    "class", "label", "label, predicted or difference (label minus rival)"};

double number_of(const std::string& name, const std::string& text) {
  std::istringstream in(text);
  in.imbue(std::locale::classic());
  double value = 0;
  in >> value;
  if (in.fail() || !in.eof() || !std::isfinite(value)) {
    throw std::invalid_argument(
        fmt::format("expected a number for {}, got {}", name, text));
  }
  return value;
}

double number_in(const TermSetting& term, const std::string& name) {
  return number_of(name, term.options.at(name));
}

int64_t whole_in(const TermSetting& term, const std::string& name) {
  const double value = number_in(term, name);
  if (value != std::floor(value) || std::abs(value) > 1e6) {
    throw std::invalid_argument(fmt::format(
        "expected a whole number for {}, got {}", name, term.options.at(name)));
  }
  return static_cast<int64_t>(value);
}

cyborg::CamClass class_in(const TermSetting& term) {
  const auto& wanted = term.options.at("class");
  for (const auto& one : kClassNames) {
    if (wanted == one.name) {
      return one.value;
    }
  }
  throw std::invalid_argument(
      "expected label, predicted or difference for class, got " + wanted);
}

template <class T>
void put(cyborg::Guidance& guidance, const TermSetting& term, T made) {
  guidance.add(
      term.kind, term.strength, std::move(made), cyborg::Blend::kAdditive);
}

/// A distance of maps as a term.
template <class Distance>
TermKind distance_kind(
    const char* name, const char* help, double strength,
    TermReads reads = TermReads::kMaps) {
  return {
      name,
      help,
      reads,
      cyborg::needs::kNothing,
      strength,
      {kClass},
      [](auto& guidance, const auto& term, const auto&) {
        put(guidance, term,
            cyborg::SaliencyTerm<Distance>(
                cyborg::SaliencyTermOptions().cam_class(class_in(term))));
      }};
}

/// One form of `Ternary` as a term.
TermKind ternary_kind(
    const char* name, const char* help, cyborg::TernaryForm form,
    std::vector<TermOption> options) {
  options.push_back(kClass);
  return {
      name,
      help,
      TermReads::kEither,
      cyborg::needs::kNothing,
      1,
      std::move(options),
      [form](auto& guidance, const auto& term, const auto&) {
        auto made =
            cyborg::TernaryOptions().form(form).cam_class(class_in(term));
        if (form == cyborg::TernaryForm::kResG) {
          made.threshold(number_in(term, "threshold"))
              .slack(number_in(term, "slack"));
        }
        put(guidance, term, cyborg::Ternary{made});
      }};
}

std::vector<TermKind> make_kinds() {
  using namespace cyborg;  // NOLINT: the terms are all of the library
  return {
      distance_kind<L1>("l1", "mean absolute difference of the maps", 1),
      distance_kind<L2>(
          "l2", "mean squared difference (HINT without its ranking)", 1),
      distance_kind<KL>("kl", "divergence of the maps as distributions", 1),
      distance_kind<Cosine>("cosine", "angle between the maps", 1),
      distance_kind<Pearson>("pearson", "one minus the correlation", 1),
      distance_kind<Dice>("dice", "one minus the overlap", 1),
      distance_kind<BceWithLogits>(
          "bce", "binary cross entropy of the map as it is", 1),
      distance_kind<Ssim>("ssim", "one minus the structural similarity", 1),
      distance_kind<EnergyInside>(
          "energy", "share of the evidence outside people's map", 1),
      distance_kind<OutsideSquare>(
          "outside", "squared map where it is wrong: RRR-G", 1,
          TermReads::kWrong),
      ternary_kind(
          "gradia", "the map should be dark except where it is wanted",
          TernaryForm::kGradia, {}),
      ternary_kind(
          "haics", "cross entropy of the map where people said something",
          TernaryForm::kHaics, {}),
      ternary_kind(
          "res-g", "gradia with tolerance for maps that are not exact",
          TernaryForm::kResG,
          {{"threshold", "0.5", "what separates wanted from unwanted"},
           {"slack", "0.1", "how much disagreement is free"}}),
      {"cam-entropy",
       "the map should be focused",
       TermReads::kNothing,
       needs::kNothing,
       0.1,
       {kClass},
       [](auto& guidance, const auto& term, const auto&) {
         put(guidance, term,
             CamEntropy{CamEntropyOptions().cam_class(class_in(term))});
       }},
      {"right-reasons",
       "the gradient of the pictures where it is wrong: RRR, GALS",
       TermReads::kWrong,
       RightReasons::kNeeds,
       1,
       {{"score", "log-probabilities",
         "whose gradient: " + choice_names<GradientScore>()},
        {"power", "2", "2 or 1"}},
       [](auto& guidance, const auto& term, const auto&) {
         put(guidance, term,
             RightReasons{RightReasonsOptions()
                              .score(choice_named<GradientScore>(
                                  term.options.at("score")))
                              .power(whole_in(term, "power"))});
       }},
      {"harmonize",
       "the gradient of the pictures should be like people's map",
       TermReads::kMaps,
       Harmonize::kNeeds,
       1,
       {{"levels", "5", "scales that are compared"}},
       [](auto& guidance, const auto& term, const auto&) {
         put(guidance, term,
             Harmonize{HarmonizeOptions().levels(whole_in(term, "levels"))});
       }},
      {"perturbed",
       "the loss of pictures that are changed where it is wrong: PGD-Ex",
       TermReads::kWrong,
       PerturbedReasons::kNeeds,
       1,
       {{"steps", "3", "steps of the attack"},
        {"epsilon", "1", "how far a pixel is moved, as a share of its range"}},
       [](auto& guidance, const auto& term, const auto& surroundings) {
         PerturbedReasons made;
         made.options.steps(whole_in(term, "steps"))
             .epsilon(number_in(term, "epsilon"))
             .low(surroundings.low)
             .high(surroundings.high);
         made.while_attacking = surroundings.while_attacking;
         put(guidance, term, std::move(made));
       }},
      {"sgt",
       "the prediction should not change where the gradient is small",
       TermReads::kNothing,
       SaliencyGuidedTraining::kNeeds,
       1,
       {{"fraction", "0.5", "share of the pixels that is masked"}},
       [](auto& guidance, const auto& term, const auto& surroundings) {
         SaliencyGuidedTraining made;
         made.options.fraction(number_in(term, "fraction"));
         if (surroundings.generator.defined()) {
           made.options.generator(surroundings.generator);
         }
         put(guidance, term, std::move(made));
       }}};
}

/// The names, with commas.
template <class Range, class Name>
std::string joined(const Range& range, const Name& name) {
  std::string out;
  for (const auto& one : range) {
    out += (out.empty() ? "" : ", ") + name(one);
  }
  return out;
}

void set_option(
    TermSetting& term, const TermKind& kind, const std::string& name,
    const std::string& value) {
  if (name == "strength" || name == "from" || name == "ramp") {
    const double number = number_of(name, value);
    if (number < 0) {
      throw std::invalid_argument(
          fmt::format("expected {} >= 0, got {}", name, value));
    }
    (name == "strength" ? term.strength
     : name == "from"   ? term.from
                        : term.ramp) = number;
    return;
  }
  if (term.options.count(name) == 0) {
    const auto own =
        joined(kind.options, [](const auto& option) { return option.name; });
    throw std::invalid_argument(fmt::format(
        "the term {} has no option {}; it has strength, from, ramp{}{}",
        kind.name, name, own.empty() ? "" : ", ", own));
  }
  term.options[name] = value;
}

}  // namespace

const std::vector<TermKind>& term_kinds() {
  static const std::vector<TermKind> kinds = make_kinds();
  return kinds;
}

const TermKind& term_kind(const std::string& name) {
  const auto& kinds = term_kinds();
  const auto found = std::find_if(
      kinds.begin(), kinds.end(),
      [&](const auto& kind) { return kind.name == name; });
  if (found == kinds.end()) {
    throw std::invalid_argument(fmt::format(
        "expected one of {}, got {}",
        joined(kinds, [](const auto& kind) { return kind.name; }), name));
  }
  return *found;
}

TermSetting parse_term(const std::string& text) {
  const auto colon = text.find(':');
  const auto& kind = term_kind(text.substr(0, colon));
  TermSetting term;
  term.kind = kind.name;
  term.strength = kind.strength;
  for (const auto& option : kind.options) {
    term.options[option.name] = option.value;
  }
  if (colon != std::string::npos) {
    std::istringstream rest(text.substr(colon + 1));
    for (std::string part; std::getline(rest, part, ',');) {
      const auto equals = part.find('=');
      if (equals == std::string::npos || equals == 0) {
        throw std::invalid_argument(fmt::format(
            "expected option=value behind {}:, got {}", kind.name, part));
      }
      set_option(term, kind, part.substr(0, equals), part.substr(equals + 1));
    }
  }
  cyborg::Guidance trial;  // so that wrong values are errors now
  try {
    kind.add(trial, term, {});
  } catch (const c10::Error& error) {
    // "cyborg::RightReasons: expected ..." names what the caller did not write.
    const std::string reason = error.what_without_backtrace();
    throw std::invalid_argument(fmt::format(
        "the term {}{}", kind.name, reason.substr(reason.find(": "))));
  }
  return term;
}

std::string to_text(const TermSetting& term) {
  auto text = fmt::format("{}:strength={}", term.kind, term.strength);
  if (term.from > 0) {
    text += fmt::format(",from={}", term.from);
  }
  if (term.ramp > 0) {
    text += fmt::format(",ramp={}", term.ramp);
  }
  for (const auto& option : term_kind(term.kind).options) {
    const auto& value = term.options.at(option.name);
    if (value != option.value) {
      text += "," + option.name + "=" + value;
    }
  }
  return text;
}

void add_term(
    cyborg::Guidance& guidance, const TermSetting& term,
    const TermSurroundings& surroundings) {
  term_kind(term.kind).add(guidance, term, surroundings);
}

double strength_at(const TermSetting& term, double epoch) {
  if (epoch < term.from) {
    return 0;
  }
  return term.ramp == 0
             ? term.strength
             : term.strength *
                   std::clamp((epoch - term.from) / term.ramp, 0.0, 1.0);
}

std::string terms_text() {
  std::string text;
  for (const auto& kind : term_kinds()) {
    const char* const reads = kind.reads == TermReads::kMaps    ? "human maps"
                              : kind.reads == TermReads::kWrong ? "masks"
                              : kind.reads == TermReads::kEither
                                  ? "human maps, masks or both"
                                  : "neither maps nor masks";
    text += fmt::format(
        "{:<15}{}\n{:<15}reads {}; strength={}", kind.name, kind.help, "",
        reads, kind.strength);
    for (const auto& option : kind.options) {
      text += fmt::format(", {}={}", option.name, option.value);
    }
    text += "\n";
    for (const auto& option : kind.options) {
      if (option.name != kClass.name) {
        text += fmt::format("{:<15}{}: {}\n", "", option.name, option.help);
      }
    }
  }
  return text +
         fmt::format(
             "class: {}\nAll terms have strength, from (the first epoch, "
             "from 0) and ramp (epochs in which the strength rises).\n",
             kClass.help);
}

}  // namespace programs
