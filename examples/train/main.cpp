// SPDX-License-Identifier: BSD-3-Clause
// Trains a network on your own pictures, with or without human maps. The
// command line is explained in docs/train.md and by `train --help`.

#include "check.hpp"
#include "options.hpp"
#include "report.hpp"
#include "trainer.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <filesystem>

namespace {

int run(const programs::Request& request) {
  if (request.check) {
    return programs::check(request) ? 0 : 2;
  }
  programs::Trainer trainer(request);
  const auto outcome = trainer.run();
  if (!outcome.finished) {
    return 0;
  }
  std::vector<programs::Scored> parts;
  for (const auto& part : {outcome.validation, outcome.test}) {
    if (!part.rows.empty()) {
      parts.push_back(part);
    }
  }
  if (!parts.empty()) {
    cyborg::io::write_file(
        request.out / "scores.csv", programs::scores_csv(parts));
  }
  programs::write_report(outcome, request.out);
  if (!request.quiet) {
    fmt::print(
        "open {}\n",
        std::filesystem::absolute(request.out / "report.html").string());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto request = programs::read_request(argc, argv);
  try {
    return run(request);
  } catch (const c10::Error& error) {
    fmt::print(stderr, "train: {}\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    fmt::print(stderr, "train: {}\n", error.what());
  }
  return 2;
}
