// SPDX-License-Identifier: BSD-3-Clause
// Merges the results of the programs. Prints a table and writes summary.json
// (the claims that have a target), all.json (everything), report.html and
// table.md.

#include <common/report/html.hpp>
#include <common/report/plot.hpp>

#include <cyborg/detail/kernels/instruction_set.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>

#include <ATen/Version.h>
#include <fmt/format.h>
#include <torch/version.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;
namespace report = programs::report;
using json = nlohmann::json;

/// The name of the processor as Linux gives it, for example "AMD EPYC ...".
std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("model name", 0) == 0) {
      return line.substr(line.find(':') + 2);
    }
  }
  return "unknown";
}

json machine() {
  return {
      {"cpu", processor()},
      {"cores", std::thread::hardware_concurrency()},
      {"instruction_set", at::get_cpu_capability()},
      {"kernels",
       cyborg::detail::to_string(cyborg::detail::active_instruction_set())},
      {"libtorch", TORCH_VERSION},
      {"compiler", CYBORG_BENCH_COMPILER},
      {"flags", CYBORG_BENCH_FLAGS},
      {"threads", 1}};
}

std::string machine_line(const json& m) {
  return fmt::format(
      "{}, {} cores, {}; LibTorch {}; our kernels: {}; {}, {}; one thread "
      "unless the row says otherwise.",
      m["cpu"].get<std::string>(), m["cores"].get<int>(),
      m["instruction_set"].get<std::string>(), m["libtorch"].get<std::string>(),
      m["kernels"].get<std::string>(), m["compiler"].get<std::string>(),
      m["flags"].get<std::string>());
}

/// Merges all files of a folder into one object: {"rows", "memory", "quick",
/// "machine"}. If a row was also measured with the default malloc, it gets the
/// median of that.
json merge(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".json") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  json all = {
      {"rows", json::array()},
      {"memory", json::array()},
      {"quick", false},
      {"machine", machine()}};
  std::map<std::string, double> by_default;
  for (const auto& path : files) {
    std::ifstream file(path);
    const json part = json::parse(file);
    all["quick"] = all["quick"].get<bool>() || part.value("quick", false);
    for (auto row : part.at("rows")) {
      if (part.value("malloc", "") == "default") {
        by_default[row.at("name")] = row.at("ratio_median");
      } else {
        row["program"] = part.at("program");
        all["rows"].push_back(row);
      }
    }
    for (const auto& row : part.value("memory", json::array())) {
      all["memory"].push_back(row);
    }
  }
  for (auto& row : all["rows"]) {
    const auto found = by_default.find(row["name"]);
    if (found != by_default.end()) {
      row["default_malloc_median"] = found->second;
    }
  }
  return all;
}

json with_target(const json& rows) {
  auto out = json::array();
  for (const auto& row : rows) {
    if (row.contains("target")) {
      out.push_back(row);
    }
  }
  return out;
}

std::string text(const json& row, const char* key) {
  return row.value(key, std::string("–"));
}

/// A number of a row; a dash if the row does not have it.
std::string value(const json& row, const char* key, int digits = 3) {
  const auto found = row.find(key);
  return found == row.end() ? "–"
                            : cyborg::io::number(found->get<double>(), digits);
}

std::string holds(const json& row) {
  return !row.contains("holds") ? "–" : row["holds"].get<bool>() ? "yes" : "NO";
}

// ---------------------------------------------------------------- the terminal

void print_table(const json& rows) {
  const auto width = [&](const char* key) {
    size_t most = 8;
    for (const auto& row : rows) {
      most = std::max(most, text(row, key).size());
    }
    return most;
  };
  const size_t name = width("name"), ours = width("ours"),
               baseline = width("baseline");
  const auto line = [&](const std::vector<std::string>& cells) {
    fmt::print(
        "{:<{}}  {:<{}}  {:<{}}  {:>7} {:>7} {:>7} {:>7}  {}\n", cells[0], name,
        cells[1], ours, cells[2], baseline, cells[3], cells[4], cells[5],
        cells[6], cells[7]);
  };
  line({"name", "ours", "baseline", "median", "min", "max", "target", "holds"});
  for (const auto& row : rows) {
    line(
        {text(row, "name"), text(row, "ours"), text(row, "baseline"),
         value(row, "ratio_median"), value(row, "ratio_min"),
         value(row, "ratio_max"), value(row, "target", 2), holds(row)});
  }
}

