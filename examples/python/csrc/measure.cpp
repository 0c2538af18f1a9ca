// SPDX-License-Identifier: BSD-3-Clause
// Scores of detectors and of maps.
#include "common.hpp"

#include <cyborg/measure/detection.hpp>
#include <cyborg/measure/overlap.hpp>
#include <cyborg/measure/roc.hpp>
#include <cyborg/measure/saliency.hpp>
#include <cyborg/measure/statistics.hpp>
#include <cyborg/measure/wrong_reason.hpp>

#include <tuple>
#include <vector>

namespace torchcyborg {

namespace {

namespace measure = cyborg::measure;
using Others = py::call_guard<py::gil_scoped_release>;
using Numbers = std::vector<double>;

/// A function of two maps that returns one number a sample.
using OfMaps = Tensor (*)(const Tensor&, const Tensor&);

/// A function of scores and labels.
using OfScores = double (*)(const Tensor&, const Tensor&);

measure::OverlapOptions overlap(
    double threshold, double human_threshold, double top, double human_top,
    double empty) {
  using measure::MapThreshold;
  return measure::OverlapOptions()
      .prediction(MapThreshold().value(threshold).top(top))
      .human(MapThreshold().value(human_threshold).top(human_top))
      .empty(empty);
}

template <class Function>
void def_overlap(
    py::module_& module, const char* name, const Function& function,
    const char* doc) {
  module.def(
      name,
      [function](
          const Tensor& prediction, const Tensor& human, double threshold,
          double human_threshold, double top, double human_top, double empty) {
        return function(
            prediction, human,
            overlap(threshold, human_threshold, top, human_top, empty));
      },
      Others(), py::arg("prediction"), py::arg("human"), py::kw_only(),
      py::arg("threshold") = 0.5, py::arg("human_threshold") = 0.5,
      py::arg("top") = 0.0, py::arg("human_top") = 0.0, py::arg("empty") = 0.0,
      doc);
}

}  // namespace

void bind_measure(py::module_& parent) {
  auto module = parent.def_submodule("measure");

  const auto of_scores = [&](const char* name, OfScores function,
                             const char* doc) {
    module.def(
        name, function, Others(), py::arg("scores"), py::arg("labels"), doc);
  };
  of_scores(
      "roc_auc", &measure::roc_auc, "Area under the ROC curve: [N], 0 or 1.");
  of_scores(
      "d_prime", &measure::d_prime,
      "Distance between the mean scores of two classes, in their spread.");
  of_scores(
      "equal_error_rate",
      [](const Tensor& scores, const Tensor& labels) {
        return measure::equal_error_rate(measure::roc_curve(scores, labels));
      },
      "The error at which both kinds of errors are equally frequent.");
  module.def(
      "tpr_at_fpr",
      [](const Tensor& scores, const Tensor& labels, double fpr) {
        return measure::tpr_at_fpr(measure::roc_curve(scores, labels), fpr);
      },
      Others(), py::arg("scores"), py::arg("labels"), py::arg("fpr"),
      "True positive rate at a false positive rate.");
  module.def(
      "threshold_at_fpr",
      [](const Tensor& scores, const Tensor& labels, double fpr) {
        return measure::threshold_at_fpr(
            measure::roc_curve(scores, labels), fpr);
      },
      Others(), py::arg("scores"), py::arg("labels"), py::arg("fpr"),
      "The lowest threshold whose false positive rate is at most `fpr`.");
  module.def(
      "roc_curve",
      [](const Tensor& scores, const Tensor& labels) {
        std::vector<std::tuple<double, double, double>> points;
        for (const auto& point : measure::roc_curve(scores, labels)) {
          points.emplace_back(point.threshold, point.fpr, point.tpr);
        }
        return points;
      },
      Others(), py::arg("scores"), py::arg("labels"),
      "The ROC curve as (threshold, fpr, tpr), thresholds falling.");
  module.def(
      "accuracy", &measure::accuracy, Others(), py::arg("logits"),
      py::arg("labels"),
      "Share of samples whose largest logit is the label's.");
  module.def(
      "confusion_matrix", &measure::confusion_matrix, Others(),
      py::arg("predicted"), py::arg("labels"), py::arg("classes"),
      "Counts [K, K]: samples of class i that were predicted as class k.");
  module.def(
      "balanced_accuracy", &measure::balanced_accuracy, Others(),
      py::arg("confusion"), "Mean over classes of the share that was right.");

  const auto of_maps = [&](const char* name, OfMaps function, const char* doc,
                           const char* second = "human") {
    module.def(
        name, function, Others(), py::arg("prediction"), py::arg(second), doc);
  };
  of_maps(
      "map_correlation", &measure::map_correlation,
      "Correlation (Pearson) of two maps: [B, H, W] -> [B].");
  of_maps(
      "map_rank_correlation", &measure::map_rank_correlation,
      "Rank correlation (Spearman) of two maps.");
  of_maps(
      "map_similarity", &measure::map_similarity,
      "Histogram intersection of two maps.");
  of_maps(
      "map_divergence", &measure::map_divergence,
      "Kullback-Leibler divergence of two maps.");
  of_maps(
      "map_absolute_error", &measure::map_absolute_error,
      "Mean absolute difference of two maps.");
  of_maps("nss", &measure::nss, "Normalised scanpath saliency.", "fixations");
  of_maps(
      "energy_inside", &measure::energy_inside,
      "Share of the prediction's energy inside a region.", "region");
  of_maps(
      "pointing_hit", &measure::pointing_hit,
      "Whether the highest pixel is inside a region: 1 or 0.", "region");
  module.def(
      "auc_judd",
      [](const Tensor& prediction, const Tensor& fixations, bool jitter,
         uint64_t seed) {
        return measure::auc_judd(
            prediction, fixations,
            measure::AucJuddOptions().jitter(jitter).seed(seed));
      },
      Others(), py::arg("prediction"), py::arg("fixations"), py::kw_only(),
      py::arg("jitter") = true, py::arg("seed") = 0,
      "Area under the ROC curve of a map against fixations.");
  module.def(
      "map_entropy", &measure::map_entropy, Others(), py::arg("maps"),
      "Entropy of maps [B, H, W], as a share of the largest one.");
  def_overlap(
      module, "map_iou",
      [](const Tensor& a, const Tensor& b, const auto& options) {
        return measure::map_iou(a, b, options);
      },
      "Intersection over union of what is above the thresholds.");
  def_overlap(
      module, "map_dice",
      [](const Tensor& a, const Tensor& b, const auto& options) {
        return measure::map_dice(a, b, options);
      },
      "Dice coefficient of what is above the thresholds.");
  module.def(
      "wrong_reason",
      [](const Tensor& maps, const Tensor& wrong) {
        const auto found = measure::wrong_reason(maps, wrong);
        return std::make_tuple(found.score, found.limit, found.blank);
      },
      Others(), py::arg("maps"), py::arg("wrong"),
      "Share of the wrong region that maps mark: (score, limit, blank).");

  module.def(
      "mean_std",
      [](const Numbers& values) {
        const auto found = measure::mean_std(values);
        return std::make_tuple(found.mean, found.std);
      },
      Others(), py::arg("values"), "Mean and standard deviation (n - 1).");
  module.def(
      "quantile",
      [](const Numbers& values, double q) {
        return measure::quantile(values, q);
      },
      Others(), py::arg("values"), py::arg("q"), "The quantile q of values.");
  module.def(
      "paired_difference",
      [](const Numbers& row, const Numbers& against, double confidence,
         int64_t resamples, uint64_t seed) {
        const auto found = measure::paired_difference(
            row, against,
            measure::BootstrapOptions()
                .confidence(confidence)
                .resamples(resamples)
                .seed(seed));
        return std::make_tuple(found.difference, found.low, found.high);
      },
      Others(), py::arg("row"), py::arg("against"), py::kw_only(),
      py::arg("confidence") = 0.95, py::arg("resamples") = 10000,
      py::arg("seed") = 0,
      "Mean paired difference and its bootstrap interval: (mean, low, high).");
}

}  // namespace torchcyborg
