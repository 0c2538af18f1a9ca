// SPDX-License-Identifier: BSD-3-Clause
#include "report.hpp"

#include "synthesize.hpp"

#include "../common/progress.hpp"
#include "../common/report/html.hpp"
#include "../common/report/plot.hpp"

#include <cyborg/data/image.hpp>
#include <cyborg/io/text.hpp>
#include <cyborg/report/overlay.hpp>

#include <algorithm>
#include <functional>
#include <map>

namespace demo {

namespace {

namespace report = programs::report;
using cyborg::io::number;
using cyborg::measure::mean_std;

// A row keeps its colour in all charts.
int colour_of(const std::string& row) {
  static const std::map<std::string, int> colours = {
      {"cyborg_kl", 0},        {"ce", 1},        {"cyborg_segmentation", 2},
      {"control_shuffled", 3}, {"cyborg_l2", 4}, {"ce_7x", 5},
      {"control_random", 5},   {"cyborg_l1", 6}, {"ce_long", 7},
      {"control_inverted", 7}};
  const auto found = colours.find(row);
  return found == colours.end() ? -1 : found->second;
}

std::string mean_text(const std::vector<double>& values, int digits) {
  const auto [mean, std] = mean_std(values);
  return number(mean, digits) + " ± " + number(std, digits);
}

std::vector<double> per_seed_means(
    const std::vector<std::vector<double>>& values) {
  std::vector<double> out;
  for (const auto& of_seed : values) {
    out.push_back(mean_std(of_seed).mean);
  }
  return out;
}

void add_table(report::HtmlPage& page, const ExperimentResult& result) {
  const auto& results = result.results;
  report::HtmlTable table;
  table.head = {"row",  "unseen",        "error ÷ ce's", "unseen, shifted",
                "seen", "seen, shifted", "pictures",     "steps",
                "α"};
  for (size_t i = 0; i < results.rows.size(); ++i) {
    const auto& r = results.rows[i];
    if (r.row.name == "cyborg_kl") {
      table.marked.push_back(i);
    }
    const bool is_ce = r.row.name == "ce";
    table.rows.push_back(
        {r.row.name, mean_text(r.unseen_of_seed, 4),
         is_ce
             ? "1"
             : number(
                   results.comparison(r.row.name, "ce").error_ratio_median, 2),
         mean_text(per_seed_means(r.unseen_shifted), 3), mean_text(r.seen, 3),
         mean_text(r.seen_shifted, 3), std::to_string(r.row.train_images),
         std::to_string(r.row.steps),
         r.row.distance == Distance::kNone ? "–" : number(r.row.alpha, 2)});
  }
  const auto count = results.rows.front().seeds.size();
  table.caption =
      "Area under the ROC curve, mean ± standard deviation over " +
      std::to_string(count) +
      " seeds. Unseen: mean over six generators that no training saw; this, "
      "with clean reals, is the primary measure. Shifted: half of the reals "
      "carry the tested generator's fingerprint, so that it is no evidence. "
      "Error: 1 − AUC on unseen generators, divided by that of ce, median "
      "over the seeds. The marked row was named before any result.";
  page.table(table);
}

std::string difference_text(const cyborg::measure::PairedDifference& d) {
  return number(d.difference, 4) + " [" + number(d.low, 4) + ", " +
         number(d.high, 4) + "]";
}

void add_comparisons(report::HtmlPage& page, const Results& results) {
  report::HtmlTable table;
  table.head = {"row", "− ce", "− ce_long", "− ce_7x"};
  for (const auto& r : results.rows) {
    std::vector<std::string> cells = {r.row.name};
    for (const auto* against : {"ce", "ce_long", "ce_7x"}) {
      std::string cell = "–";
      for (const auto& c : results.paired) {
        if (c.row == r.row.name && c.against == against) {
          cell = difference_text(c.difference);
        }
      }
      cells.push_back(cell);
    }
    if (r.row.name == "cyborg_kl") {
      table.marked.push_back(table.rows.size());
    }
    table.rows.push_back(cells);
  }
  table.caption =
      "Paired differences of the AUC on unseen generators (same seed: same "
      "initial weights, pictures and tests), with 95 % bootstrap intervals "
      "over the seeds. An interval without 0 is a difference.";
  page.table(table);

  report::HtmlTable maps;
  maps.head = {"cyborg_kl −", "difference", "error ratio"};
  for (const auto& c : results.paired) {
    if (c.row == "cyborg_kl" &&
        results.row(c.against).row.maps != Maps::kHuman) {
      maps.rows.push_back(
          {c.against, difference_text(c.difference),
           number(c.error_ratio_median, 2)});
    }
  }
  maps.caption =
      "The same training with other maps: which part of the gain comes from "
      "the content of the human maps, and not from any map at all.";
  page.table(maps);
}

// One chart of AUC per generator for the rows named, drawn twice: for wide
// pages and narrow ones.
void add_generators(
    report::HtmlPage& page, const ExperimentResult& result,
    const std::vector<std::string>& names, const std::string& caption) {
  std::vector<std::string> categories;
  for (int64_t g = 0; g < kFirstUnseen + kUnseenCount; ++g) {
    categories.push_back(generators().at(static_cast<size_t>(g)));
  }
  categories.front() += "*";
  std::vector<report::DotSeries> series;
  double low = 1;
  for (const auto& name : names) {
    const auto& r = result.results.row(name);
    report::DotSeries dots;
    dots.name = name;
    dots.colour = colour_of(name);
    for (size_t g = 0; g < categories.size(); ++g) {
      std::vector<double> values;
      for (size_t s = 0; s < r.seeds.size(); ++s) {
        values.push_back(g == 0 ? r.seen[s] : r.unseen[s].at(g - 1));
      }
      const auto [mean, std] = mean_std(values);
      dots.value.push_back(mean);
      dots.error.push_back(std);
      low = std::min(low, mean - std);
    }
    series.push_back(std::move(dots));
  }
  const auto draw = [&](double width) {
    return report::dot_plot(
        categories, series,
        report::PlotOptions()
            .width(width)
            .low(std::max(low, 0.4))
            .high(1)
            .x_label("AUC, reals clean")
            .description("Area under the ROC curve per generator"));
  };
  page.chart(draw(900), caption, draw(350));
}

void add_curves(
    report::HtmlPage& page, const ExperimentResult& result,
    const std::vector<std::string>& names,
    const std::vector<double> Curve::*values, const std::string& label,
    const std::string& caption, bool logarithmic) {
  std::vector<report::LineSeries> series;
  for (const auto& name : names) {
    const auto& curve = result.results.row(name).curve;
    series.push_back({name, curve.step, curve.*values, colour_of(name)});
  }
  const auto draw = [&](double width) {
    return report::line_chart(
        series, report::PlotOptions()
                    .width(width)
                    .x_label("optimiser step")
                    .y_label(label)
                    .logarithmic(logarithmic)
                    .description(label + " over the training"));
  };
  page.chart(draw(900), caption, draw(350));
}

void add_pictures(report::HtmlPage& page, const ExperimentResult& result) {
  report::HtmlPictures grid;
  grid.head = {"input", "human map", "ce", "cyborg_kl"};
  for (const auto& shown : result.shown) {
    const auto side = shown.image.size(1) * 3;  // so that edges stay smooth
    const auto image =
        at::upsample_nearest2d(shown.image.unsqueeze(0), {side, side})[0];
    const auto with = [&](const torch::Tensor& map) {
      return map.defined()
                 ? cyborg::data::encode_png(cyborg::report::overlay(
                       image, map,
                       cyborg::report::OverlayOptions().opacity(0.55)))
                 : std::string();
    };
    grid.rows.push_back(
        {shown.label,
         {cyborg::data::encode_png(image), with(shown.human), with(shown.plain),
          with(shown.guided)}});
  }
  grid.caption =
      "Test pictures of the first seed: two reals and one picture of each "
      "generator, chosen by their position in the test set. "
      "Red is high, blue is low, each map on its own scale. The networks' "
      "maps are class activation maps of the true class.";
  page.pictures(grid);
}

}  // namespace

void write_report(
    const ExperimentResult& result, const std::filesystem::path& path) {
  const auto& results = result.results;
  const auto count = results.rows.front().seeds.size();
  report::HtmlPage page(
      "Does guidance generalise?",
      "A small network learns to tell real handwritten digits from spliced "
      "ones. All of its spliced training pictures come from one generator, "
      "which leaves a fingerprint. It is then tested on six generators that "
      "it never saw.");

  page.section("What came out");
  for (const auto& finding : findings(results)) {
    page.note(
        (finding.holds ? "Holds: " : "Does not hold: ") + finding.text,
        finding.holds ? report::NoteKind::kGood : report::NoteKind::kBad);
  }
  add_table(page, result);
  add_comparisons(page, results);
  page.paragraph(
      "Rows: ce is plain training (cross entropy). ce_long takes as many steps "
      "as ce_7x, which has seven times the pictures. cyborg_l1, cyborg_l2 and "
      "cyborg_kl add the distance between the network's class activation map "
      "and the human map to the loss. cyborg_segmentation is cyborg_kl with "
      "the digit's strokes as the map of every picture: where the object is, "
      "and not what gives it away. The controls are cyborg_kl with wrong maps: "
      "those of another picture of the class (shuffled), the right ones turned "
      "into their opposite (inverted), random ones.");

  page.section("Generator by generator");
  add_generators(
      page, result,
      {"ce", "ce_long", "ce_7x", "cyborg_l1", "cyborg_l2", "cyborg_kl"},
      "Mean over the seeds, bars of one standard deviation. *: the generator "
      "trained on. Point at a dot for its numbers.");
  add_generators(
      page, result,
      {"ce", "cyborg_kl", "cyborg_segmentation", "control_shuffled",
       "control_inverted", "control_random"},
      "The same for segmentation masks and for wrong maps.");

  page.section("Where the networks look");
  add_pictures(page, result);

  page.section("Training");
  add_curves(
      page, result,
      {"ce", "ce_long", "ce_7x", "cyborg_l1", "cyborg_l2", "cyborg_kl"},
      &Curve::classification, "cross entropy",
      "Cross entropy on the training pictures, mean over the seeds and ten "
      "steps. ce is the beginning of ce_long and lies under it.",
      /*logarithmic=*/true);
  add_curves(
      page, result,
      {"cyborg_kl", "cyborg_segmentation", "control_shuffled",
       "control_inverted", "control_random"},
      &Curve::saliency, "KL divergence between the maps",
      "The saliency term of the rows that share the KL divergence.",
      /*logarithmic=*/false);

  page.section("How it was done");
  const auto& sizes = result.sizes;
  page.paragraph(
      "Pictures. A real picture is one of 1,797 handwritten digits, enlarged "
      "to 32 × 32 pixels. A synthetic one carries a splice, a disc replaced "
      "by a turned patch of another digit, and over the whole picture the "
      "fingerprint of its generator, with a root mean square of " +
      number(result.difficulty.fingerprint, 3) +
      " (a stroke's brightness is 1). All carry noise, of a standard deviation "
      "around " +
      number(result.difficulty.noise, 2) +
      " that differs from picture to picture. Human maps are those of a "
      "perfect annotator: the splice, and on "
      "reals the strokes. This is an analogue made for the purpose, not a "
      "benchmark: it shows the mechanism where the ground truth is known.");
  page.paragraph(
      "Training. " + std::to_string(sizes.annotated) + " pictures, " +
      std::to_string(sizes.steps) + " steps of " + std::to_string(sizes.batch) +
      " (ce_long and ce_7x: " + std::to_string(sizes.long_steps) +
      "), Adam at a learning rate of " + number(kLearningRate, 3) +
      ", three convolutional blocks. The network after the last step is the "
      "one tested; nothing is selected. Within a seed all rows share initial "
      "weights, pictures and tests; training and test digits are disjoint.");
  page.paragraph(
      "Protocol. The difficulty was set on ce alone, and alpha per distance "
      "on a further generator, both with seeds 100 to 102; then seeds " +
      std::to_string(results.rows.front().seeds.front()) + " to " +
      std::to_string(results.rows.front().seeds.back()) +
      " ran once. `demo --develop` prints the tables behind these choices. "
      "They "
      "share the 1,797 digits, shuffled anew.");
  page.paragraph(
      "This run: " + std::to_string(count) + " seeds, " +
      std::to_string(result.pictures) +
      " pictures written as PNG and read back (" +
      programs::duration(result.picture_seconds) + "), in all " +
      programs::duration(result.seconds) + ".");
  page.paragraph(
      "Digits: Optical Recognition of Handwritten Digits, E. Alpaydin and C. "
      "Kaynak, UCI Machine Learning Repository, CC BY 4.0. Method: A. Boyd, "
      "P. Tinsley, K. Bowyer, A. Czajka, CYBORG: Blending Human Saliency Into "
      "the Loss Improves Deep Learning-Based Synthetic Face Detection, WACV "
      "2023.");
  page.write(path);
}

}  // namespace demo
