// SPDX-License-Identifier: BSD-3-Clause
#include "program.hpp"

#include "checkpoint.hpp"
#include "measures.hpp"
#include "report.hpp"
#include "scores.hpp"

#include "../common/command_line.hpp"
#include "../common/errors.hpp"
#include "../common/file_checks.hpp"
#include "../common/mistakes.hpp"
#include "../common/numbers.hpp"
#include "../common/splits.hpp"

#include <cyborg/data/table.hpp>
#include <cyborg/io/file.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace evaluate {

namespace {

namespace fs = std::filesystem;

constexpr int kWrongInput = 2;

struct Arguments {
  std::vector<std::string> files;
  EvaluateOptions options;
  PictureOptions pictures;
  fs::path scores;
  fs::path csv;
  fs::path json;
  fs::path html;
};

/// The outputs by their flags. Those that are not asked for are empty.
std::vector<std::pair<std::string, fs::path*>> outputs_of(
    Arguments& arguments) {
  return {
      {"--scores", &arguments.scores},
      {"--csv", &arguments.csv},
      {"--json", &arguments.json},
      {"--html", &arguments.html}};
}

/// Throws, before anything is computed, for an output that cannot be written,
/// or that would overwrite an input or another output.
void check_outputs(Arguments& arguments) {
  std::vector<fs::path> taken;
  auto inputs = arguments.files;
  inputs.push_back(arguments.pictures.data);
  for (const auto& file : inputs) {
    if (!file.empty()) {
      taken.push_back(fs::weakly_canonical(fs::absolute(file)));
    }
  }
  for (const auto& [flag, out] : outputs_of(arguments)) {
    if (out->empty()) {
      continue;
    }
    const auto named = *out;
    *out = programs::writable_file(flag, named);
    if (std::find(taken.begin(), taken.end(), *out) != taken.end()) {
      throw cyborg::io::FileError(
          flag, named,
          "is an input or another output, too: choose another file");
    }
    taken.push_back(*out);
  }
  if (!arguments.scores.empty() && arguments.files.size() != 1) {
    throw cyborg::io::FileError(
        "--scores", arguments.scores,
        "the scores of one checkpoint are written: name one checkpoint, got " +
            std::to_string(arguments.files.size()) + " runs");
  }
}

/// The splits of which a checkpoint's network scores the pictures.
std::vector<std::string> splits_to_score(const EvaluateOptions& options) {
  std::vector<std::string> splits = {programs::split_named(options.split)};
  const auto from = programs::split_named(options.threshold_from);
  if (from != splits.front()) {
    splits.push_back(from);
  }
  return splits;
}

/// A table of scores, or of a checkpoint the rows that it will score.
ScoresTable read_run(const Arguments& arguments, const std::string& file) {
  if (fs::is_directory(file)) {
    throw cyborg::io::FileError(
        "evaluate", file,
        "is a folder: name a checkpoint, for example " +
            (fs::path(file) / "best.pt").string() + ", or a CSV of scores");
  }
  if (is_checkpoint(file)) {
    return rows_to_score(
        file, arguments.pictures, splits_to_score(arguments.options));
  }
  if (cyborg::data::is_picture(file)) {
    throw cyborg::io::FileError(
        "evaluate", file,
        "is a picture: name a checkpoint or a CSV of scores; --data names the "
        "pictures of a checkpoint");
  }
  if (!fs::exists(file)) {
    throw cyborg::io::FileError("evaluate", file, "no such file");
  }
  const auto& pictures = arguments.pictures;
  for (const auto& [flag, used] :
       {std::pair("--data", !pictures.data.empty()),
        std::pair("--scores", !arguments.scores.empty()),
        std::pair("--test-flip", pictures.test_flip)}) {
    if (used) {
      throw cyborg::io::FileError(
          "evaluate", file,
          std::string("holds scores already: ") + flag + " is for checkpoints");
    }
  }
  return read_scores(file);
}

/// Scores the pictures of a checkpoint. `csv` is set to the text of the table.
ScoresTable score(
    const Arguments& arguments, const std::string& file, std::string* csv) {
  auto scored = score_checkpoint(
      file, arguments.pictures, splits_to_score(arguments.options));
  auto table = parse_scores(scored.csv, file);
  table.classes = scored.classes;
  table.notes.insert(
      table.notes.end(), scored.notes.begin(), scored.notes.end());
  *csv = std::move(scored.csv);
  return table;
}

/// Writes all outputs, also where one of them fails. Returns the errors.
std::string write_outputs(
    const Arguments& arguments, const std::vector<RunResult>& runs,
    const std::string& scores) {
  const auto& options = arguments.options;
  std::string errors;
  const auto write = [&](const fs::path& path, const auto& text_of) {
    if (path.empty()) {
      return;
    }
    try {
      cyborg::io::write_file(path, text_of(), "evaluate");
    } catch (const std::exception&) {
      errors += programs::current_error("evaluate");
    }
  };
  write(arguments.scores, [&] { return scores; });
  write(arguments.csv, [&] { return to_csv(runs); });
  write(arguments.json, [&] { return to_json(runs, options); });
  write(arguments.html, [&] { return to_html(runs, options); });
  return errors;
}

ProgramResult run(Arguments& arguments) {
  check_outputs(arguments);
  const auto& files = arguments.files;
  // Everything that can be wrong shows before the first network runs.
  std::vector<RunResult> runs;
  std::vector<std::vector<std::string>> warnings;  // of the pictures
  for (const auto& file : files) {
    const auto table = read_run(arguments, file);
    warnings.push_back(table.notes);
    runs.push_back(judge(table, arguments.options));
    // Runs can be compared only where they have the same classes.
    if (runs.back().classes != runs[0].classes) {
      throw cyborg::io::FileError(
          "evaluate", runs.back().name,
          "its classes are not those of " + runs[0].name +
              ": evaluate the two separately");
    }
  }
  std::string scores;
  for (size_t i = 0; i < files.size(); ++i) {
    if (is_checkpoint(files[i])) {
      auto table = score(arguments, files[i], &scores);
      table.notes.insert(
          table.notes.end(), warnings[i].begin(), warnings[i].end());
      runs[i] = judge(table, arguments.options);
    }
  }
  const auto errors = write_outputs(arguments, runs, scores);
  return {errors.empty() ? 0 : kWrongInput, to_text(runs), errors};
}

}  // namespace

