// SPDX-License-Identifier: BSD-3-Clause
#include "report.hpp"

#include "../common/pictures.hpp"
#include "../common/report/html.hpp"
#include "../common/report/plot.hpp"
#include "../common/report/thumbnail.hpp"

#include <cyborg/data/prefetch.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>
#include <cyborg/measure/detection.hpp>
#include <cyborg/measure/roc.hpp>
#include <cyborg/report/overlay.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace programs {

namespace {

using cyborg::io::number;

/// Draws a chart twice, for wide pages and narrow ones.
template <class Draw>
void add_chart(
    report::HtmlPage& page, const std::string& caption, const Draw& draw) {
  page.chart(draw(900), caption, draw(350));
}

void add_curves(report::HtmlPage& page, const TrainResult& result) {
  const auto column = [&](const std::string& name, const std::string& key) {
    report::LineSeries line{name, {}, {}};
    for (const auto& record : result.log) {
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
  std::vector<report::LineSeries> losses{
      column("total", "loss"), column("classification", "classification"),
      column("saliency", "saliency"), column("validation", "val_loss")};
  for (const auto& term : result.settings.objective.terms) {
    losses.push_back(column(term.kind.c_str(), term.kind.c_str()));
  }
  add_chart(
      page,
      "Means over the pictures of each epoch; saliency and terms: over those "
      "that they counted, not times their strengths.",
      draw(std::move(losses), "loss"));
  if (!result.log.empty() && result.log.back().contains("val_loss")) {
    auto lines =
        std::vector<report::LineSeries>{column("accuracy", "val_accuracy")};
    if (result.settings.classes.size() == 2) {
      lines.push_back(column("AUC", "val_auc"));
    }
    add_chart(
        page,
        fmt::format(
            "On the validation split. The best epoch is {}.",
            result.state.best_epoch + 1),
        draw(std::move(lines), "validation"));
  }
}

report::LineSeries roc(const ScoredPictures& scored, const std::string& name) {
  report::LineSeries line{name, {}, {}};
  for (const auto& point :
       cyborg::measure::roc_curve(margin(scored.logits), scored.labels)) {
    line.x.push_back(point.fpr);
    line.y.push_back(point.tpr);
  }
  return line;
}

bool has_both(const ScoredPictures& scored) {
  return scored.logits.defined() && scored.logits.size(1) == 2 &&
         scored.labels.eq(1).any().item<bool>() &&
         scored.labels.eq(0).any().item<bool>();
}

void add_scores(report::HtmlPage& page, const TrainResult& result) {
  std::vector<report::LineSeries> curves, histogram;
  report::HtmlTable table;
  table.head = {"split", "pictures", "accuracy", "AUC"};
  for (const auto& [name, scored] :
       {std::pair<std::string, const ScoredPictures&>("val", result.validation),
        std::pair<std::string, const ScoredPictures&>("test", result.test)}) {
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
            name + ", " + result.settings.classes[static_cast<size_t>(k)],
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
        "Histogram of the scores (the softmax of " +
            result.settings.classes[1] + ") of each class, 20 bins.",
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

void add_confusion(report::HtmlPage& page, const TrainResult& result) {
  const auto& classes = result.settings.classes;
  const ScoredPictures& scored =
      result.test.rows.empty() ? result.validation : result.test;
  if (scored.rows.empty()) {
    return;
  }
  const auto counts = cyborg::measure::confusion_matrix(
      scored.logits.argmax(/*dim=*/1), scored.labels,
      static_cast<int64_t>(classes.size()));
  report::HtmlTable table;
  table.head = {"true class"};
  for (const auto& name : classes) {
    table.head.push_back("predicted " + name);
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
      "Confusion matrix of split {}; the class of the largest logit is "
      "predicted.",
      result.test.rows.empty() ? "val" : "test");
  page.table(table);
}

/// A picture with its map or, where that cannot be read, without one: the
/// pictures were scored without their maps.
cyborg::data::GuidedExample example_of(
    const cyborg::data::Row& row, const Settings& settings) {
  try {
    return dataset_of({row}, settings).get(0);
  } catch (const cyborg::io::FileError&) {
    return dataset_of(without_maps({row}), settings).get(0);
  }
}

/// The pictures whose true class has the lowest and the highest probability.
void add_picture_table(
    report::HtmlPage& page, const TrainResult& result,
    const std::filesystem::path& folder) {
  const ScoredPictures& scored =
      result.validation.rows.empty() ? result.test : result.validation;
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
    auto plain = best.settings;
    plain.mean.clear();
    plain.stddev.clear();
    const auto example = example_of(row, best.settings);
    const auto picture =
        report::shrunk(example_of(row, plain).data, report::kThumbnailSide);
    const torch::NoGradGuard no_grad;
    std::string map;
    try {
      const auto logits = hook->forward(
          [&] { return best.network.forward(example.data.unsqueeze(0)); });
      map = report::thumbnail(cyborg::report::overlay(
          picture, hook->cam(logits, torch::tensor({row.label}))[0]));
    } catch (const c10::Error&) {
      // A network that has no map can be trained without guidance only.
    }
    grid.rows.push_back(
        {fmt::format(
             "{}: {}, p = {}", what, row.cls,
             number(
                 scored.logits[place]
                     .softmax(/*dim=*/0)[row.label]
                     .item<double>(),
                 3)),
         {report::thumbnail(picture),
          example.saliency.isnan().all().item<bool>()
              ? std::string()
              : report::thumbnail(
                    cyborg::report::overlay(picture, example.saliency)),
          map}});
  }
  grid.caption =
      "The pictures whose true class has the lowest and the highest "
      "probability "
      "p. Red is high, blue is low; each map has its own scale. The network's "
      "map is the class activation map of the true class.";
  page.pictures(grid);
}

/// ", term right-reasons:strength=3, ..."; "" without terms.
std::string terms_of(const Settings& settings) {
  std::string text;
  for (const auto& term : settings.objective.terms) {
    text += ", term " + to_text(term);
  }
  return text;
}

/// What sets the weight of the task.
std::string alpha_of(const Settings& settings) {
  const auto balance = settings.objective.balance;
  return balance == cyborg::Balance::kFixed
             ? fmt::format("alpha {}", settings.alpha)
             : "alpha by " + name_of(balance);
}

}  // namespace

void write_report(
    const TrainResult& result, const std::filesystem::path& folder) {
  const auto& s = result.settings;
  report::HtmlPage page(
      "Training of " + (s.model.empty() ? name_of(s.network) : s.model),
      fmt::format(
          "{} on {}: {} epochs, {} optimizer steps.",
          s.alpha == 1
              ? (s.objective.terms.empty() ? "Training without human maps"
                                           : "Training with cross entropy") +
                    terms_of(s)
              : fmt::format("{} with {}", name_of(s.loss), alpha_of(s)) +
                    terms_of(s),
          s.data, result.state.epoch, result.state.step));
  page.section("Scores");
  add_scores(page, result);
  add_confusion(page, result);
  page.section("Training");
  add_curves(page, result);
  page.section("Where the network looks");
  add_picture_table(page, result, folder);
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
