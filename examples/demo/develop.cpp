// SPDX-License-Identifier: BSD-3-Clause
#include "develop.hpp"

#include "experiment.hpp"
#include "synthesize.hpp"

#include "../common/parallel.hpp"
#include "../common/progress.hpp"

#include <cyborg/io/text.hpp>
#include <cyborg/measure/statistics.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace demo {

using cyborg::io::number;
using cyborg::measure::mean_std;

namespace {

// Trains every row on every development seed; [row][seed].
std::vector<std::vector<Run>> run_all(
    const std::vector<Row>& rows, const std::vector<Repetition>& repetitions,
    const Sizes& sizes, const std::vector<std::string>& tested, int64_t threads,
    programs::Progress& progress) {
  const auto seeds = static_cast<int64_t>(repetitions.size());
  std::vector<std::vector<Run>> out(
      rows.size(), std::vector<Run>(repetitions.size()));
  const auto count = static_cast<int64_t>(rows.size()) * seeds;
  programs::parallel(count, threads, [&](int64_t job) {
    const auto r = static_cast<size_t>(job / seeds);
    const auto s = static_cast<size_t>(job % seeds);
    out[r][s] = run(rows[r], repetitions[s], sizes, tested);
    progress.add(1);
  });
  return out;
}

std::vector<Repetition> make(
    const torch::Tensor& digits, const std::filesystem::path& folder,
    const Difficulty& difficulty, const Sizes& sizes, int64_t threads) {
  const auto seeds = development_seeds();
  std::vector<Repetition> out(seeds.size());
  programs::parallel(
      static_cast<int64_t>(seeds.size()), threads, [&](int64_t i) {
        const auto seed = seeds[static_cast<size_t>(i)];
        const auto place = folder / ("seed-" + std::to_string(seed));
        write_samples(
            synthesize(digits, seed, difficulty, sizes, /*validation=*/true),
            place);
        out[static_cast<size_t>(i)] = read_repetition(place, seed);
      });
  return out;
}

double mean_over_seeds(
    const std::vector<Run>& runs, const std::vector<double> Run::*cell,
    size_t first, size_t count) {
  std::vector<double> values;
  for (const auto& one : runs) {
    for (size_t g = first; g < first + count; ++g) {
      values.push_back((one.*cell).at(g));
    }
  }
  return mean_std(values).mean;
}

// `ce` and the guided rows see only the annotated pictures.
Sizes development_sizes() {
  Sizes sizes;
  sizes.more = 2;
  return sizes;
}

}  // namespace

void develop_difficulty(
    const torch::Tensor& digits, const std::filesystem::path& folder,
    int64_t threads) {
  const auto sizes = development_sizes();
  const auto ce = protocol_rows(Sizes()).front();
  const std::vector<std::string> tested(  // all but the validation generator
      generators().begin(), generators().end() - 1);
  const std::vector<double> fingerprints = {0, 0.005, 0.01, 0.015, 0.02, 0.03};
  const std::vector<double> noises = {0.04, 0.06, 0.08};
  std::string table =
      "fingerprint  noise  seen    shifted  unseen  shifted  unseen, one by "
      "one\n";
  programs::Progress progress(
      "ce",
      static_cast<int64_t>(
          fingerprints.size() * noises.size() * development_seeds().size()));
  for (const double fingerprint : fingerprints) {
    for (const double noise : noises) {
      const auto repetitions =
          make(digits, folder, {fingerprint, noise}, sizes, threads);
      const auto runs =
          run_all({ce}, repetitions, sizes, tested, threads, progress);
      const auto cell = [&](const std::vector<double> Run::*which, size_t first,
                            size_t count) {
        return number(mean_over_seeds(runs[0], which, first, count), 4);
      };
      const auto unseen = static_cast<size_t>(kUnseenCount);
      table += number(fingerprint, 3) + "        " + number(noise, 2) + "   " +
               cell(&Run::clean, 0, 1) + "  " + cell(&Run::shifted, 0, 1) +
               "   " + cell(&Run::clean, kFirstUnseen, unseen) + "  " +
               cell(&Run::shifted, kFirstUnseen, unseen) + "  ";
      for (size_t g = kFirstUnseen; g < tested.size(); ++g) {
        table += " " + cell(&Run::clean, g, 1).substr(0, 5);
      }
      table += "\n";
    }
  }
  std::printf(
      "\nce on the development seeds; wanted: seen >= .99, unseen .92 to "
      ".97\n\n%s\n",
      table.c_str());
}

void develop_alpha(
    const torch::Tensor& digits, const std::filesystem::path& folder,
    int64_t threads) {
  const auto sizes = development_sizes();
  std::vector<Row> rows = {protocol_rows(Sizes()).front()};
  for (const auto& [name, distance] :
       {std::pair{"cyborg_l1", Distance::kL1},
        {"cyborg_l2", Distance::kL2},
        {"cyborg_kl", Distance::kKL}}) {
    for (const double alpha :
         {0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95}) {
      rows.push_back(
          {name, distance, Maps::kHuman, sizes.annotated, sizes.steps, alpha});
    }
  }
  const auto repetitions = make(digits, folder, Difficulty(), sizes, threads);
  programs::Progress progress(
      "alpha", static_cast<int64_t>(rows.size() * repetitions.size()));
  const auto runs = run_all(
      rows, repetitions, sizes, {generators().front(), generators().back()},
      threads, progress);
  std::string table =
      "row        alpha  seen    validation  validation, shifted\n";
  for (size_t r = 0; r < rows.size(); ++r) {
    table += rows[r].name + std::string(11 - rows[r].name.size(), ' ') +
             number(rows[r].alpha, 2) + "   " +
             number(mean_over_seeds(runs[r], &Run::clean, 0, 1), 4) + "  " +
             number(mean_over_seeds(runs[r], &Run::clean, 1, 1), 4) + "      " +
             number(mean_over_seeds(runs[r], &Run::shifted, 1, 1), 4) + "\n";
  }
  std::printf(
      "\nalpha on the development seeds; the validation generator is \"%s\", "
      "which no result comes from\n\n%s\n",
      generators().back().c_str(), table.c_str());
}

}  // namespace demo
