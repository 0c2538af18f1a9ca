// SPDX-License-Identifier: BSD-3-Clause
#include "options.hpp"

#include "../common/network.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <string>
#include <vector>

namespace programs {

namespace {

const std::vector<std::string> kNormalizers = {"",    "minmax",  "max",
                                               "sum", "softmax", "none"};

/// CLI11's own say what the largest number of all is.
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
          "folder of human maps named as the pictures, for rows that name none")
      ->type_name("DIR");
  group->add_option(
      "--positive", s.positive,
      "the class of label 1, of two that are not Real/Synthetic, Live/Spoof or "
      "normal/abnormal");
  group
      ->add_option(
          "--size", s.size,
          "height and width that pictures are resized to; 0 0: left as they "
          "are")
      ->expected(2)
      ->capture_default_str();
  group->add_option("--channels", s.channels, "1: grey, 3: RGB")
      ->check(CLI::IsMember({1, 3}))
      ->capture_default_str();
  group
      ->add_option(
          "--mean", s.mean, "taken off the channels, after reading to [0, 1]")
      ->expected(1, 3)
      ->capture_default_str();
  group->add_option("--std", s.stddev, "the channels are divided by")
      ->expected(1, 3)
      ->capture_default_str();
  group
      ->add_option(
          "--map-blur", s.map_blur,
          "standard deviation, in pixels of the map, of a blur of human maps")
      ->check(kNotNegative)
      ->capture_default_str();
  group->add_flag(
      "--skip-unreadable", s.skip_unreadable,
      "leave out pictures and maps that cannot be read, and list them; "
      "without it the first one ends the training");
}

void add_augmentation(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group(
      "Augmentation", "moves picture and map together; colours, the picture's");
  const auto share = CLI::Range(0.0, 1.0);
  const auto add = [&](const char* flag, double& value, const char* text) {
    return group->add_option(flag, value, text)->capture_default_str();
  };
  add("--flip", s.flip, "probability of left for right")->check(share);
  add("--vertical-flip", s.vertical_flip, "probability of upside down")
      ->check(share);
  add("--min-area", s.min_area,
      "smallest share of the picture that a crop keeps; 1: no crop")
      ->check(share);
  add("--rotation", s.rotation, "degrees at most, either way")
      ->check(kNotNegative);
  add("--scale", s.scale, "factor at most, either way; 1: none")
      ->check(kPositive);
  add("--brightness", s.brightness, "change of brightness, at most")
      ->check(share);
  add("--contrast", s.contrast, "change of contrast, at most")->check(share);
  add("--saturation", s.saturation, "change of saturation, at most")
      ->check(share);
}

void add_network(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Network");
  group->add_option("--network", s.network, "a native network")
      ->check(CLI::IsMember(network_names()))
      ->capture_default_str();
  group
      ->add_option(
          "--model", s.model,
          "a TorchScript file instead; examples/export_torchscript.py makes "
          "one of any Python network")
      ->type_name("FILE");
  group
      ->add_option(
          "--weights", s.weights,
          "weights that Python wrote, by torchvision's names")
      ->type_name("FILE");
  group->add_option(
      "--layer", s.layer,
      "the layer whose output gives the map; without it, the last "
      "convolutional block, found");
}

void add_loss(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Loss");
  group->add_option("--loss", s.loss, "the loss; ce: no guidance")
      ->check(CLI::IsMember({"ce", "cyborg-l1", "cyborg-l2", "cyborg-kl"}))
      ->capture_default_str();
  group
      ->add_option(
          "--alpha", s.alpha, "weight of the classification, in [0, 1]")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  group
      ->add_option(
          "--cam-class", s.cam_class,
          "whose map is guided: the label's, or the predicted one's as in the "
          "first published code")
      ->check(CLI::IsMember({"label", "predicted"}))
      ->capture_default_str();
  group
      ->add_option(
          "--map-normalizer", s.map_normalizer,
          "of the network's map: minmax, max, sum, softmax, none; without it, "
          "the loss's own")
      ->check(CLI::IsMember(kNormalizers));
  group
      ->add_option(
          "--human-normalizer", s.human_normalizer, "of people's map; the same")
      ->check(CLI::IsMember(kNormalizers));
  group
      ->add_option(
          "--reduction", s.reduction, "of the saliency term over the batch")
      ->check(CLI::IsMember({"mean", "sum"}))
      ->capture_default_str();
}

