// SPDX-License-Identifier: BSD-3-Clause
#include "page.hpp"

#include "../common/errors.hpp"
#include "../common/report/html.hpp"

#include <cyborg/io/text.hpp>
#include <cyborg/measure/statistics.hpp>

#include <fmt/format.h>

namespace explain {

namespace {

namespace report = programs::report;
using cyborg::io::number;

struct Column {
  const char* name;
  double Agreement::*value;
};
const std::vector<Column> kAgreement = {
    {"correlation", &Agreement::correlation},
    {"similarity", &Agreement::similarity},
    {"divergence", &Agreement::divergence},
    {"iou", &Agreement::iou}};

/// The colours of the lowest and the highest value.
std::string scale_text(cyborg::report::Colormap colormap) {
  switch (colormap) {
    case cyborg::report::Colormap::kTurbo:
    case cyborg::report::Colormap::kJet:
      return "blue (its lowest value) to red (its highest)";
    case cyborg::report::Colormap::kViridis:
      return "violet (its lowest value) to yellow (its highest)";
    case cyborg::report::Colormap::kGrey:
      break;
  }
  return "black (its lowest value) to white (its highest)";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> agreement_text(
    const ExplainResult& result) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& column : kAgreement) {
    std::vector<double> values;
    for (const auto& one : result.pictures) {
      if (one.agreement) {
        values.push_back((*one.agreement).*column.value);
      }
    }
    if (!values.empty()) {
      const auto all = cyborg::measure::mean_std(values);
      out.emplace_back(
          column.name,
          fmt::format("{} ± {}", number(all.mean, 3), number(all.std, 3)));
    }
  }
  return out;
}

std::vector<std::string> warnings_of(const ExplainResult& result) {
  std::vector<std::string> warnings;
  for (const auto& one : result.skipped) {
    warnings.push_back("left out: " + programs::with_flags(one, "explain"));
  }
  warnings.insert(
      warnings.end(), result.stored_values.begin(), result.stored_values.end());
  if (!result.constant_maps.empty()) {
    warnings.push_back(fmt::format(
        "pictures whose human map has one value everywhere, and counts as no "
        "map: {}, e.g. {}",
        result.constant_maps.size(), result.constant_maps.front()));
  }
  return warnings;
}

void write_page(const ExplainResult& result, const ExplainOptions& options) {
  report::HtmlPage page(
      "Where the network looks",
      fmt::format(
          "{}, {} pictures, {}.", options.checkpoint.string(),
          result.pictures.size(), result.method));
  const auto agreement = agreement_text(result);
  if (!agreement.empty()) {
    report::HtmlTable table;
    table.caption =
        "Mean ± standard deviation over the pictures that have a human map. "
        "Full agreement is 1 for correlation, similarity and IoU (of the parts "
        "above one half), and 0 for divergence.";
    table.rows.emplace_back();
    for (const auto& [name, value] : agreement) {
      table.head.push_back(name);
      table.rows.front().push_back(value);
    }
    page.section("Agreement with people").table(table);
  }
  for (const auto& warning : warnings_of(result)) {
    page.note(warning, report::NoteKind::kBad);
  }
  report::HtmlPictures grid;
  grid.head = {"picture", "people", "network"};
  grid.pixels = 160;
  grid.absent = "no map";
  for (const auto& one : result.pictures) {
    if (!one.png.empty()) {
      grid.rows.push_back(
          {fmt::format(
               "{}: {} {}{}", one.name, one.explained,
               number(one.probability, 3),
               one.truth.empty() ? std::string() : ", is " + one.truth),
           one.png});
    }
  }
  grid.caption = fmt::format(
      "The first {} of {} pictures, with the class whose map is shown and its "
      "probability. Each map has its own scale, from {}.",
      grid.rows.size(), result.pictures.size(),
      scale_text(options.overlay.colormap()));
  page.section("Pictures").pictures(grid);
  page.write(options.out / "report.html");
}

}  // namespace explain