/// The claims as Markdown, for docs/performance.md.
std::string markdown(const json& claims) {
  std::string out =
      "| claim | median | 95 % interval | target | holds | ours, ms | default "
      "malloc |\n|---|---|---|---|---|---|---|\n";
  for (const auto& row : claims) {
    out += fmt::format(
        "| `{}` | {} | {} – {} | {} | {} | {} | {} |\n", text(row, "name"),
        value(row, "ratio_median"), value(row, "interval_low"),
        value(row, "interval_high"), value(row, "target", 2), holds(row),
        value(row, "ours_ms", 2), value(row, "default_malloc_median"));
  }
  return out;
}

// -------------------------------------------------------------------- the page

report::HtmlTable table_of(
    const json& rows, bool target, const std::string& caption) {
  report::HtmlTable table;
  table.caption = caption;
  table.head = {"row",   "median",         "95 % interval", "min – max",
                "limit", "default malloc", "ours, ms",      "baseline, ms"};
  if (target) {
    table.head.insert(table.head.begin() + 2, {"target", "holds"});
  }
  for (const auto& row : rows) {
    std::vector<std::string> cells = {
        text(row, "name"),
        value(row, "ratio_median"),
        value(row, "interval_low") + " – " + value(row, "interval_high"),
        value(row, "ratio_min") + " – " + value(row, "ratio_max"),
        value(row, "bandwidth", 2),
        value(row, "default_malloc_median"),
        value(row, "ours_ms", 2),
        value(row, "baseline_ms", 2)};
    if (target) {
      cells.insert(cells.begin() + 2, {value(row, "target", 2), holds(row)});
      if (holds(row) == "NO") {
        table.marked.push_back(table.rows.size());
      }
    }
    table.rows.push_back(cells);
  }
  return table;
}

void add_verdict(report::HtmlPage& page, const json& claims) {
  std::string missed;
  int count = 0;
  for (const auto& row : claims) {
    if (holds(row) == "NO") {
      missed += (missed.empty() ? "" : ", ") + text(row, "name");
      ++count;
    }
  }
  if (count == 0) {
    page.note(
        fmt::format("All {} claims hold.", claims.size()),
        report::NoteKind::kGood);
  } else {
    page.note(
        fmt::format(
            "{} of {} claims do not hold: {}.", count, claims.size(), missed),
        report::NoteKind::kBad);
  }
}

void add_scaling(report::HtmlPage& page, const json& rows) {
  const std::map<std::string, std::string> names = {
      {"B", "batch"}, {"C", "channels"}, {"P", "positions"}, {"K", "classes"}};
  std::vector<report::LineSeries> series;
  for (const auto& row : rows) {
    if (!row.contains("points")) {
      continue;
    }
    const auto& points = row["points"];
    report::LineSeries line;
    line.name = fmt::format(
        "{} {} to {}", names.at(row["axis"]), points.front()["size"].dump(),
        points.back()["size"].dump());
    for (const auto& point : points) {
      line.x.push_back(static_cast<double>(line.x.size()));
      line.y.push_back(point["ratio"]);
    }
    series.push_back(std::move(line));
  }
  if (series.empty()) {
    return;
  }
  const auto draw = [&](double width) {
    return report::line_chart(
        series, report::PlotOptions()
                    .width(width)
                    .low(0)
                    .x_label("times doubled")
                    .y_label("guided head ÷ plain head")
                    .description("Ratio of times as sizes are doubled"));
  };
  page.section("Scaling").chart(
      draw(900),
      "Time of the guided head divided by that of the plain head, forward and "
      "backward. One size is doubled five times, the others stay the same. If "
      "the line does not rise, guidance does not become more expensive.",
      draw(350));
}