ProgramResult program(int argc, const char* const* argv) {
  Arguments arguments;
  auto& options = arguments.options;
  CLI::App app(
      "Measures how good a classifier is. Each file is one run: a checkpoint "
      "of `train`, whose network scores pictures, or a CSV of scores. The "
      "first line of a CSV names the columns: path,split,class,label, then "
      "score (the probability of label 1, in [0, 1]) or logit_0,logit_1,..., "
      "and, if known, attack,group,subject.\n"
      "Two classes: ROC, EER, APCER, BPCER and accuracies at a threshold "
      "(score >= threshold is positive). More classes: accuracies, and the "
      "AUC of each class against the rest.");
  app.add_option(
         "files", arguments.files,
         "checkpoints or files of scores, one for each run")
      ->required();
  app.add_option("--split", options.split, "the split that is measured")
      ->capture_default_str();
  auto* threshold =
      app.add_option(
             "--threshold-from", options.threshold_from,
             "the threshold: a number in [0, 1], or a split (where both errors "
             "are equal there); without rows of the default split it is 0.5")
          ->capture_default_str();
  app.add_option(
         "--positive", options.positive,
         "the positive class (attacks), by name or label")
      ->default_str("label 1");
  auto* score = programs::add_choice(
      app, "--score", options.score,
      "how logits become a score; a single logit has a sigmoid only");
  app.add_option(
         "--fpr", options.fpr,
         "false positive rates at which the true positive rate is measured")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(programs::kShare)
      ->default_str(fmt::format("{}", fmt::join(options.fpr, ",")));
  auto& pictures = arguments.pictures;
  app.add_option(
         "--data", pictures.data,
         "pictures for checkpoints: a CSV, or a folder split/class/*.png")
      ->default_str("those of the training");
  app.add_flag(
      "--skip-unreadable", pictures.skip_unreadable,
      "leave out pictures that cannot be read, and list them");
  app.add_flag(
      "--test-flip", pictures.test_flip,
      "score each picture and its mirror image, and take the mean of the "
      "logits; the table of scores then has a column test_flip");
  programs::add_running_options(
      app, pictures.device, pictures.threads, pictures.workers, pictures.batch);
  app.add_option(
         "--scores", arguments.scores, "file for the scores of the checkpoint")
      ->default_str("none");
  app.add_option(
         "--csv", arguments.csv, "file for a table with a line for each run")
      ->default_str("none");
  app.add_option("--json", arguments.json, "file for the results as JSON")
      ->default_str("none");
  app.add_option("--html", arguments.html, "file for a report")
      ->default_str("none");
  programs::explain_mistakes(app, "evaluate", argc, argv);
  try {
    app.parse(argc, argv);
    options.threshold_asked = threshold->count() > 0;
    options.score_asked = score->count() > 0;
    return run(arguments);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream problem;
    const int code = app.exit(error, out, problem);
    return {code == 0 ? 0 : kWrongInput, out.str(), problem.str()};
  } catch (const cyborg::io::FileError&) {
    return {kWrongInput, "", programs::current_error("evaluate")};
  } catch (const std::invalid_argument&) {
    return {kWrongInput, "", programs::current_error("evaluate")};
  } catch (const std::exception&) {
    return {1, "", programs::current_error("evaluate")};
  }
}

}  // namespace evaluate
