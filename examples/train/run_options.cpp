// SPDX-License-Identifier: BSD-3-Clause
#include "option_groups.hpp"

#include "../common/command_line.hpp"
#include "../common/numbers.hpp"

#include <string>
#include <vector>

namespace programs {

void add_run_options(CLI::App& app, TrainOptions& options) {
  auto* group = app.add_option_group("Run");
  group->add_option("--out", options.out, "folder of all output files")
      ->type_name("DIR")
      ->capture_default_str();
  group
      ->add_option_function<std::vector<std::string>>(
          "--resume",
          [&options](const std::vector<std::string>& words) {
            const auto word = words.empty() ? std::string() : words[0];
            options.resume =
                word.empty() ? Resume::kYes : choice_named<Resume>(word);
          },
          "continue the training in the output folder from its last "
          "checkpoint, with the settings that it began with (--epochs, --data, "
          "--saliency, --annotations and --wrong may have new values); "
          "--resume auto begins a training where there is none")
      ->expected(0, 1)
      ->type_name("[auto]")
      ->check([](const std::string& word) {
        return word.empty() || word == "auto"
                   ? std::string()
                   : "expected auto or nothing, got " + word;
      });
  group->add_flag(
      "--check", options.check,
      "read every picture and map once, report what is wrong, and end");
  group
      ->add_option(
          "--seed", options.settings.seed,
          "seed of initial weights, order of pictures and augmentation")
      ->check(CLI::Validator(
          [](const std::string& text) {
            return text.size() < 20 && text.find_first_not_of("0123456789") ==
                                           std::string::npos
                       ? std::string()
                       : "expected a whole number from 0, got " + text;
          },
          ""))
      ->capture_default_str();
  group->add_flag(
      "--deterministic", options.settings.deterministic,
      "use only operators that give the same result every time");
  group->add_flag(
      "--bf16", options.settings.bfloat16,
      "compute the forward pass in bfloat16 where that is safe");
  group
      ->add_option(
          "--device", options.device,
          "cpu, cuda, cuda:1, ...; with several processes: cuda, and each "
          "process takes its own GPU")
      ->capture_default_str();
  group
      ->add_option(
          "--threads", options.threads,
          "threads of LibTorch; 0: as many as there are cores")
      ->check(whole_number(0))
      ->capture_default_str();
  group
      ->add_option(
          "--workers", options.workers,
          "threads that read pictures in advance; 0: pictures are read between "
          "training steps")
      ->check(whole_number(0))
      ->capture_default_str();
  group
      ->add_option(
          "--ahead", options.ahead,
          "largest number of batches that are read in advance")
      ->check(whole_number(1))
      ->capture_default_str();
  group
      ->add_option(
          "--save-every", options.save_every,
          "optimizer steps between two checkpoints; 0: one checkpoint at the "
          "end of each epoch")
      ->check(whole_number(0))
      ->capture_default_str();
  group
      ->add_option(
          "--stop-after", options.stop_after,
          "stop and save when so many optimizer steps are done in all; 0: "
          "train to the end")
      ->check(whole_number(0))
      ->capture_default_str();
  group
      ->add_option(
          "--export", options.export_to,
          "when the training is finished, write its best network as a "
          "TorchScript file, for C++ and Python, in evaluation mode")
      ->type_name("FILE");
  group->add_flag(
      "--quiet", options.quiet, "print nothing but warnings and errors");
}

}  // namespace programs
