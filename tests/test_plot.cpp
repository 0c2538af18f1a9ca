// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <common/report/plot.hpp>

#include <cmath>
#include <string>

using programs::report::dot_plot;
using programs::report::line_chart;
using programs::report::PlotOptions;
using support::contains;
using support::error_of;

namespace {

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size())) {
    ++found;
  }
  return found;
}

// Tags that open must close: enough to see that nothing was left out.
bool balanced(const std::string& svg) {
  for (const std::string tag : {"svg", "g", "text", "title", "path"}) {
    const int empty = tag == "path" ? 0 : count(svg, "<" + tag + "/>");
    if (count(svg, "<" + tag + " ") + count(svg, "<" + tag + ">") !=
        count(svg, "</" + tag + ">") + empty) {
      return false;
    }
  }
  return true;
}

const double kNan = std::nan("");

}  // namespace

TEST_CASE("Ticks are round and stay in the range", "[report]") {
  using programs::report::detail::ticks;
  CHECK(ticks(0, 1, 4) == std::vector<double>({0, .5, 1}));
  CHECK(ticks(0, 250, 5) == std::vector<double>({0, 50, 100, 150, 200, 250}));
  CHECK(ticks(-3, 3, 3) == std::vector<double>({-2, 0, 2}));
  const auto fine = ticks(.91, .99, 4);
  REQUIRE(fine.size() == 4);
  CHECK(fine.front() == Approx(.92));
  CHECK(fine.back() == Approx(.98));
  CHECK(programs::report::detail::tick_text(.92, .02) == "0.92");
  CHECK(programs::report::detail::tick_text(150, 50) == "150");
}

TEST_CASE("A line goes through its points", "[report]") {
  const auto svg = line_chart(
      {{"loss", {0, 1, 2}, {0, 1, 0.5}}}, PlotOptions().width(264).height(100));
  // 52 pixels for the labels and 12 of margin leave 200, upside down: y = 0 is
  // at the bottom, 24 (legend) + 8 + 100.
  CHECK(contains(svg, "d='M52.0 132.0L152.0 32.0L252.0 82.0'"));
  CHECK(contains(svg, "<title>loss</title>"));
  CHECK(contains(svg, "viewBox='0 0 264.0 178.0'"));
  CHECK(balanced(svg));
}

TEST_CASE("A NaN leaves a gap in a line", "[report]") {
  const auto svg = line_chart({{"a", {0, 1, 2, 3}, {1, kNan, 2, HUGE_VAL}}});
  const auto path = svg.substr(svg.find("<path"));
  CHECK(count(path, "M") == 2);
  CHECK(count(path.substr(0, path.find("style")), "L") == 0);
  CHECK_FALSE(contains(svg, "nan"));
  CHECK_FALSE(contains(svg, "inf"));
  CHECK_FALSE(contains(svg, "n/a"));
}

TEST_CASE("A logarithmic axis has powers of ten and no zero", "[report]") {
  const auto svg = line_chart(
      {{"a", {0, 1, 2, 3}, {100, 1, 0, 0.01}}},
      PlotOptions().width(264).height(100).logarithmic(true));
  CHECK(contains(svg, ">0.01<"));
  CHECK(contains(svg, ">1<"));
  CHECK(contains(svg, ">100<"));
  CHECK(contains(svg, "L118.7 82.0M252.0 132.0'"));  // 1 is half way up
}

TEST_CASE("A chart without points still has its axes", "[report]") {
  for (const auto& svg :
       {line_chart({}), line_chart({{"empty", {}, {}}}),
        line_chart({{"unknown", {1}, {kNan}}}), line_chart({{"one", {1}, {3}}}),
        line_chart({}, PlotOptions().logarithmic(true)), dot_plot({}, {}),
        dot_plot({"a"}, {}), dot_plot({"a"}, {{"unknown", {kNan}, {}}}),
        dot_plot({"a"}, {{"one", {0}, {kNan}}})}) {
    CHECK(balanced(svg));
    CHECK(contains(svg, "<line"));
    CHECK_FALSE(contains(svg, "nan"));
    CHECK_FALSE(contains(svg, "n/a"));
  }
}

TEST_CASE("Names are escaped in a chart", "[report]") {
  const auto svg = dot_plot(
      {"<b>&"}, {{"\"x' >", {1}, {}}},
      PlotOptions().description("</svg>").x_label("a<b"));
  CHECK_FALSE(contains(svg, "<b>"));
  CHECK(contains(svg, "&lt;b&gt;&amp;"));
  CHECK(contains(svg, "&quot;x&#39; &gt;"));
  CHECK(contains(svg, "<title>&lt;/svg&gt;</title>"));
  CHECK(contains(svg, ">a&lt;b<"));
  CHECK(count(svg, "</svg>") == 1);
}

TEST_CASE("Dots stand at their values with bars around them", "[report]") {
  const auto svg = dot_plot(
      {"a"}, {{"s", {0.5}, {0.25}, 2}},
      PlotOptions().width(233.2).low(0).high(1));
  // Labels 12 + 7.2, margin 14: 200 pixels from 19.2.
  CHECK(contains(svg, "cx='119.2'"));
  CHECK(contains(svg, "x1='69.2'"));
  CHECK(contains(svg, "x2='169.2'"));
  CHECK(contains(svg, "<title>a, s: 0.5000 ± 0.2500</title>"));
  CHECK(contains(svg, "--series-2"));
  CHECK(balanced(svg));
}

TEST_CASE(
    "Bars do not leave the range, and unknown dots are left out", "[report]") {
  const auto svg = dot_plot(
      {"a", "b"}, {{"s", {0.9, kNan}, {0.5, 0.1}}},
      PlotOptions().width(233.2).low(0.8).high(1));
  CHECK(contains(svg, "x2='219.2'"));  // 1.4 ends at 1
  CHECK(contains(svg, "x1='19.2'"));   // .4 at .8
  CHECK(count(svg, "<g>") == 1);
}

TEST_CASE("Series keep the colour that they ask for", "[report]") {
  const auto svg = line_chart(
      {{"first", {0}, {0}}, {"fifth", {0}, {1}, 5}, {"ninth", {0}, {1}, 9}});
  CHECK(contains(svg, "var(--series-0,"));
  CHECK(contains(svg, "var(--series-5,"));
  CHECK(contains(svg, "var(--series-1,"));  // 9 mod 8
}

TEST_CASE("Charts refuse series that do not fit", "[report]") {
  CHECK(
      error_of([] { line_chart({{"a", {1, 2}, {1}}}); }) ==
      "programs::report::line_chart: expected x and y of one length in 'a', "
      "got "
      "2 and 1");
  CHECK(
      error_of([] { dot_plot({"x", "y"}, {{"a", {1}, {}}}); }) ==
      "programs::report::dot_plot: expected 2 values and as many errors or "
      "none "
      "in 'a', got 1 and 0");
  CHECK(
      error_of([] { dot_plot({"x"}, {{"a", {1}, {1, 2}}}); }) ==
      "programs::report::dot_plot: expected 1 values and as many errors or "
      "none "
      "in 'a', got 1 and 2");
  CHECK(
      error_of([] { line_chart({}, PlotOptions().width(10)); }) ==
      "programs::report::line_chart: expected a width of 200 or more and a "
      "height of 50 or more, got 10 and 280");
}
