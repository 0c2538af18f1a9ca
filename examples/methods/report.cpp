// SPDX-License-Identifier: BSD-3-Clause
#include "report.hpp"

#include "../common/report/html.hpp"
#include "../common/report/plot.hpp"

#include <cyborg/data/image.hpp>
#include <cyborg/io/text.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <utility>

namespace methods {

namespace {

namespace report = programs::report;
using cyborg::io::number;

std::string interval_text(double value, double low, double high) {
  return std::isfinite(value) ? number(value, 2) + " [" + number(low, 2) +
                                    ", " + number(high, 2) + "]"
                              : "–";
}

void add_chart(report::HtmlPage& page, const Results& results) {
  std::vector<std::string> names;
  report::DotSeries terms{"with the true maps and masks", {}, {}, 0};
  report::DotSeries controls{"control", {}, {}, 1};
  const double none = std::numeric_limits<double>::quiet_NaN();
  for (const auto& one : results.rows) {
    names.push_back(one.row.name);
    auto& own = one.row.of.empty() ? terms : controls;
    auto& other = one.row.of.empty() ? controls : terms;
    own.value.push_back(one.mean.mean);
    own.error.push_back(std::isfinite(one.mean.std) ? one.mean.std : 0);
    other.value.push_back(none);
    other.error.push_back(0);
  }
  const auto draw = [&](double width) {
    return report::dot_plot(
        names, {terms, controls},
        report::PlotOptions()
            .width(width)
            .low(0)
            .high(1)
            .x_label("accuracy in the tests")
            .description("Accuracy of each row, " + title_of(results)));
  };
  page.chart(
      draw(900),
      "Mean over " + std::to_string(results.seeds.size()) + " seeds, " +
          std::to_string(results.epochs) +
          " epochs, bars of one standard deviation. ce: cross entropy alone; "
          "clean: the same without any patch, in training and tests.",
      draw(350));
}

void add_table(report::HtmlPage& page, const Results& results) {
  report::HtmlTable table;
  table.head = {"row",          "term", "accuracy", "share of (clean − ce)",
                "wrong reason", "cost"};
  for (const auto& one : results.rows) {
    table.rows.push_back(
        {one.row.name,
         one.row.term ? programs::to_text(*one.row.term) : std::string("–"),
         number(one.mean.mean, 3) + (std::isfinite(one.mean.std)
                                         ? " ± " + number(one.mean.std, 3)
                                         : std::string()),
         interval_text(
             one.recovered.value, one.recovered.low, one.recovered.high),
         number(cyborg::measure::mean_std(one.wrong_reason).mean, 2),
         number(one.cost, 2)});
  }
  table.caption =
      "Accuracy: mean ± standard deviation over the seeds. Share: how much of "
      "the gap between ce and clean a row closes, with a 95 % bootstrap "
      "interval over the seeds. Wrong reason: the share of the wrong region "
      "that the network's maps mark; lower is better. Cost: processor time of "
      "a training step, in that of ce.";
  page.table(table);
  if (results.controls.empty()) {
    return;
  }
  report::HtmlTable controls;
  controls.head = {"row", "minus its control", "difference"};
  for (const auto& one : results.controls) {
    controls.rows.push_back(
        {one.row, one.against,
         interval_text(
             one.difference.difference, one.difference.low,
             one.difference.high)});
  }
  controls.caption =
      "Paired differences of the accuracy, with 95 % bootstrap intervals over "
      "the seeds. An interval without 0 shows that the content of the maps or "
      "masks matters, and not only that there are any.";
  page.table(controls);
}

void add_pictures(report::HtmlPage& page, const Repetition& repetition) {
  report::HtmlPictures grid;
  grid.head = {"training picture", "where to look", "wrong"};
  for (const int64_t i : {0, 1, 2}) {
    const auto shown = [&](const torch::Tensor& picture) {
      return cyborg::data::encode_png(picture.reshape({1, kSide, kSide}));
    };
    grid.rows.push_back(
        {"digit " + std::to_string(repetition.train.label[i].item<int64_t>()),
         {shown(repetition.train.image[i]), shown(repetition.train.stroke[i]),
          shown(repetition.train.wrong[i])}});
  }
  grid.caption =
      "Training pictures of the first seed. The patch's brightness tells the "
      "digit in training. In the tests it means another one.";
  page.pictures(grid);
}

}  // namespace

void write_report(
    const std::vector<Results>& all, const std::vector<Repetition>& shown,
    bool development, const std::filesystem::path& path) {
  report::HtmlPage page(
      "Which terms free a network from a decoy?",
      "Handwritten digits with a patch whose brightness gives the answer away "
      "in training, and misleads in the tests. What is wrong is known, so "
      "that each term can be seen at work, beside controls whose maps or "
      "masks are false.");
  for (size_t i = 0; i < all.size(); ++i) {
    page.section(title_of(all[i]));
    if (all[i].decoy == Decoy::kCorners) {
      page.note(
          "Digits are in the middle and the corners are the same in every "
          "picture. So false maps say nearly the same as true ones here: this "
          "decoy cannot tell them apart, and a gain here does not show that "
          "the content of the maps matters.");
    } else {
      page.note(
          "Digit and patch are at another place in every picture. So only the "
          "true masks and maps help, and controls show it. Terms that compare "
          "a map of 7 × 7 positions help little here: one position sees most "
          "of the picture.");
    }
    add_pictures(page, shown[i]);
    add_chart(page, all[i]);
    add_table(page, all[i]);
  }
  page.section("How it was done");
  page.paragraph(
      "All rows of a seed share pictures, split, initial weights and order. "
      "Epochs and learning rate are the same for all rows of a network. " +
      std::string(
          development
              ? "Each row names the strength of its term. These are trainings "
                "of development: their seeds are not those of the results. "
              : "Each term has its first strength, the default of `train`, "
                "unless its row names another one. `methods --develop` tries "
                "other strengths and numbers of epochs with other seeds; "
                "docs/methods/results.md says what it gave. ") +
      "The network after the last epoch is tested.");
  page.paragraph(
      "Digits: Optical Recognition of Handwritten Digits, E. Alpaydin and C. "
      "Kaynak, UCI Machine Learning Repository, CC BY 4.0.");
  page.write(path);
}

}  // namespace methods
