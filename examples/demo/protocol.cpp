// SPDX-License-Identifier: BSD-3-Clause
#include "protocol.hpp"

#include "synthesize.hpp"

#include "../common/parallel.hpp"
#include "../common/progress.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

namespace demo {

namespace {

// The report shows two clean reals and a synthetic picture of every generator.
// They are chosen by their position in the test set, so that nobody can choose
// those with beautiful maps.
constexpr int64_t kRealsShown = 2;

torch::Tensor shown_indices(
    const Repetition& repetition, const std::vector<std::string>& tested) {
  std::vector<torch::Tensor> out = {
      repetition.real.slice(/*dim=*/0, 0, kRealsShown)};
  for (size_t g = 0; g < tested.size(); ++g) {
    const auto place = static_cast<int64_t>(g) % kShown;
    out.push_back(repetition.synthetic.at(tested[g]).slice(
        /*dim=*/0, place, place + 1));
  }
  return torch::cat(out);
}

std::vector<ShownPicture> shown_pictures(
    const Repetition& repetition, const std::vector<std::string>& tested,
    const torch::Tensor& shown, const torch::Tensor& plain,
    const torch::Tensor& guided) {
  std::vector<ShownPicture> out;
  for (int64_t i = 0; i < shown.size(0); ++i) {
    const auto index = shown[i].item<int64_t>();
    const auto generator = i - kRealsShown;
    const auto label = generator < 0
                           ? std::string("real")
                           : "synthetic, " +
                                 tested.at(static_cast<size_t>(generator)) +
                                 (generator == kSeen ? " (seen)" : " (unseen)");
    out.push_back(
        {label, repetition.test_image[index] * 0.25 + 0.5,
         repetition.test_map[index], plain[i], guided[i]});
  }
  return out;
}

}  // namespace

ExperimentResult run_protocol(
    const torch::Tensor& digits, const std::filesystem::path& folder,
    const std::vector<int64_t>& seeds, const Sizes& sizes,
    const Difficulty& difficulty, int64_t threads, bool quiet) {
  ExperimentResult out;
  out.sizes = sizes;
  out.difficulty = difficulty;
  const auto rows = protocol_rows(sizes);
  const std::vector<std::string> tested(
      generators().begin(), generators().begin() + kFirstUnseen + kUnseenCount);
  const auto row_count = static_cast<int64_t>(rows.size());
  const auto seed_count = static_cast<int64_t>(seeds.size());

  double seconds = 0;
  std::atomic<int64_t> pictures{0};
  std::vector<Repetition> repetitions(seeds.size());
  {
    programs::Progress progress("pictures", seed_count, quiet);
    programs::parallel(seed_count, threads, [&](int64_t i) {
      const auto s = static_cast<size_t>(i);
      const auto place = folder / ("seed-" + std::to_string(seeds[s]));
      const auto samples =
          synthesize(digits, seeds[s], difficulty, sizes, /*validation=*/false);
      write_samples(samples, place);
      pictures += static_cast<int64_t>(samples.size());
      repetitions[s] = read_repetition(place, seeds[s]);
      progress.add(1);
    });
    seconds = progress.seconds();
  }
  out.picture_seconds = seconds;
  out.pictures = pictures;

  // The longest trainings first, so that the threads end at about the same
  // time.
  std::vector<std::pair<size_t, size_t>> jobs;
  int64_t steps = 0;
  for (size_t s = 0; s < seeds.size(); ++s) {
    for (size_t r = 0; r < rows.size(); ++r) {
      jobs.emplace_back(s, r);
      steps += rows[r].steps;
    }
  }
  std::stable_sort(jobs.begin(), jobs.end(), [&](auto a, auto b) {
    return rows[a.second].steps > rows[b.second].steps;
  });
  const auto shown = shown_indices(repetitions.front(), tested);
  std::vector<std::vector<Run>> runs(
      seeds.size(), std::vector<Run>(rows.size()));
  programs::Progress progress("training", steps, quiet);
  programs::parallel(seed_count * row_count, threads, [&](int64_t i) {
    const auto [s, r] = jobs[static_cast<size_t>(i)];
    runs[s][r] =
        run(rows[r], repetitions[s], sizes, tested,
            s == 0 ? shown : torch::Tensor(),
            [&](int64_t done) { progress.add(done); });
  });
  out.seconds = seconds + progress.seconds();
  out.results = summarize(rows, seeds, runs);
  const auto maps = [&](const char* name) {
    for (size_t r = 0; r < rows.size(); ++r) {
      if (rows[r].name == name) {
        return runs.front()[r].maps;
      }
    }
    return torch::Tensor();
  };
  out.shown = shown_pictures(
      repetitions.front(), tested, shown, maps("ce"), maps("cyborg_kl"));
  return out;
}

}  // namespace demo
