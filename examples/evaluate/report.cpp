// SPDX-License-Identifier: BSD-3-Clause
#include "report.hpp"

#include "../common/report/html.hpp"
#include "../common/report/plot.hpp"

#include <cyborg/io/csv.hpp>
#include <cyborg/io/text.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace evaluate {

namespace {

namespace report = programs::report;
using cyborg::io::csv_field;
using cyborg::io::number;

constexpr size_t kRunsSideBySide = 4;  // more do not fit a terminal

bool two_classes(const RunResult& run) {
  return run.classes.size() == 2;
}

/// The run in one line: its samples, and how classes are predicted.
std::string describe(const RunResult& run) {
  std::string counts;
  for (size_t k = 0; k < run.classes.size(); ++k) {
    counts += (counts.empty() ? "" : ", ") + std::to_string(run.samples[k]) +
              " " + run.classes[k];
  }
  if (!two_classes(run)) {
    return counts + "; the highest logit is the prediction";
  }
  return fmt::format(
      "{}; \"{}\" is predicted at score >= {} ({})", counts,
      run.classes[static_cast<size_t>(run.positive)], number(run.threshold, 4),
      run.threshold_origin);
}

std::string mean_text(const Summary& row) {
  return number(row.mean_std.mean, 4) + " ± " + number(row.mean_std.std, 4);
}

/// Text at the right of a column of so many characters; "±" is one character.
std::string cell(const std::string& text, size_t width) {
  return fmt::format("{:>{}}", text, width);
}

/// A number with all digits; empty for NaN.
std::string csv_number(double value) {
  return std::isnan(value) ? "" : fmt::format("{}", value);
}

/// The name of a run without the folder of its file.
std::string short_name(const std::string& name) {
  const auto slash = name.find_last_of("/\\");
  return slash == std::string::npos ? name : name.substr(slash + 1);
}

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
      cells.push_back(number(value, 4));
    }
    if (runs.size() > 1) {
      cells.push_back(mean_text(row));
    }
    table.rows.push_back(std::move(cells));
  }
  table.caption =
      "Standard deviation with n − 1. n/a: the run does not have this measure.";
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
    lines.push_back(roc_line(run));
    positive.insert(
        positive.end(), run.positive_scores.begin(), run.positive_scores.end());
    negative.insert(
        negative.end(), run.negative_scores.begin(), run.negative_scores.end());
  }
  lines.push_back({"chance", {0, 1}, {0, 1}, 7});
  page.section("ROC").chart(
      report::line_chart(
          lines, report::PlotOptions()
                     .x_label("false positive rate")
                     .y_label("true positive rate")
                     .description("ROC curve of each run")),
      "At each threshold: how many of the negatives and of the positives are "
      "predicted as positive.");
  const auto& run = runs[0];
  const auto label = static_cast<size_t>(run.positive);
  page.section("Scores").chart(
      report::line_chart(
          {histogram(run.classes[1 - label], negative),
           histogram(run.classes[label], positive)},
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

nlohmann::ordered_json json_number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value)
                              : nlohmann::ordered_json(nullptr);
}

}  // namespace

std::string to_text(const std::vector<RunResult>& runs) {
  std::string out;
  for (const auto& run : runs) {
    out += run.name + ": " + describe(run) + "\n";
    for (const auto& note : run.notes) {
      out += "  note: " + note + "\n";
    }
  }
  const auto rows = summarize(runs);
  const bool each = runs.size() <= kRunsSideBySide;
  size_t first = 7;
  for (const auto& row : rows) {
    first = std::max(first, row.name.size());
  }
  out += fmt::format("\n{:<{}}", "measure", first);
  size_t width = 8;
  for (const auto& run : runs) {
    width = std::max(width, short_name(run.name).size());
  }
  for (const auto& run : runs) {
    out += each ? "  " + cell(short_name(run.name), width) : "";
  }
  out += runs.size() > 1 ? "  " + cell("mean ± std", 15) + "\n" : "\n";
  for (const auto& row : rows) {
    out += fmt::format("{:<{}}", row.name, first);
    for (const double value : row.values) {
      out += each ? "  " + cell(number(value, 4), width) : "";
    }
    out += runs.size() > 1 ? "  " + cell(mean_text(row), 15) + "\n" : "\n";
  }
  return out;
}

std::string to_csv(const std::vector<RunResult>& runs) {
  const auto rows = summarize(runs);
  std::string out = "run,threshold";
  for (const auto& row : rows) {
    out += "," + csv_field(row.name);
  }
  out += "\n";
  for (size_t r = 0; r < runs.size(); ++r) {
    out += csv_field(runs[r].name) + "," + csv_number(runs[r].threshold);
    for (const auto& row : rows) {
      out += "," + csv_number(row.values[r]);
    }
    out += "\n";
  }
  if (runs.size() > 1) {
    std::string mean = "mean,";
    std::string spread = "std,";
    for (const auto& row : rows) {
      mean += "," + csv_number(row.mean_std.mean);
      spread += "," + csv_number(row.mean_std.std);
    }
    out += mean + "\n" + spread + "\n";
  }
  return out;
}

nlohmann::ordered_json to_json(
    const std::vector<RunResult>& runs, const EvaluateOptions& options) {
  nlohmann::ordered_json out;
  out["split"] = options.split;
  out["score"] = programs::name_of(options.score);
  out["runs"] = nlohmann::ordered_json::array();
  for (const auto& run : runs) {
    nlohmann::ordered_json one;
    one["run"] = run.name;
    one["classes"] = run.classes;
    one["samples"] = run.samples;
    if (two_classes(run)) {
      one["positive"] = run.classes[static_cast<size_t>(run.positive)];
      one["threshold"] = json_number(run.threshold);
      one["threshold_from"] = run.threshold_origin;
    }
    for (const auto& [name, value] : run.measures) {
      one["measures"][name] = json_number(value);
    }
    one["confusion"] = run.confusion;
    one["notes"] = run.notes;
    out["runs"].push_back(std::move(one));
  }
  for (const auto& row : summarize(runs)) {
    out["summary"][row.name] = {
        {"mean", json_number(row.mean_std.mean)},
        {"std", json_number(row.mean_std.std)}};
  }
  return out;
}

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
