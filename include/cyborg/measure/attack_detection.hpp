// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/measure/detail/class_scores.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

// Presentation attack detection as ISO/IEC 30107-3 judges it.
//
// In this file, label 1 is an attack and label 0 is bona fide. A higher score
// means that an attack is more likely; score >= threshold counts as an attack.
// Competitions differ in the sign of scores and in the use of >= or >; change
// the scores accordingly first. A sample without a score must get one (LivDet
// counts it as an attack).

namespace cyborg::measure {

/// Error of one type of attack (presentation attack instrument species).
struct AttackSpecies {
  std::string name;
  int64_t count;  ///< attacks of this type
  double apcer;   ///< share of them that passed as bona fide
};

/// The error rates of attacks at one threshold.
struct AttackErrors {
  std::vector<AttackSpecies> species;  ///< by name
  double apcer;         ///< the highest of all types, as in the standard
  double apcer_pooled;  ///< of all attacks together, as in many papers
};

/// The error rates at one threshold.
struct AttackDetection {
  std::vector<AttackSpecies> species;  ///< by name
  double apcer;         ///< the highest of all types, as in the standard
  double apcer_pooled;  ///< of all attacks together, as in many papers
  double bpcer;         ///< share of bona fide samples taken for attacks

  /// (APCER + BPCER) / 2. The standard had it, but no longer has.
  double acer() const { return (apcer + bpcer) / 2; }
  /// The same with the pooled APCER.
  double acer_pooled() const { return (apcer_pooled + bpcer) / 2; }
};

namespace detail {

/// Scores, separated by what the samples are; every vector is ascending.
struct AttackScores {
  std::map<std::string, std::vector<double>> attack;  // by type, none empty
  std::vector<double> bona_fide;                      // not empty
};

/// Checks the arguments and separates the scores. Without `species` all attacks
/// are of the type "".
inline AttackScores attack_scores(
    const char* name, const torch::Tensor& scores, const torch::Tensor& labels,
    const std::vector<std::string>& species) {
  const auto all = labelled_scores(name, scores, labels);
  TORCH_CHECK_VALUE(
      species.empty() || species.size() == all.score.size(), name,
      ": expected no types of attack or one for each of ", all.score.size(),
      " samples, got ", species.size());
  AttackScores out;
  for (size_t i = 0; i < all.score.size(); ++i) {
    auto& scores_of = all.label[i] == 0
                          ? out.bona_fide
                          : out.attack[species.empty() ? "" : species[i]];
    scores_of.push_back(all.score[i]);
  }
  std::sort(out.bona_fide.begin(), out.bona_fide.end());
  for (auto& type : out.attack) {
    std::sort(type.second.begin(), type.second.end());
  }
  return out;
}

/// The error rates of attacks, whose scores are separated by type and ascending.
inline AttackErrors attack_errors(
    const std::map<std::string, std::vector<double>>& attacks,
    double threshold) {
  AttackErrors out{{}, 0, 0};
  double passed = 0;
  double count = 0;
  for (const auto& [name, scores] : attacks) {
    const auto all = static_cast<int64_t>(scores.size());
    const double apcer = share_below(scores, threshold);
    out.species.push_back({name, all, apcer});
    out.apcer = std::max(out.apcer, apcer);
    passed += std::round(apcer * static_cast<double>(all));
    count += static_cast<double>(all);
  }
  out.apcer_pooled = passed / count;
  return out;
}

/// The two error rates at one threshold.
struct ErrorPair {
  double apcer;  // the highest of all types
  double bpcer;
};

/// The errors when scores of at least `threshold` count as attacks.
inline ErrorPair error_pair(const AttackScores& scores, double threshold) {
  ErrorPair error{0, share_from(scores.bona_fide, threshold)};
  for (const auto& type : scores.attack) {
    error.apcer = std::max(error.apcer, share_below(type.second, threshold));
  }
  return error;
}

/// Calls `visit(threshold, errors)` for every distinct score, ascending, and
/// for +inf, where nothing counts as an attack.
template <class Visit>
void each_threshold(const AttackScores& scores, const Visit& visit) {
  std::vector<double> thresholds = scores.bona_fide;
  for (const auto& type : scores.attack) {
    thresholds.insert(thresholds.end(), type.second.begin(), type.second.end());
  }
  thresholds.push_back(std::numeric_limits<double>::infinity());
  std::sort(thresholds.begin(), thresholds.end());
  thresholds.erase(
      std::unique(thresholds.begin(), thresholds.end()), thresholds.end());
  for (const double threshold : thresholds) {
    visit(threshold, error_pair(scores, threshold));
  }
}

}  // namespace detail

/// APCER for each type of attack and the highest, BPCER and ACER at a
/// threshold.
///
///     APCER_s = #{attack of type s, score < threshold} / #{attack of type s}
///     APCER   = max_s APCER_s
///     BPCER   = #{bona fide, score >= threshold} / #{bona fide}
///
/// `species` names the type of each sample; the names of bona fide samples are
/// not read. Without it all attacks are of one type, named "".
///
/// Shapes: scores [N], labels [N] (0 bona fide, 1 attack), species N or none.
/// Range: rates in [0, 1].
/// Throws: shapes that differ, a NaN score or threshold, another label, no
///         attack or no bona fide sample, species of another number.
/// Source: ISO/IEC 30107-3:2023.
/// Example:
///     auto errors = cyborg::measure::attack_detection(
///         scores, labels, threshold, {"print", "", "replay", ""});
///     double worst = errors.apcer;
inline AttackDetection attack_detection(
    const torch::Tensor& scores, const torch::Tensor& labels, double threshold,
    const std::vector<std::string>& species = {}) {
  constexpr auto* kName = "cyborg::measure::attack_detection";
  TORCH_CHECK_VALUE(
      !std::isnan(threshold), kName, ": expected a threshold, got NaN");
  const auto by_type = detail::attack_scores(kName, scores, labels, species);
  auto attacks = detail::attack_errors(by_type.attack, threshold);
  return {
      std::move(attacks.species), attacks.apcer, attacks.apcer_pooled,
      detail::share_from(by_type.bona_fide, threshold)};
}

/// APCER for each type of attack and the highest at a threshold, from attacks
/// alone: for a test set without bona fide samples. The threshold has to come
/// from elsewhere.
///
/// Shapes: scores [N] of attacks, species N or none.
/// Range: as `attack_detection`, which returns the same rates.
/// Throws: another shape, no score, a NaN score or threshold, species of
///         another number.
/// Source: ISO/IEC 30107-3:2023.
/// Example:
///     auto errors = cyborg::measure::apcer_at_threshold(
///         scores, threshold, {"print", "replay", "print"});
///     double worst = errors.apcer;
inline AttackErrors apcer_at_threshold(
    const torch::Tensor& scores, double threshold,
    const std::vector<std::string>& species = {}) {
  constexpr auto* kName = "cyborg::measure::apcer_at_threshold";
  TORCH_CHECK_VALUE(
      !std::isnan(threshold), kName, ": expected a threshold, got NaN");
  const auto count = detail::scores_of_one_class(kName, scores).size();
  TORCH_CHECK_VALUE(
      species.empty() || species.size() == count, kName,
      ": expected no types of attack or one for each of ", count,
      " samples, got ", species.size());
  const auto value = scores.detach().to(at::kCPU, at::kDouble).contiguous();
  std::map<std::string, std::vector<double>> by_type;
  for (size_t i = 0; i < count; ++i) {
    by_type[species.empty() ? "" : species[i]].push_back(
        value.data_ptr<double>()[i]);
  }
  for (auto& type : by_type) {
    std::sort(type.second.begin(), type.second.end());
  }
  return detail::attack_errors(by_type, threshold);
}

/// BPCER at a threshold, from bona fide samples alone: for a test set without
/// attacks. The threshold has to come from elsewhere.
///
/// Shapes: scores [N] of bona fide samples.
/// Range: [0, 1].
/// Throws: another shape, no score, a NaN score or threshold.
/// Source: ISO/IEC 30107-3:2023.
/// Example:
///     double bpcer = cyborg::measure::bpcer_at_threshold(scores, threshold);
inline double bpcer_at_threshold(
    const torch::Tensor& scores, double threshold) {
  constexpr auto* kName = "cyborg::measure::bpcer_at_threshold";
  TORCH_CHECK_VALUE(
      !std::isnan(threshold), kName, ": expected a threshold, got NaN");
  return detail::share_from(
      detail::scores_of_one_class(kName, scores), threshold);
}

/// The lowest BPCER of all thresholds at which the APCER (the highest of all
/// types) is at most `apcer`. BPCER10, BPCER20 and BPCER100 are those at 0.1,
/// 0.05 and 0.01. There is no interpolation: a threshold with these errors
/// exists.
///
/// Shapes: as `attack_detection`.
/// Range: apcer and result in [0, 1].
/// Throws: as `attack_detection`; apcer outside [0, 1].
/// Source: ISO/IEC 30107-3:2023.
/// Example:
///     double bpcer20 =
///         cyborg::measure::bpcer_at_apcer(scores, labels, 0.05, species);
inline double bpcer_at_apcer(
    const torch::Tensor& scores, const torch::Tensor& labels, double apcer,
    const std::vector<std::string>& species = {}) {
  constexpr auto* kName = "cyborg::measure::bpcer_at_apcer";
  TORCH_CHECK_VALUE(
      apcer >= 0 && apcer <= 1, kName, ": expected apcer in [0, 1], got ",
      apcer);
  double lowest = 1;
  detail::each_threshold(
      detail::attack_scores(kName, scores, labels, species),
      [&](double, const detail::ErrorPair& error) {
        lowest = error.apcer <= apcer ? std::min(lowest, error.bpcer) : lowest;
      });
  return lowest;
}

/// The lowest APCER (the highest of all types) of all thresholds at which the
/// BPCER is at most `bpcer`. There is no interpolation.
///
/// Shapes: as `attack_detection`.
/// Range: bpcer and result in [0, 1].
/// Throws: as `attack_detection`; bpcer outside [0, 1].
/// Source: ISO/IEC 30107-3:2023.
/// Example:
///     double apcer =
///         cyborg::measure::apcer_at_bpcer(scores, labels, 0.01, species);
inline double apcer_at_bpcer(
    const torch::Tensor& scores, const torch::Tensor& labels, double bpcer,
    const std::vector<std::string>& species = {}) {
  constexpr auto* kName = "cyborg::measure::apcer_at_bpcer";
  TORCH_CHECK_VALUE(
      bpcer >= 0 && bpcer <= 1, kName, ": expected bpcer in [0, 1], got ",
      bpcer);
  double lowest = 1;
  detail::each_threshold(
      detail::attack_scores(kName, scores, labels, species),
      [&](double, const detail::ErrorPair& error) {
        lowest = error.bpcer <= bpcer ? std::min(lowest, error.apcer) : lowest;
      });
  return lowest;
}

/// The threshold with the lowest ACER; the lowest of several. The ACER is that
/// of the highest APCER of all types; without `species` it is the pooled one.
/// Apply it to another set, as score >= threshold: on the set on which it was
/// chosen, the ACER looks better than it is.
///
/// Shapes: as `attack_detection`.
/// Range: one of the scores, or +inf (nothing counts as an attack).
/// Throws: as `attack_detection`.
/// Example:
///     double t = cyborg::measure::threshold_at_min_acer(
///         validation_scores, validation_labels);
///     auto errors = cyborg::measure::attack_detection(scores, labels, t);
inline double threshold_at_min_acer(
    const torch::Tensor& scores, const torch::Tensor& labels,
    const std::vector<std::string>& species = {}) {
  double best = 0;
  double lowest = std::numeric_limits<double>::infinity();
  detail::each_threshold(
      detail::attack_scores(
          "cyborg::measure::threshold_at_min_acer", scores, labels, species),
      [&](double threshold, const detail::ErrorPair& error) {
        const double acer = (error.apcer + error.bpcer) / 2;
        if (acer < lowest) {
          lowest = acer;
          best = threshold;
        }
      });
  return best;
}

}  // namespace cyborg::measure
