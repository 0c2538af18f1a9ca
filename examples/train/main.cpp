// SPDX-License-Identifier: BSD-3-Clause
// Trains a network on your own pictures, with or without human maps. The
// command line is explained in docs/train.md and by `train --help`.

#include "check.hpp"
#include "options.hpp"
#include "report.hpp"
#include "trainer.hpp"
#include "watch.hpp"

#include "../common/errors.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

namespace {

int run(const programs::TrainOptions& options) {
  if (options.check) {
    return programs::check_data(options) ? 0 : 2;
  }
  programs::Trainer trainer(options);
  const auto result = trainer.run();
  if (!result.finished) {
    return result.stopped ? programs::kStopped : 0;
  }
  std::vector<programs::ScoredPictures> parts;
  for (const auto& part : {result.validation, result.test}) {
    if (!part.rows.empty()) {
      parts.push_back(part);
    }
  }
  if (!parts.empty()) {
    cyborg::io::write_file(
        options.out / "scores.csv", programs::scores_csv(parts));
  }
  programs::write_report(result, options.out);
  if (!options.quiet) {
    fmt::print(
        "open {}\n",
        std::filesystem::absolute(options.out / "report.html").string());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = programs::read_options(argc, argv);
  try {
    return run(options);
  } catch (...) {
    fmt::print(stderr, "{}", programs::current_error("train"));
    return 2;
  }
}
