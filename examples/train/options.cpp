// SPDX-License-Identifier: BSD-3-Clause
#include "options.hpp"

#include "../common/command_line.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <string>

namespace programs {

namespace {

/// A set of published settings. There is one, and it is the default.
enum class Recipe { kCyborg };

}  // namespace

template <>
struct Choices<Recipe> {
  static constexpr Choice<Recipe> kAll[] = {{Recipe::kCyborg, "cyborg", ""}};
};

namespace {

/// Accepts numbers above `least`, or from `least`. (The error texts of CLI11's
/// own validators name the largest double as well.)
CLI::Validator number_from(double least, bool least_too, const char* name) {
  return CLI::Validator(
      [least, least_too, name](const std::string& text) {
        double value = 0;
        const bool is_number = CLI::detail::lexical_cast(text, value);
        return is_number && (value > least || (least_too && value == least))
                   ? std::string()
                   : fmt::format("expected {}, got {}", name, text);
      },
      "");
}
const CLI::Validator kPositive = number_from(0, false, "a number above 0");
const CLI::Validator kNotNegative = number_from(0, true, "a number from 0");

void add_pictures(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Pictures");
  group
      ->add_option(
          "--data", s.data,
          "CSV (split,class,path[,saliency], or with a header), or a folder "
          "split/class/*.png")
      ->type_name("PATH");
  group
      ->add_option(
          "--saliency", s.saliency,
          "folder of human maps with the names of the pictures, for rows that "
          "name no map")
      ->type_name("DIR");
  const auto add_column = [&](const char* flag, std::string& name,
                              const char* text) {
    group->add_option(flag, name, text)
        ->type_name("NAME")
        ->capture_default_str();
  };
  add_column("--path-column", s.path_column, "the CSV's column of pictures");
  add_column("--class-column", s.class_column, "the CSV's column of classes");
  add_column("--split-column", s.split_column, "the CSV's column of splits");
  group->add_option(
      "--positive", s.positive,
      "the class of label 1; needed for two classes other than "
      "Real/Synthetic, Live/Spoof and normal/abnormal");
  group
      ->add_option(
          "--size", s.size,
          "height and width that pictures are resized to; 0 0: no resizing")
      ->expected(2)
      ->capture_default_str();
  group->add_option("--channels", s.channels, "1: grey, 3: RGB")
      ->check(CLI::IsMember({1, 3}))
      ->capture_default_str();
  group
      ->add_option(
          "--mean", s.mean,
          "subtracted from the channels of pictures in [0, 1]")
      ->expected(1, 3)
      ->capture_default_str();
  group->add_option("--std", s.stddev, "the channels are then divided by it")
      ->expected(1, 3)
      ->capture_default_str();
  group
      ->add_option(
          "--map-blur", s.map_blur,
          "standard deviation of a Gaussian blur of human maps, in pixels of "
          "the map; 0: no blur")
      ->check(kNotNegative)
      ->capture_default_str();
  add_choice(
      *group, "--map-values", s.map_values,
      "how the values of a human map are read");
  add_choice(
      *group, "--exif-orientation", s.exif_orientation,
      "which files are turned as their EXIF orientation says");
  group
      ->add_option(
          "--max-pixels", s.max_pixels,
          "pictures and maps of more pixels cannot be read")
      ->check(kPositive)
      ->capture_default_str();
  group->add_flag(
      "--any-extension", s.any_extension,
      "read files whose name says another format than their content");
  group->add_flag(
      "--skip-unreadable", s.skip_unreadable,
      "leave out pictures and maps that cannot be read, and list them; "
      "without this option the first one ends the training");
}

void add_augmentation(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group(
      "Augmentation",
      "random changes: of position, for the picture and its map alike, and of "
      "colour, for the picture alone");
  const auto share = CLI::Range(0.0, 1.0);
  const auto add = [&](const char* flag, double& value, const char* text) {
    return group->add_option(flag, value, text)->capture_default_str();
  };
  add("--flip", s.flip, "probability of exchanging left and right")
      ->check(share);
  add("--vertical-flip", s.vertical_flip,
      "probability of exchanging top and bottom")
      ->check(share);
  add("--min-area", s.min_area,
      "smallest part of the picture's area that a crop keeps; 1: no crop")
      ->check(share);
  add("--rotation", s.rotation,
      "largest rotation in degrees, in both directions")
      ->check(kNotNegative);
  add("--scale", s.scale,
      "largest factor of enlarging and of shrinking; 1: neither")
      ->check(kPositive);
  add("--brightness", s.brightness, "largest change of brightness")
      ->check(share);
  add("--contrast", s.contrast, "largest change of contrast")->check(share);
  add("--saturation", s.saturation, "largest change of saturation")
      ->check(share);
}

void add_network(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Network");
  add_choice(*group, "--network", s.network, "the network");
  group
      ->add_option(
          "--model", s.model,
          "a TorchScript file to train instead; "
          "examples/export_torchscript.py writes one of any Python network")
      ->type_name("FILE");
  group
      ->add_option(
          "--weights", s.weights,
          "file of initial weights that Python wrote, with torchvision's names")
      ->type_name("FILE");
  group->add_option(
      "--layer", s.layer,
      "the layer whose output gives the map; without this option it is found: "
      "the last convolutional block");
}

void add_loss(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Loss");
  add_choice(*group, "--loss", s.loss, "the loss");
  group
      ->add_option(
          "--alpha", s.alpha,
          "weight of the classification loss, in [0, 1]; the saliency loss has "
          "the rest")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add_choice(
      *group, "--cam-class", s.cam_class, "the class whose map is guided");
  add_choice(
      *group, "--map-normalizer", s.map_normalizer,
      "how the network's map is normalised; without this option, as the loss "
      "defines it");
  add_choice(
      *group, "--human-normalizer", s.human_normalizer,
      "how human maps are normalised; without this option, as the loss defines "
      "it");
  add_choice(
      *group, "--reduction", s.reduction,
      "how the losses of a batch's pictures become one number");
}

void add_optimizer(CLI::App& group, Settings& s) {
  add_choice(group, "--optimizer", s.optimizer, "the optimizer");
  group.add_option("--lr", s.learning_rate, "learning rate")
      ->check(kPositive)
      ->capture_default_str();
  group.add_option("--momentum", s.momentum, "momentum of sgd")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  group.add_option("--weight-decay", s.weight_decay, "weight decay")
      ->check(kNotNegative)
      ->capture_default_str();
  add_choice(group, "--schedule", s.schedule, "how the learning rate falls");
  group
      .add_option(
          "--step-epochs", s.step_epochs,
          "epochs between two steps of the schedule")
      ->check(kPositive)
      ->capture_default_str();
  group
      .add_option(
          "--step-factor", s.step_factor,
          "factor of the learning rate at each step of the schedule")
      ->check(kPositive)
      ->capture_default_str();
  group
      .add_option(
          "--warm-up", s.warm_up,
          "epochs at the beginning in which the learning rate rises; 0: none")
      ->check(kNotNegative)
      ->capture_default_str();
}

void add_optimisation(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Optimisation");
  static auto recipe = Recipe::kCyborg;
  add_choice(
      *group, "--recipe", recipe,
      "the published settings, which are the defaults: SGD with learning rate "
      "0.005, momentum 0.9 and weight decay 1e-6, a tenth of the rate every 12 "
      "epochs, 50 epochs, batches of 20, alpha 0.5");
  add_optimizer(*group, s);
  group->add_option("--epochs", s.epochs, "epochs of the training")
      ->check(kPositive)
      ->capture_default_str();
  group
      ->add_option(
          "--batch", s.batch,
          "pictures in a batch; with several processes, in each one's batch")
      ->check(kPositive)
      ->capture_default_str();
  group
      ->add_option(
          "--accumulate", s.accumulate,
          "batches whose mean gradient makes one optimizer step")
      ->check(kPositive)
      ->capture_default_str();
  group
      ->add_option(
          "--clip", s.clip, "largest norm of the gradient; 0: no limit")
      ->check(kNotNegative)
      ->capture_default_str();
  add_choice(
      *group, "--select", s.select,
      "how the best epoch is found on the validation split; of equal epochs "
      "the later one is taken");
  group
      ->add_option(
          "--patience", s.patience,
          "stop after so many epochs without a better one; 0: never")
      ->check(kNotNegative)
      ->capture_default_str();
  group->add_flag(
      "--sync-batch-norm", s.sync_batch_norm,
      "batch normalisation uses the pictures of all processes; native networks "
      "only");
}

void add_run(CLI::App& app, TrainOptions& options) {
  auto* group = app.add_option_group("Run");
  group->add_option("--out", options.out, "folder of all output files")
      ->type_name("DIR")
      ->capture_default_str();
  group->add_flag(
      "--resume", options.resume,
      "continue the training in the output folder from its last checkpoint, "
      "with the settings that it began with");
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
      ->check(kNotNegative)
      ->capture_default_str();
  group
      ->add_option(
          "--workers", options.workers,
          "threads that read pictures in advance; 0: pictures are read between "
          "training steps")
      ->check(kNotNegative)
      ->capture_default_str();
  group
      ->add_option(
          "--ahead", options.ahead,
          "largest number of batches that are read in advance")
      ->check(kPositive)
      ->capture_default_str();
  group
      ->add_option(
          "--save-every", options.save_every,
          "optimizer steps between two checkpoints; 0: one checkpoint at the "
          "end of each epoch")
      ->check(kNotNegative)
      ->capture_default_str();
  group
      ->add_option(
          "--stop-after", options.stop_after,
          "stop and save when so many optimizer steps are done in all; 0: "
          "train to the end")
      ->check(kNotNegative)
      ->capture_default_str();
  group->add_flag(
      "--quiet", options.quiet, "print nothing but warnings and errors");
}

}  // namespace

TrainOptions read_options(int argc, char** argv) {
  TrainOptions options;
  auto& settings = options.settings;
  CLI::App app(
      "Trains a network to tell classes of pictures apart, and to look where "
      "people looked.");
  app.footer(
      "Writes to the output folder: last.pt and best.pt (checkpoints), "
      "log.jsonl, scores.csv and report.html.\nExample: train --data faces.csv "
      "--network resnet18 --out runs/faces");
  add_pictures(app, settings);
  add_augmentation(app, settings);
  add_network(app, settings);
  add_loss(app, settings);
  add_optimisation(app, settings);
  add_run(app, options);
  try {
    app.parse(argc, argv);
    auto& size = settings.size;
    if (size[0] == 0 && size[1] == 0) {
      size.clear();
    }
    if (settings.data.empty() && !options.resume) {
      throw CLI::RequiredError("--data");
    }
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  return options;
}

}  // namespace programs