void add_memory(report::HtmlPage& page, const json& rows) {
  if (rows.empty()) {
    return;
  }
  report::HtmlTable table;
  table.head = {"shape",          "way",     "kept, maps", "peak, maps",
                "peak, features", "peak, MB"};
  table.caption =
      "Bytes that LibTorch's allocator gives out, without those of the plain "
      "head. Kept: between forward and backward, divided by the bytes of the "
      "maps [B, P]. Peak: the most at one time, divided by the bytes of the "
      "maps and of the features [B, C, P]. The gradient of the features has as "
      "many bytes as these, in the plain head, too.";
  for (const auto& row : rows) {
    const double map = row["map_bytes"], features = row["feature_bytes"];
    const double kept = row["kept_beyond_plain"],
                 peak = row["peak_beyond_plain"];
    table.rows.push_back(
        {row["shape"], row["way"], cyborg::io::number(kept / map, 1),
         cyborg::io::number(peak / map, 1),
         cyborg::io::number(peak / features, 3),
         cyborg::io::number(peak / 1e6, 2)});
  }
  page.section("Memory").table(table);
}

void write_page(const json& all, const json& claims, const fs::path& path) {
  report::HtmlPage page(
      "What guidance costs",
      "Our code compared with plain code that computes the same. Both run in "
      "turns in one process, and each pair of times gives a ratio. Before "
      "anything was timed, both sides gave equal losses and gradients.");
  add_verdict(page, claims);
  page.paragraph(
      machine_line(all["machine"]) +
      (all["quick"].get<bool>() ? " A quick run: fewer pairs, fewer rows."
                                : ""));
  page.section("Claims").table(table_of(
      claims, /*target=*/true,
      "Median of the ratios, with the 95 % interval of the median by order "
      "statistics. Whole steps through a hook meet their target if the upper "
      "end of the interval does, all other rows if the median does. Limit: our "
      "speed divided by that of a streaming copy. Malloc keeps large buffers; "
      "default malloc is the median without that. Marked rows do not meet "
      "their target."));
  json rest = json::array();
  for (const auto& row : all["rows"]) {
    if (!row.contains("target")) {
      rest.push_back(row);
    }
  }
  page.section("Other rows")
      .table(table_of(rest, /*target=*/false, "Rows without a target."));
  add_scaling(page, all["rows"]);
  add_memory(page, all["memory"]);
  page.section("How to read it")
      .paragraph(
          "docs/performance.md explains what each row means, what the limits "
          "are, and what this means for a training.");
  page.write(path);
}

void write_json(const fs::path& path, const json& value) {
  cyborg::io::write_file(path, value.dump(2) + "\n", "bench_report");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    CLI::App app(
        "Merges the results of the benchmarks into a table and a report");
    fs::path parts, out;
    app.add_option("--parts", parts, "folder of the results")
        ->required()
        ->check(CLI::ExistingDirectory);
    app.add_option("--out", out, "folder for the report")->required();
    CLI11_PARSE(app, argc, argv);
    fs::create_directories(out);
    const json all = merge(parts);
    const json claims = with_target(all["rows"]);
    if (claims.empty()) {
      throw std::runtime_error("no claims in " + parts.string());
    }
    write_json(out / "all.json", all);
    write_json(out / "summary.json", claims);
    write_page(all, claims, out / "report.html");
    cyborg::io::write_file(out / "table.md", markdown(claims), "bench_report");
    fmt::print("\n");
    print_table(claims);
    fmt::print(
        "\n{}\n\nRows without a target: {}\nThe report: {}\n",
        machine_line(all["machine"]), (out / "all.json").string(),
        (out / "report.html").string());
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_report: {}\n", error.what());
    return 1;
  }
  return 0;
}
