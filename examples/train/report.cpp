// SPDX-License-Identifier: BSD-3-Clause
#include "report.hpp"

#include "../common/pictures.hpp"

#include <cyborg/data/prefetch.hpp>
#include <cyborg/io/text.hpp>
#include <cyborg/measure/detection.hpp>
#include <cyborg/measure/roc.hpp>
#include <cyborg/report/html.hpp>
#include <cyborg/report/overlay.hpp>
#include <cyborg/report/plot.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace programs {

namespace {

namespace report = cyborg::report;
using cyborg::io::number;

/// Draws a chart twice, for wide pages and narrow ones.
template <class Draw>
void add_chart(
    report::HtmlPage& page, const std::string& caption, const Draw& draw) {
  page.chart(draw(900), caption, draw(350));
}

void add_curves(report::HtmlPage& page, const Outcome& outcome) {
  const auto column = [&](const std::string& name, const std::string& key) {
    report::LineSeries line{name, {}, {}};
    for (const auto& record : outcome.log) {
      line.x.push_back(record["epoch"].get<double>() + 1);
      line.y.push_back(
          record.contains(key) && record[key].is_number()
              ? record[key].get<double>()
              : std::numeric_limits<double>::quiet_NaN());
    }
    return line;
  };
  const auto draw = [&](std::vector<report::LineSeries> lines,
                        const std::string& label) {
    return [lines = std::move(lines), label](double width) {
      return report::line_chart(
          lines, report::PlotOptions()
                     .width(width)
                     .x_label("epoch")
                     .y_label(label)
                     .description(label + " over the training"));
    };
  };
  add_chart(
      page, "Means over each epoch's pictures; saliency over the annotated.",
      draw(
          {column("total", "loss"), column("classification", "classification"),
           column("saliency", "saliency"), column("validation", "val_loss")},
          "loss"));
  if (!outcome.log.empty() && outcome.log.back().contains("val_loss")) {
    auto lines =
        std::vector<report::LineSeries>{column("accuracy", "val_accuracy")};
    if (outcome.settings.classes.size() == 2) {
      lines.push_back(column("AUC", "val_auc"));
    }
    add_chart(
        page,
        fmt::format(
            "On the validation split. The best epoch is {}.",
            outcome.place.best_epoch + 1),
        draw(std::move(lines), "validation"));
  }
}

report::LineSeries roc(const Scored& scored, const std::string& name) {
  report::LineSeries line{name, {}, {}};
  for (const auto& point :
       cyborg::measure::roc_curve(margin(scored.logits), scored.labels)) {
    line.x.push_back(point.fpr);
    line.y.push_back(point.tpr);
  }
  return line;
}

bool has_both(const Scored& scored) {
  return scored.logits.defined() && scored.logits.size(1) == 2 &&
         scored.labels.eq(1).any().item<bool>() &&
         scored.labels.eq(0).any().item<bool>();
}

void add_scores(report::HtmlPage& page, const Outcome& outcome) {
  std::vector<report::LineSeries> curves, histogram;
  report::HtmlTable table;
  table.head = {"split", "pictures", "accuracy", "AUC"};
  for (const auto& [name, scored] :
       {std::pair<std::string, const Scored&>("val", outcome.validation),
        std::pair<std::string, const Scored&>("test", outcome.test)}) {
    if (scored.rows.empty()) {
      continue;
    }
    const bool both = has_both(scored);
    table.rows.push_back(
        {name, std::to_string(scored.rows.size()),
         number(cyborg::measure::accuracy(scored.logits, scored.labels), 4),
         both ? number(
                    cyborg::measure::roc_auc(
                        margin(scored.logits), scored.labels),
                    4)
              : "–"});
    if (both) {
      curves.push_back(roc(scored, name));
      const auto share = scored.logits.softmax(/*dim=*/1).select(1, 1);
      for (int64_t k = 0; k < 2; ++k) {
        const auto counts = at::histc(
            share.masked_select(scored.labels.eq(k)), /*bins=*/20, 0, 1);
        report::LineSeries line{
            name + ", " + outcome.settings.classes[static_cast<size_t>(k)],
            {},
            {}};
        for (int64_t i = 0; i < 20; ++i) {
          line.x.push_back((static_cast<double>(i) + 0.5) / 20);
          line.y.push_back(
              counts[i].item<double>() /
              std::max(1.0, counts.sum().item<double>()));
        }
        histogram.push_back(std::move(line));
      }
    }
  }
  table.caption = "With the weights of the best epoch.";
  page.table(table);
  if (!curves.empty()) {
    add_chart(page, "Receiver operating characteristic.", [&](double width) {
      return report::line_chart(
          curves, report::PlotOptions()
                      .width(width)
                      .x_label("false positive rate")
                      .y_label("true positive rate")
                      .low(0)
                      .high(1)
                      .description("ROC curve"));
    });
    add_chart(
        page,
        "Share of a class's pictures by score, the softmax of " +
            outcome.settings.classes[1] + ", in 20 bins.",
        [&](double width) {
          return report::line_chart(
              histogram, report::PlotOptions()
                             .width(width)
                             .x_label("score")
                             .y_label("share")
                             .description("Histogram of scores"));
        });
  }
}

void add_confusion(report::HtmlPage& page, const Outcome& outcome) {
  const auto& classes = outcome.settings.classes;
  const Scored& scored =
      outcome.test.rows.empty() ? outcome.validation : outcome.test;
  if (scored.rows.empty()) {
    return;
  }
  const auto counts = cyborg::measure::confusion_matrix(
      scored.logits.argmax(/*dim=*/1), scored.labels,
      static_cast<int64_t>(classes.size()));
  report::HtmlTable table;
  table.head = {"true class"};
  for (const auto& name : classes) {
    table.head.push_back("said " + name);
  }
  for (size_t k = 0; k < classes.size(); ++k) {
    std::vector<std::string> cells = {classes[k]};
    for (size_t j = 0; j < classes.size(); ++j) {
      cells.push_back(std::to_string(
          counts[static_cast<int64_t>(k)][static_cast<int64_t>(j)]
              .item<int64_t>()));
    }
    table.rows.push_back(std::move(cells));
  }
  table.caption = fmt::format(
      "Confusion matrix of split {}, by the largest logit.",
      outcome.test.rows.empty() ? "val" : "test");
  page.table(table);
}

/// The pictures whose true class has the most and the least probability.
void add_pictures(
    report::HtmlPage& page, const Outcome& outcome,
    const std::filesystem::path& folder) {
  const Scored& scored =
      outcome.validation.rows.empty() ? outcome.test : outcome.validation;
  if (scored.rows.empty()) {
    return;
  }
  auto best = load_trained(folder / "best.pt");
  best.network.train(false);
  std::unique_ptr<cyborg::CamHook> hook =
      best.network.hook(best.settings.layer);
  const auto order = scored.logits.softmax(/*dim=*/1)
                         .gather(1, scored.labels.unsqueeze(1))
                         .squeeze(1)
                         .argsort();
  const auto count = order.size(0);
  std::vector<std::pair<std::string, int64_t>> shown;
  for (int64_t i = 0; i < std::min<int64_t>(4, count); ++i) {
    shown.emplace_back("worst", order[i].item<int64_t>());
  }
  for (int64_t i = 0; i < std::min<int64_t>(4, count - 4); ++i) {
    shown.emplace_back("best", order[count - 1 - i].item<int64_t>());
  }
  report::HtmlPictures grid;
  grid.head = {"input", "human map", "network's map"};
  for (const auto& [what, place] : shown) {
    const auto& row = scored.rows[static_cast<size_t>(place)];
    const auto example = dataset_of({row}, best.settings).get(0);
    auto plain = best.settings;
    plain.mean.clear();
    plain.stddev.clear();
    const auto picture = dataset_of({row}, plain).get(0).data;
    const torch::NoGradGuard no_grad;
    std::string map;
    try {
      const auto logits = hook->forward(
          [&] { return best.network.forward(example.data.unsqueeze(0)); });
      map = cyborg::data::encode_png(report::overlay(
          picture, hook->cam(logits, torch::tensor({row.label}))[0]));
    } catch (const c10::Error&) {
      // A network without a map (trained by ce alone).
    }
    grid.rows.push_back(
        {fmt::format(
             "{}: {}, p = {}", what, row.cls,
             number(
                 scored.logits[place]
                     .softmax(/*dim=*/0)[row.label]
                     .item<double>(),
                 3)),
         {cyborg::data::encode_png(picture),
          example.saliency.isnan().all().item<bool>()
              ? std::string()
              : cyborg::data::encode_png(
                    report::overlay(picture, example.saliency)),
          map}});
  }
  grid.caption =
      "Pictures whose own class has the least and the most probability p. Red "
      "is high, blue is low, each map on its own scale; the network's is the "
      "class activation map of the true class.";
  page.pictures(grid);
}

}  // namespace

void write_report(const Outcome& outcome, const std::filesystem::path& folder) {
  const auto& s = outcome.settings;
  report::HtmlPage page(
      "Training of " + (s.model.empty() ? s.network : s.model),
      fmt::format(
          "{} on {}: {} epochs, {} optimizer steps.",
          s.alpha == 1 ? "Plain training"
                       : fmt::format("{} with alpha {}", s.loss, s.alpha),
          s.data, outcome.place.epoch, outcome.place.step));
  page.section("Scores");
  add_scores(page, outcome);
  add_confusion(page, outcome);
  page.section("Training");
  add_curves(page, outcome);
  page.section("Where the network looks");
  add_pictures(page, outcome, folder);
  page.section("Settings");
  report::HtmlTable table;
  table.head = {"setting", "value"};
  const nlohmann::json settings = s;
  for (const auto& item : settings.items()) {
    table.rows.push_back(
        {item.key(), item.value().is_string() ? item.value().get<std::string>()
                                              : item.value().dump()});
  }
  page.table(table);
  page.write(folder / "report.html");
}

}  // namespace programs
