// SPDX-License-Identifier: BSD-3-Clause
#include "report.hpp"

#include "wording.hpp"

#include "../common/report/html.hpp"
#include "../common/report/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace evaluate {

namespace {

namespace report = programs::report;

report::HtmlTable summary_table(const std::vector<RunResult>& runs) {
  report::HtmlTable table;
  table.head = {"measure"};
  for (const auto& run : runs) {
    table.head.push_back(run.name);
  }
  if (runs.size() > 1) {
    table.head.emplace_back("mean ± std");
  }
  for (const auto& row : summarize(runs)) {
    std::vector<std::string> cells = {row.name};
    for (const double value : row.values) {
      cells.push_back(number_text(value));
    }
    if (runs.size() > 1) {
      cells.push_back(mean_text(row));
    }
    table.rows.push_back(std::move(cells));
  }
  table.caption =
      "Standard deviation with n − 1. –: the run does not have this measure.";
  return table;
}

/// The ROC curve without points that would be drawn at the same place.
report::LineSeries roc_line(const RunResult& run) {
  report::LineSeries line{short_name(run.name), {}, {}};
  constexpr double kVisible = 1.0 / 500;
  for (const auto& point : run.curve) {
    if (line.x.empty() || &point == &run.curve.back() ||
        point.fpr - line.x.back() > kVisible ||
        point.tpr - line.y.back() > kVisible) {
      line.x.push_back(point.fpr);
      line.y.push_back(point.tpr);
    }
  }
  return line;
}

/// A histogram of scores: 20 bins of [0, 1], drawn as steps.
report::LineSeries histogram(
    const std::string& name, const std::vector<double>& scores) {
  constexpr size_t kBins = 20;
  std::vector<double> share(kBins, 0);
  for (const double score : scores) {
    const auto bin = static_cast<size_t>(score * kBins);
    share[std::min(bin, kBins - 1)] += 1 / static_cast<double>(scores.size());
  }
  report::LineSeries line{name, {}, {}};
  for (size_t i = 0; i < kBins; ++i) {
    for (const size_t end : {i, i + 1}) {
      line.x.push_back(static_cast<double>(end) / kBins);
      line.y.push_back(share[i]);
    }
  }
  return line;
}

void add_charts(report::HtmlPage& page, const std::vector<RunResult>& runs) {
  std::vector<report::LineSeries> lines;
  std::vector<double> positive;
  std::vector<double> negative;
  for (const auto& run : runs) {
    if (!run.curve.empty()) {  // empty where the split holds one class
      lines.push_back(roc_line(run));
    }
    positive.insert(
        positive.end(), run.positive_scores.begin(), run.positive_scores.end());
    negative.insert(
        negative.end(), run.negative_scores.begin(), run.negative_scores.end());
  }
  if (!lines.empty()) {
    lines.push_back({"chance", {0, 1}, {0, 1}, 7});
    page.section("ROC").chart(
        report::line_chart(
            lines, report::PlotOptions()
                       .x_label("false positive rate")
                       .y_label("true positive rate")
                       .description("ROC curve of each run")),
        "At each threshold: how many of the negatives and of the positives are "
        "predicted as positive.");
  }
  const auto& run = runs[0];
  const auto label = static_cast<size_t>(run.positive);
  std::vector<report::LineSeries> histograms;
  if (!negative.empty()) {
    histograms.push_back(histogram(run.classes[1 - label], negative));
  }
  if (!positive.empty()) {
    histograms.push_back(histogram(run.classes[label], positive));
  }
  page.section("Scores").chart(
      report::line_chart(
          histograms,
          report::PlotOptions()
              .x_label("score of " + run.classes[label])
              .y_label("share of the class")
              .description("Histogram of the scores of each class")),
      "Histogram of the scores of each class, 20 bins" +
          std::string(runs.size() > 1 ? ", all runs together." : "."));
}

/// The confusion matrix of all runs together.
report::HtmlTable confusion_table(const std::vector<RunResult>& runs) {
  report::HtmlTable table;
  const auto& classes = runs[0].classes;
  table.head = {"class"};
  for (const auto& name : classes) {
    table.head.push_back("predicted " + name);
  }
  for (size_t i = 0; i < classes.size(); ++i) {
    table.rows.push_back({classes[i]});
    for (size_t k = 0; k < classes.size(); ++k) {
      int64_t count = 0;
      for (const auto& run : runs) {
        count += run.confusion[i][k];
      }
      table.rows[i].push_back(std::to_string(count));
    }
  }
  table.caption = runs.size() > 1 ? "Samples, all runs together." : "Samples.";
  return table;
}

}  // namespace

std::string to_html(
    const std::vector<RunResult>& runs, const EvaluateOptions& options) {
  report::HtmlPage page(
      "Evaluation",
      fmt::format(
          "{} of split \"{}\".",
          runs.size() == 1 ? "One run" : fmt::format("{} runs", runs.size()),
          options.split));
  page.section("Runs");
  for (const auto& run : runs) {
    page.paragraph(run.name + ": " + describe(run) + ".");
    for (const auto& note : run.notes) {
      page.note(note, report::NoteKind::kBad);
    }
  }
  page.section("Measures").table(summary_table(runs));
  if (two_classes(runs[0])) {
    add_charts(page, runs);
  }
  page.section("Confusion matrix").table(confusion_table(runs));
  if (two_classes(runs[0])) {
    page.paragraph(
        "APCER: share of the positives (attacks) that are predicted as "
        "negative, for the type of attack with the highest share. BPCER: share "
        "of the negatives (bona fide) that are predicted as attacks. ACER: "
        "mean "
        "of the two. BPCER10, 20, 100: the lowest BPCER with an APCER of at "
        "most 10, 5, 1 %. EER: the error rate at the threshold where both "
        "rates are equal. d': distance of the mean scores, divided by their "
        "spread.");
  } else {
    page.paragraph(
        "More than two classes: each has an area under the ROC curve against "
        "all others. The measures for two classes are not computed.");
  }
  return page.str();
}

}  // namespace evaluate