void add_optimisation(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Optimisation");
  static std::string recipe = "cyborg";
  group
      ->add_option(
          "--recipe", recipe,
          "the published settings, which are the defaults here: SGD 0.005, "
          "0.9, 1e-6, step 12 x 0.1, 50 epochs, batch 20, alpha 0.5")
      ->check(CLI::IsMember({"cyborg"}))
      ->capture_default_str();
  group->add_option("--optimizer", s.optimizer, "the optimizer")
      ->check(CLI::IsMember({"sgd", "adam", "adamw"}))
      ->capture_default_str();
  group->add_option("--lr", s.learning_rate, "learning rate")
      ->check(kPositive)
      ->capture_default_str();
  group->add_option("--momentum", s.momentum, "of SGD")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  group->add_option("--weight-decay", s.weight_decay, "weight decay")
      ->check(kNotNegative)
      ->capture_default_str();
  group->add_option("--schedule", s.schedule, "of the learning rate")
      ->check(CLI::IsMember({"step", "cosine", "none"}))
      ->capture_default_str();
  group->add_option("--step-epochs", s.step_epochs, "epochs between steps")
      ->check(kPositive)
      ->capture_default_str();
  group->add_option("--step-factor", s.step_factor, "what a step multiplies by")
      ->check(kPositive)
      ->capture_default_str();
  group->add_option("--warm-up", s.warm_up, "epochs in which the rate rises")
      ->check(kNotNegative)
      ->capture_default_str();
  group->add_option("--epochs", s.epochs, "epochs")
      ->check(kPositive)
      ->capture_default_str();
  group
      ->add_option(
          "--batch", s.batch,
          "pictures in a batch; of several processes, in each one's")
      ->check(kPositive)
      ->capture_default_str();
  group
      ->add_option(
          "--accumulate", s.accumulate,
          "batches whose gradients make one optimizer step")
      ->check(kPositive)
      ->capture_default_str();
  group->add_option("--clip", s.clip, "largest norm of the gradient; 0: any")
      ->check(kNotNegative)
      ->capture_default_str();
  group
      ->add_option(
          "--select", s.select,
          "what the best epoch is chosen by, on the validation split, where a "
          "later tie wins; last: the last epoch, whatever it scores")
      ->check(CLI::IsMember({"accuracy", "auc", "loss", "last"}))
      ->capture_default_str();
  group
      ->add_option(
          "--patience", s.patience,
          "epochs without a better one after which to stop; 0: never")
      ->check(kNotNegative)
      ->capture_default_str();
  group->add_flag(
      "--sync-batch-norm", s.sync_batch_norm,
      "batch normalisation sees the pictures of all processes; native "
      "networks");
}

void add_run(CLI::App& app, Request& r) {
  auto* group = app.add_option_group("Run");
  group->add_option("--out", r.out, "folder for all that is written")
      ->type_name("DIR")
      ->capture_default_str();
  group->add_flag(
      "--resume", r.resume,
      "go on in --out where it stopped; settings are those it began with");
  group->add_flag(
      "--check", r.check,
      "read every picture and map once, report what is wrong, and end");
  group
      ->add_option(
          "--seed", r.settings.seed, "of weights, order and augmentation")
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
      "--deterministic", r.settings.deterministic,
      "only operators that give the same result every time");
  group->add_flag(
      "--bf16", r.settings.bfloat16, "forward in bfloat16 where it is safe");
  group
      ->add_option(
          "--device", r.device,
          "cpu, cuda, cuda:1, ...; of several processes: cuda, one each")
      ->capture_default_str();
  group
      ->add_option(
          "--threads", r.threads, "of LibTorch; 0: as many as there are cores")
      ->check(kNotNegative)
      ->capture_default_str();
  group
      ->add_option(
          "--workers", r.workers,
          "threads that decode pictures ahead; 0: none, in turn with training")
      ->check(kNotNegative)
      ->capture_default_str();
  group->add_option("--ahead", r.ahead, "batches decoded ahead, at most")
      ->check(kPositive)
      ->capture_default_str();
  group
      ->add_option(
          "--save-every", r.save_every,
          "optimizer steps between checkpoints; 0: one at each epoch's end")
      ->check(kNotNegative)
      ->capture_default_str();
  group
      ->add_option(
          "--stop-after", r.stop_after,
          "stop and save after so many optimizer steps in all; 0: do not")
      ->check(kNotNegative)
      ->capture_default_str();
  group->add_flag("--quiet", r.quiet, "print nothing but warnings and errors");
}

}  // namespace

Request read_request(int argc, char** argv) {
  Request request;
  CLI::App app(
      "Trains a network to tell classes of pictures apart, and to look where "
      "people looked.");
  app.footer(
      "Writes to --out: last.pt and best.pt (checkpoints), log.jsonl, "
      "scores.csv and report.html.\nExample: train --data faces.csv "
      "--network resnet18 --out runs/faces");
  add_pictures(app, request.settings);
  add_augmentation(app, request.settings);
  add_network(app, request.settings);
  add_loss(app, request.settings);
  add_optimisation(app, request.settings);
  add_run(app, request);
  try {
    app.parse(argc, argv);
    auto& size = request.settings.size;
    if (size[0] == 0 && size[1] == 0) {
      size.clear();
    }
    if (request.settings.data.empty() && !request.resume) {
      throw CLI::RequiredError("--data");
    }
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  return request;
}

}  // namespace programs
