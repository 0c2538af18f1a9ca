// SPDX-License-Identifier: BSD-3-Clause
// How long the compiler takes to include cyborg, compared with LibTorch's own
// header: its user time on files of one or two lines.

#include "program.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// Runs a command and returns the user time of the command and its children, in
/// seconds.
double user_seconds(std::vector<std::string> command) {
  std::vector<char*> arguments;
  for (auto& word : command) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0) {
    throw std::runtime_error("the compiler failed: " + command.front());
  }
  return static_cast<double>(usage.ru_utime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec);
}

enum File : size_t { kTorch, kAlone, kAfterTorch, kFiles };

/// The times of all files, measured round by round. The claims share them,
/// because a compilation takes ten seconds.
class Rounds {
 public:
  explicit Rounds(const fs::path& folder) {
    const std::string torch = "#include <torch/torch.h>\n";
    const std::string loss = "#include <cyborg/loss.hpp>\n";
    fs::create_directories(folder);
    const auto add = [&](File file, const char* name, const std::string& text) {
      const fs::path path = folder / name;
      cyborg::io::write_file(path, text, "bench_include_cost");
      commands_[file] = {CYBORG_CXX, "@" CYBORG_CXX_FLAGS,
                         "-c",       path.string(),
                         "-o",       (folder / name).string() + ".o"};
    };
    add(kTorch, "torch.cpp", torch);
    add(kAlone, "alone.cpp", loss);
    add(kAfterTorch, "after_torch.cpp", torch + loss);
  }

  double at(size_t round, File file) {
    while (times_.size() <= round) {
      measure();
    }
    return times_[round][file];
  }

 private:
  void measure() {
    std::array<double, kFiles> times{};
    for (size_t i = 0; i < kFiles; ++i) {
      const size_t file = (i + times_.size()) % kFiles;  // in turns
      times[file] = user_seconds(commands_[file]);
    }
    times_.push_back(times);
  }

  std::array<std::vector<std::string>, kFiles> commands_;
  std::vector<std::array<double, kFiles>> times_;
};

nlohmann::json measure(const claims::Program& program) {
  const auto rounds = std::make_shared<std::unique_ptr<Rounds>>();
  const auto folder = fs::temp_directory_path() /
                      fmt::format("cyborg-include-cost-{}", getpid());
  const auto claim = [&](const std::string& name, const std::string& ours,
                         File file, double target) {
    claims::Claim made{name, ours, "torch/torch.h"};
    made.target = target;
    // Five and eleven rounds, because 31 would take a quarter of an hour.
    made.pairs = {5, 11};
    made.warm_up = 0;
    made.make = [=]() -> claims::Sampler {
      if (!*rounds) {
        *rounds = std::make_unique<Rounds>(folder);
      }
      return [=, round = size_t{0}](bool /*ours_first*/) mutable {
        const double a = (*rounds)->at(round, file);
        const double b = (*rounds)->at(round, kTorch);
        ++round;
        return claims::Pair{a, b, a / b};
      };
    };
    return made;
  };
  const auto rows = claims::run(
      {claim("include_alone", "cyborg/loss.hpp", kAlone, 0.70),
       claim(
           "include_after_torch", "torch/torch.h, cyborg/loss.hpp", kAfterTorch,
           1.05)},
      program.quick);
  fs::remove_all(folder);
  return {{"rows", rows}};
}

}  // namespace

int main(int argc, char** argv) {
  return claims::run_program(argc, argv, "include_cost", measure);
}
