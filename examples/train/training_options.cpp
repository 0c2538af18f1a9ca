// SPDX-License-Identifier: BSD-3-Clause
#include "option_groups.hpp"

#include "../common/command_line.hpp"
#include "../common/numbers.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <set>
#include <string>
#include <vector>

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
      "the layer whose output gives the map; without this option it is the map "
      "from which the logits come");
}

void add_loss(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Loss");
  add_choice(*group, "--loss", s.loss, "the loss");
  group
      ->add_option(
          "--alpha", s.alpha,
          "weight of the classification loss, in [0, 1]; the saliency loss has "
          "the rest")
      ->check(kShare)
      ->capture_default_str();
  add_choice(*group, "--balance", s.objective.balance, "what sets alpha");
  group
      ->add_option_function<std::vector<std::string>>(
          "--term",
          [&s](const std::vector<std::string>& texts) {
            s.objective.terms.clear();
            std::set<std::string> kinds;
            for (const auto& text : texts) {
              s.objective.terms.push_back(parse_term(text));
              if (!kinds.insert(s.objective.terms.back().kind).second) {
                throw CLI::ValidationError(
                    "--term", "expected each term once, got " +
                                  s.objective.terms.back().kind + " again");
              }
            }
          },
          "a term that is added to the loss, NAME or NAME:option=value,...; "
          "may "
          "be given several times")
      ->expected(1)
      ->take_all()
      ->check(CLI::Validator(
          [](const std::string& text) {
            try {
              parse_term(text);
              return std::string();
            } catch (const std::exception& error) {
              return std::string(error.what());
            }
          },
          ""))
      ->type_name("TERM");
  group->add_flag_callback(
      "--list-terms",
      [] {
        std::fputs(terms_text().c_str(), stdout);
        std::exit(0);
      },
      "print all terms with their options, and end");
  group
      ->add_option(
          "--class-weights", s.objective.class_weights,
          "balanced (in inverse proportion to the pictures of each class), or "
          "NAME=FACTOR for some classes")
      ->expected(1, 1000)
      ->type_name("WEIGHTS");
  add_choice(
      *group, "--sample-weights", s.objective.sample_weights,
      "the weight of each picture in the loss");
  group
      ->add_option(
          "--weight-strength", s.objective.weight_strength,
          "how much the heaviest pictures weigh more: their weight is 1 plus "
          "this; not used if the table has a column weight")
      ->check(kNotNegative)
      ->capture_default_str();
  group
      ->add_option(
          "--focal", s.objective.focal,
          "exponent of the focal loss, for example 2; 0: cross entropy")
      ->check(kNotNegative)
      ->capture_default_str();
  group
      ->add_option(
          "--label-smoothing", s.objective.label_smoothing,
          "share of the label that is spread over all classes")
      ->check(kShare)
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
      ->check(kShare)
      ->capture_default_str();
  group.add_option("--weight-decay", s.weight_decay, "weight decay")
      ->check(kNotNegative)
      ->capture_default_str();
  add_choice(group, "--schedule", s.schedule, "how the learning rate falls");
  group
      .add_option(
          "--step-epochs", s.step_epochs,
          "epochs between two steps of the schedule")
      ->check(whole_number(1))
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
      ->check(whole_number(1))
      ->capture_default_str();
  group
      ->add_option(
          "--batch", s.batch,
          "pictures in a batch; with several processes, in each one's batch")
      ->check(whole_number(1))
      ->capture_default_str();
  group
      ->add_option(
          "--accumulate", s.accumulate,
          "batches whose mean gradient makes one optimizer step")
      ->check(whole_number(1))
      ->capture_default_str();
  group
      ->add_option(
          "--clip", s.clip, "largest norm of the gradient; 0: no limit")
      ->check(kNotNegative)
      ->capture_default_str();
  group
      ->add_option(
          "--ema", s.ema,
          "decay of a moving average of the weights, for example 0.999, which "
          "is then validated and kept as the best; 0: none")
      ->check(CLI::Validator(
          [](const std::string& text) {
            double value = -1;
            return CLI::detail::lexical_cast(text, value) && value >= 0 &&
                           value < 1
                       ? std::string()
                       : "expected a number from 0 and below 1, got " + text;
          },
          ""))
      ->capture_default_str();
  add_choice(
      *group, "--sampler", s.sampler, "the training pictures of an epoch");
  add_choice(
      *group, "--select", s.select,
      "how the best epoch is found on the validation split; of equal epochs "
      "the later one is taken");
  group
      ->add_option(
          "--patience", s.patience,
          "stop after so many epochs without a better one; 0: never")
      ->check(whole_number(0))
      ->capture_default_str();
  group->add_flag(
      "--sync-batch-norm", s.sync_batch_norm,
      "batch normalisation uses the pictures of all processes; native networks "
      "only");
}

}  // namespace

void add_training_options(CLI::App& app, Settings& settings) {
  add_network(app, settings);
  add_loss(app, settings);
  add_optimisation(app, settings);
}

}  // namespace programs
