// SPDX-License-Identifier: BSD-3-Clause
// Each setting of the program `train` acts as its help says: a training with it
// gives the numbers that the library gives with the same setting.

#include "catch.hpp"
#include "pictures.hpp"
#include "programs.hpp"
#include "support.hpp"
#include "torchscript.hpp"

#include <common/scoring.hpp>
#include <train/trainer.hpp>

#include <cyborg/data/augment.hpp>
#include <cyborg/data/dataset.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/prefetch.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/loss.hpp>
#include <cyborg/train/schedule.hpp>

#include <torch/nn/functional/loss.h>
#include <torch/version.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace data = cyborg::data;
using cyborg::Normalizer;
using nlohmann::json;
using support::close;
using support::contains;
using support::error_of;
using torch::Tensor;

/// Options of the command line by name; several values have blanks between.
using Options = std::map<std::string, std::string>;

/// 12 + 4 pictures in colour, 16 x 16, and grey maps, 8 x 8, of three of four.
/// The tables: table.csv; plain.csv, which names no maps; swapped.csv, in whose
/// validation split each picture has the other class.
class Pictures {
 public:
  Pictures() {
    std::string with, without, swapped;
    for (int64_t i = 0; i < 16; ++i) {
      const auto wave = [&](std::vector<int64_t> size, double step) {
        return torch::arange(c10::multiply_integers(size), torch::kDouble)
            .mul(step * static_cast<double>(i + 1))
            .sin()
            .mul(.4)
            .add(.5)
            .view(size);
      };
      auto image = wave({3, 16, 16}, .0317) * .7;
      const int64_t at = i % 2 == 0 ? 1 : 9;  // the class is where it is bright
      image.narrow(1, at, 6).narrow(2, at + i % 3 - 1, 6).add_(.25);
      const auto name = "p" + std::to_string(i) + ".png";
      data::write_png(folder / name, image);
      const bool annotated = i % 4 != 3;
      if (annotated) {
        folder.write("maps/" + name, "");
        data::write_png(folder / ("maps/" + name), wave({8, 8}, .11));
      }
      const std::string split = i < 12 ? "train," : "val,";
      const auto row = [&](bool spoof) {
        return split + (spoof ? "spoof," : "live,") + name;
      };
      with += row(i % 2 == 1) + (annotated ? ",maps/" + name : "") + "\n";
      without += row(i % 2 == 1) + "\n";
      swapped += row((i % 2 == 1) == (i < 12)) + "\n";
    }
    folder.write("table.csv", with);
    folder.write("plain.csv", without);
    folder.write("swapped.csv", swapped);
    torch::manual_seed(3);
    torchscript::residual().save(folder / "net.pt");
  }

  pictures::Folder folder;
};

/// Written once for all cases.
const pictures::Folder& folder() {
  static const Pictures pictures;
  return pictures.folder;
}

/// What a training left.
struct Trained {
  std::vector<json> log;  ///< a record for each epoch
  int64_t best_epoch = -1;
  Tensor validation;  ///< the final logits of the validation split
  std::string out;

  double last(const char* what) const { return log.back().at(what); }
};

/// Trains in this process, as the command line with these options does.
Trained train(const Options& options) {
  static int count = 0;
  Trained trained;
  trained.out = folder() / ("run" + std::to_string(count++));
  Options all{
      {"--data", folder() / "table.csv"},
      {"--out", trained.out},
      {"--size", "0 0"},
      {"--channels", "1"},
      {"--mean", "0.5"},
      {"--std", "0.25"},
      {"--network", "demo"},
      {"--schedule", "none"},
      {"--epochs", "1"},
      {"--batch", "12"},
      {"--threads", "1"},
      {"--workers", "0"},
      {"--quiet", ""}};
  for (const auto& [name, values] : options) {
    all[name] = values;
  }
  if (options.count("--model") > 0) {
    all.erase("--network");  // it names a network as well
  }
  std::vector<std::string> words{"train"};
  for (const auto& [name, values] : all) {
    words.push_back(name);
    std::istringstream stream(values);
    for (std::string value; stream >> value;) {
      words.push_back(value);
    }
  }
  std::vector<char*> arguments;
  for (auto& word : words) {
    arguments.push_back(word.data());
  }
  const int threads = at::get_num_threads();
  auto result = programs::Trainer(
                    programs::read_options(
                        static_cast<int>(arguments.size()), arguments.data()))
                    .run();
  at::set_num_threads(threads);
  trained.log = result.log;
  trained.best_epoch = result.state.best_epoch;
  trained.validation = result.validation.logits;
  return trained;
}

/// Options of a training whose weights stay what they were at first, so that
/// last.pt holds them: the rate is too small for float32.
Options frozen(Options options = {}) {
  options["--lr"] = "1e-30";
  options["--momentum"] = "0";
  options["--weight-decay"] = "0";
  return options;
}

using Loss = std::function<cyborg::LossTerms(
    const Tensor&, const Tensor&, const cyborg::CamHook&, const Tensor&)>;

template <class Distance = cyborg::L2>
Loss loss(const cyborg::SaliencyGuidedLossOptions& options = {}) {
  return cyborg::SaliencyGuidedLoss<Distance>(options);
}

using LossOptions = cyborg::SaliencyGuidedLossOptions;

/// How the library is asked for the loss of all training pictures.
struct Asked {
  Loss criterion = loss();
  data::AugmentOptions augment = data::AugmentOptions().horizontal_flip(0);
  data::PictureDatasetOptions pictures =
      data::PictureDatasetOptions().channels(1);
  std::string layer;
};

/// The batch of all training pictures in the first epoch.
data::GuidedExample batch_of(const Asked& asked) {
  const auto rows = data::read_table(folder() / "table.csv").rows_of("train");
  auto augment = asked.augment;
  data::Augmented<data::PictureDataset> set(
      data::PictureDataset(rows, asked.pictures),
      augment.mean({.5}).stddev({.25}));
  std::vector<size_t> all(rows.size());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = i;
  }
  return data::Collate().apply_batch(set.get_batch(all));
}

/// The terms with the weights of a checkpoint.
cyborg::LossTerms terms_of(const std::string& checkpoint, const Asked& asked) {
  auto trained = programs::load_trained(checkpoint);
  trained.network.train(true);
  const auto hook = trained.network.hook(asked.layer);
  const auto batch = batch_of(asked);
  const auto logits =
      hook->forward([&] { return trained.network.forward(batch.data); });
  return asked.criterion(logits, batch.target, *hook, batch.saliency);
}

/// A frozen training with `options` gives the terms that the library gives.
/// Returns what it logged.
Trained check_terms(const Options& options, const Asked& asked) {
  const auto trained = train(frozen(options));
  const auto expected = terms_of(trained.out + "/last.pt", asked);
  const auto is = [&](const char* what, const Tensor& value) {
    INFO(what);
    CHECK(trained.last(what) == Approx(value.item<double>()).epsilon(2e-5));
  };
  is("loss", expected.total);
  is("classification", expected.classification);
  is("saliency", expected.saliency);
  CHECK(trained.log.back()["annotated"] == 9);
  return trained;
}

/// Whether two numbers differ by more than rounding.
bool differ(double a, double b) {
  return std::abs(a - b) > 1e-3 * std::max(std::abs(a), std::abs(b));
}

/// The weights of a checkpoint's network.
std::vector<Tensor> parameters_of(const std::string& checkpoint) {
  std::vector<Tensor> values;
  for (const auto& parameter :
       programs::load_trained(checkpoint).network.parameters()) {
    values.push_back(parameter.detach().clone());
  }
  return values;
}

double largest_distance(
    const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, support::distance(a[i], b[i]));
  }
  return largest;
}

}  // namespace

TEST_CASE("Settings of the loss are those of the library's", "[train]") {
  const auto plain = check_terms({}, {});  // the defaults of both
  const auto asks = [](Loss criterion) {
    Asked asked;
    asked.criterion = std::move(criterion);
    return asked;
  };
  Asked blurred, deeper;
  blurred.pictures.map_blur(1.5);
  deeper.layer = "features.4";  // the second of three convolutions
  const std::vector<std::pair<Options, Asked>> settings{
      {{{"--map-normalizer", "softmax"}},
       asks(loss(LossOptions().map_normalizer(Normalizer::kSoftmax)))},
      {{{"--map-normalizer", "none"}},
       asks(loss(LossOptions().map_normalizer(Normalizer::kNone)))},
      {{{"--human-normalizer", "sum"}},
       asks(loss(LossOptions().human_normalizer(Normalizer::kSum)))},
      {{{"--human-normalizer", "none"}},
       asks(loss(LossOptions().human_normalizer(Normalizer::kNone)))},
      {{{"--cam-class", "predicted"}},
       asks(loss(LossOptions().cam_class(cyborg::CamClass::kPredicted)))},
      {{{"--reduction", "sum"}},
       asks(loss(LossOptions().reduction(cyborg::Reduction::kSum)))},
      {{{"--loss", "cyborg-l1"}}, asks(loss<cyborg::L1>())},
      {{{"--loss", "cyborg-kl"}}, asks(loss<cyborg::KL>())},
      {{{"--map-blur", "1.5"}}, blurred},
      {{{"--layer", "features.4"}}, deeper}};
  for (const auto& [options, asked] : settings) {
    INFO(options.begin()->first << " " << options.begin()->second);
    const auto trained = check_terms(options, asked);
    CHECK(differ(trained.last("saliency"), plain.last("saliency")));
  }
  // The weight of the two terms, which stay as they are.
  const auto weighted =
      check_terms({{"--alpha", "0.2"}}, asks(loss(LossOptions().alpha(.2))));
  CHECK(weighted.last("saliency") == plain.last("saliency"));
  CHECK(differ(weighted.last("loss"), plain.last("loss")));
}

TEST_CASE("Plain training is reduced as it is asked to be", "[train]") {
  const auto mean = train(frozen({{"--loss", "ce"}}));
  const auto sum = train(frozen({{"--loss", "ce"}, {"--reduction", "sum"}}));
  CHECK(mean.last("loss") == mean.last("classification"));
  CHECK(sum.last("loss") == Approx(12 * mean.last("loss")).epsilon(1e-5));
  CHECK(mean.log.back()["annotated"] == 0);
  CHECK(mean.log.back()["saliency"].is_null());
}

TEST_CASE("A folder of human maps does as the table's column", "[train]") {
  const auto named = train(frozen());
  const auto found = train(frozen(
      {{"--data", folder() / "plain.csv"}, {"--saliency", folder() / "maps"}}));
  const auto without = train(frozen({{"--data", folder() / "plain.csv"}}));
  CHECK(found.log == named.log);
  CHECK(found.log.back()["annotated"] == 9);
  CHECK(without.log.back()["annotated"] == 0);
  CHECK(without.last("classification") == named.last("classification"));
}

TEST_CASE("Augmentation is the library's, of picture and map", "[train]") {
  using O = data::AugmentOptions;
  const auto still = [] { return O().horizontal_flip(0); };
  const Options common{
      {"--model", folder() / "net.pt"}, {"--channels", "3"}, {"--seed", "7"}};
  const auto check = [&](const Options& options, const O& augment) {
    auto all = common;
    all.insert(options.begin(), options.end());
    Asked asked;
    asked.pictures.channels(3);
    asked.augment = augment;
    asked.augment.seed(7);
    return check_terms(all, asked);
  };
  const auto plain = check({}, still());
  const std::vector<std::pair<Options, O>> settings{
      {{{"--flip", "0.6"}}, O().horizontal_flip(.6)},
      {{{"--vertical-flip", "0.6"}}, still().vertical_flip(.6)},
      {{{"--min-area", "0.4"}}, still().min_area(.4)},
      {{{"--rotation", "40"}}, still().rotation(40)},
      {{{"--scale", "1.5"}}, still().scale(1.5)},
      {{{"--brightness", "0.5"}}, still().brightness(.5)},
      {{{"--contrast", "0.9"}}, still().contrast(.9)},
      {{{"--saturation", "0.9"}}, still().saturation(.9)}};
  for (const auto& [options, augment] : settings) {
    INFO(options.begin()->first);
    const auto trained = check(options, augment);
    CHECK(differ(trained.last("classification"), plain.last("classification")));
    CHECK(differ(trained.last("saliency"), plain.last("saliency")));
  }
}

TEST_CASE("Optimizers make the steps of their formulas", "[train]") {
  const auto start = train(frozen()).out + "/last.pt";
  const double rate = .05;
  const Options common{{"--lr", "0.05"}};
  // What a step subtracts from a weight, in units of the rate: from the
  // gradient, the weight, what the optimizer keeps of it, and the norm of the
  // whole gradient.
  using Step =
      std::function<Tensor(const Tensor&, const Tensor&, Tensor&, double)>;
  const auto stepped = [&](int64_t steps, const Step& step) {
    auto trained = programs::load_trained(start);
    trained.network.train(true);
    const auto hook = trained.network.hook("");
    const auto batch = batch_of({});
    const auto criterion = loss();
    const auto weights = trained.network.parameters();
    std::vector<Tensor> state(weights.size());
    for (int64_t k = 0; k < steps; ++k) {
      const auto logits =
          hook->forward([&] { return trained.network.forward(batch.data); });
      const auto total =
          criterion(logits, batch.target, *hook, batch.saliency).total;
      const auto gradients = torch::autograd::grad({total}, weights);
      const torch::NoGradGuard no_grad;
      double norm = 0;
      for (const auto& gradient : gradients) {
        norm += gradient.square().sum().item<double>();
      }
      for (size_t i = 0; i < weights.size(); ++i) {
        auto weight = weights[i];
        weight.sub_(
            rate * step(gradients[i], weight, state[i], std::sqrt(norm)));
      }
    }
    std::vector<Tensor> values;
    for (const auto& weight : weights) {
      values.push_back(weight.detach().clone());
    }
    return values;
  };
  const auto check = [&](Options options, int64_t steps, const Step& step) {
    options.insert(common.begin(), common.end());
    options["--epochs"] = std::to_string(steps);  // of one batch
    const auto found = parameters_of(train(options).out + "/last.pt");
    CHECK(largest_distance(found, stepped(steps, step)) < 3e-5);
    CHECK(largest_distance(found, parameters_of(start)) > 5e-4);
  };
  const auto sgd = [](double momentum, double decay) -> Step {
    return [=](const Tensor& gradient, const Tensor& weight, Tensor& velocity,
               double /*norm*/) {
      const auto change = gradient + decay * weight;
      velocity =
          velocity.defined() ? momentum * velocity + change : change.clone();
      return velocity;
    };
  };
  check({}, 3, sgd(.9, 1e-6));  // the defaults, as published
  check({{"--momentum", "0.5"}, {"--weight-decay", "0.3"}}, 3, sgd(.5, .3));
  // The first step of Adam is the sign of the gradient, but for 1e-8.
  const auto sign = [](const Tensor& gradient) {
    return gradient / (gradient.abs() + 1e-8);
  };
  check(
      {{"--optimizer", "adam"}, {"--weight-decay", "0.3"}}, 1,
      [&](const Tensor& gradient, const Tensor& weight, Tensor&, double) {
        return sign(gradient + .3 * weight);
      });
  check(
      {{"--optimizer", "adamw"}, {"--weight-decay", "0.3"}}, 1,
      [&](const Tensor& gradient, const Tensor& weight, Tensor&, double) {
        return sign(gradient) + .3 * weight;
      });
  const auto clipped = [](const Tensor& gradient, const Tensor&, Tensor&,
                          double norm) {
    REQUIRE(norm > .25);
    return gradient * (.25 / (norm + 1e-6));
  };
  check({{"--clip", "0.25"}, {"--momentum", "0"}}, 1, clipped);
}

TEST_CASE("The learning rate follows its settings", "[train]") {
  const double pi = std::acos(-1.0);
  const std::vector<std::pair<Options, std::function<double(double)>>> settings{
      {{{"--schedule", "step"},
        {"--step-epochs", "2"},
        {"--step-factor", "0.3"}},
       [](double epoch) { return std::pow(.3, std::floor(epoch / 2)); }},
      {{{"--schedule", "cosine"}},
       // The last of three steps of an epoch, of five epochs.
       [&](double epoch) {
         return (1 + std::cos(pi * (epoch + 2 / 3.) / 5)) / 2;
       }},
      {{{"--schedule", "none"}, {"--warm-up", "2.5"}},
       [](double epoch) { return std::min(1., (epoch + 1) / 2.5); }},
      {{{"--schedule", "none"}}, [](double) { return 1; }}};
  for (auto [options, factor] : settings) {
    INFO(options.begin()->second << " " << options.rbegin()->first);
    options.insert(
        {{"--lr", "0.01"},
         {"--epochs", "5"},
         {"--batch", "4"},
         {"--loss", "ce"}});
    const auto trained = train(options);
    REQUIRE(trained.log.size() == 5);
    for (size_t epoch = 0; epoch < 5; ++epoch) {
      CHECK(
          trained.log[epoch]["learning_rate"].get<double>() ==
          Approx(.01 * factor(static_cast<double>(epoch))));
    }
  }
}

TEST_CASE("Only operators with one result are allowed on request", "[train]") {
  // `put_` is one that LibTorch calls not deterministic.
  torch::manual_seed(4);
  auto net = torchscript::network("Put");
  net.register_module("conv", torchscript::convolution(1, 4, 3));
  net.register_module("fc", torchscript::linear(4, 2));
  net.define(R"(
    def forward(self, x):
      x = torch.relu(torch.conv2d(x, self.conv.weight, self.conv.bias))
      x = torch.mean(x, [2, 3])
      x = x.clone().put_(torch.tensor([0]), torch.tensor([0.0]))
      return torch.linear(x, self.fc.weight, self.fc.bias)
  )");
  net.save(folder() / "put.pt");
  const Options options{{"--model", folder() / "put.pt"}, {"--loss", "ce"}};
  CHECK(train(options).log.size() == 1);
  auto strict = options;
  strict["--deterministic"] = "";
  CHECK(contains(
      error_of([&] { train(strict); }),
      "put_ does not have a deterministic implementation"));
  CHECK(at::globalContext().deterministicAlgorithms());
  at::globalContext().setDeterministicAlgorithms(false, /*warn_only=*/false);
}

TEST_CASE("A forward pass in bfloat16 is a coarser one", "[train]") {
  const auto with = [](const char* option) {
    auto options = frozen({{"--loss", "ce"}});
    if (*option != '\0') {
      options[option] = "";
    }
    return train(options);
  };
#if TORCH_VERSION_MAJOR > 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
  const double whole = with("").last("loss");
  const auto trained = with("--bf16");
  const double coarse = trained.last("loss");
  CHECK(std::abs(coarse - whole) > 3e-5);
  CHECK(coarse == Approx(whole).epsilon(.01));
  // As LibTorch's autocast does it. The order of the pictures counts here.
  auto again = programs::load_trained(trained.out + "/last.pt");
  again.network.train(true);
  const auto batch = batch_of({});
  Tensor logits;
  {
    const support::CpuAutocast autocast;
    logits = again.network.forward(batch.data).to(torch::kFloat);
  }
  const double expected =
      torch::nn::functional::cross_entropy(logits, batch.target).item<double>();
  CHECK(coarse == Approx(expected).epsilon(.002));
#else
  CHECK(contains(
      error_of([&] { with("--bf16"); }), "--bf16 needs LibTorch 2.4 or newer"));
#endif
}

TEST_CASE("The best epoch is chosen as it is asked for", "[train]") {
  // The validation split has the wrong classes, so that it gets worse and worse.
  const Options common{
      {"--data", folder() / "swapped.csv"},
      {"--loss", "ce"},
      {"--lr", "0.01"},
      {"--seed", "2"}};
  const auto trained = [&](Options options, size_t epochs) {
    options.insert(common.begin(), common.end());
    options["--epochs"] = std::to_string(epochs);
    return train(options);
  };
  std::set<int64_t> chosen;
  struct Choice {
    const char* name;
    const char* field;
    double sign;
  };
  for (const Choice& choice :
       {Choice{"accuracy", "val_accuracy", 1}, Choice{"auc", "val_auc", 1},
        Choice{"loss", "val_loss", -1}, Choice{"last", "epoch", 1}}) {
    INFO(choice.name);
    const auto all = trained({{"--select", choice.name}}, 6);
    REQUIRE(all.log.size() == 6);
    int64_t best = 0;  // a later tie wins
    const auto value = [&](int64_t epoch) {
      return choice.sign *
             all.log[static_cast<size_t>(epoch)][choice.field].get<double>();
    };
    for (int64_t epoch = 1; epoch < 6; ++epoch) {
      best = value(epoch) >= value(best) ? epoch : best;
    }
    CHECK(all.best_epoch == best);
    chosen.insert(best);
    // best.pt holds the weights that this epoch ended with, and the final
    // scores are theirs.
    const auto until =
        trained({{"--select", "last"}}, static_cast<size_t>(best) + 1);
    CHECK(
        largest_distance(
            parameters_of(all.out + "/best.pt"),
            parameters_of(until.out + "/last.pt")) == 0);
    CHECK(all.validation.equal(until.validation));
  }
  CHECK(chosen.size() >= 3);  // else the choices could not be told apart

  // The loss rises from the first epoch on.
  CHECK(
      trained({{"--select", "loss"}, {"--patience", "1"}}, 9).log.size() == 2);
  CHECK(
      trained({{"--select", "loss"}, {"--patience", "2"}}, 9).log.size() == 3);
  CHECK(
      trained({{"--select", "last"}, {"--patience", "1"}}, 4).log.size() == 4);
}

TEST_CASE("The defaults are the published recipe", "[train]") {
  // CYBORG's training script: SGD 0.005, momentum 0.9, weight decay 1e-6, a
  // tenth every 12 epochs, 50 epochs of batches of 20, alpha 0.5, the mean
  // squared difference of the maps, pictures of 224 x 224 with ImageNet's mean
  // and deviation, no augmentation, DenseNet-121, and the epoch of the best
  // validation accuracy. The label's map is the one departure: the script takes
  // the predicted class's, its successors the label's (docs/from-python.md).
  std::vector<std::string> words{"train", "--data", "faces.csv"};
  std::vector<char*> arguments;
  for (auto& word : words) {
    arguments.push_back(word.data());
  }
  const auto settings =
      json(programs::read_options(
               static_cast<int>(arguments.size()), arguments.data())
               .settings);
  const auto expected = json::parse(R"({
    "data": "faces.csv", "saliency": "", "positive": "", "classes": [],
    "annotations": {"file": "", "name": "", "width": 0.0, "unit": "fwhm",
      "screen": [], "combine": "mean", "threshold": 0.5},
    "size": [224, 224], "channels": 3, "window": [],
    "stored": {"allow_bits_by_class": false, "bits": [], "pictures": 0,
      "below": 0.0, "above": 0.0, "mean": 0.0},
    "mean": [0.485, 0.456, 0.406], "stddev": [0.229, 0.224, 0.225],
    "map_blur": 0.0, "skip_unreadable": false,
    "path_column": "path", "class_column": "class", "split_column": "split",
    "map_values": "grey", "exif_orientation": "ignore",
    "max_pixels": 67108864, "any_extension": false,
    "folds": 0, "fold": 0, "allow_shared_subjects": false,
    "flip": 0.0, "vertical_flip": 0.0, "min_area": 1.0, "rotation": 0.0,
    "scale": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0,
    "network": "densenet121", "model": "", "weights": "", "layer": "",
    "loss": "cyborg-l2", "alpha": 0.5, "cam_class": "label",
    "map_normalizer": "", "human_normalizer": "", "reduction": "mean",
    "objective": {"terms": [], "wrong": "", "class_weights": [], "focal": 0.0,
      "label_smoothing": 0.0, "sample_weights": "column",
      "weight_strength": 1.0, "balance": "fixed"},
    "optimizer": "sgd", "learning_rate": 0.005, "momentum": 0.9,
    "weight_decay": 1e-6, "schedule": "step", "step_epochs": 12,
    "step_factor": 0.1, "warm_up": 0.0, "epochs": 50, "batch": 20,
    "accumulate": 1, "clip": 0.0, "ema": 0.0, "sampler": "all",
    "select": "accuracy", "patience": 0,
    "sync_batch_norm": false, "seed": 0, "deterministic": false,
    "bfloat16": false})");
  for (const auto& item : expected.items()) {
    INFO(item.key());
    CHECK(settings[item.key()] == item.value());
  }
  CHECK(settings.size() == expected.size());

  // The library's own defaults are the same.
  const cyborg::train::ScheduleOptions schedule;
  CHECK(schedule.base() == 0.005);
  CHECK(schedule.decay() == cyborg::train::Decay::kStep);
  CHECK(schedule.step_epochs() == 12);
  CHECK(schedule.factor() == 0.1);
  CHECK(schedule.epochs() == 50);
  CHECK(schedule.warm_up() == 0);
  CHECK(data::PrefetchOptions().batch_size() == 20);
  const LossOptions options;
  CHECK(options.alpha() == 0.5);
  CHECK(options.cam_class() == cyborg::CamClass::kLabel);
  CHECK(options.reduction() == cyborg::Reduction::kMean);

  // What the documents say of it.
  const auto docs =
      cyborg::io::read_file(CYBORG_SOURCE_DIR "/docs/from-python.md");
  for (const char* line :
       {"| SGD 0.005, 0.9, 1e-6; `StepLR(12, 0.1)` | the defaults | |",
        "| `-alpha 0.5` | `--alpha 0.5` |", "| `-nEpochs 50` | `--epochs 50` |",
        "| `-batchSize 20` | `--batch 20` |",
        "| the predicted class's map | `--cam-class predicted` | "}) {
    INFO(line);
    CHECK(contains(docs, line));
  }
}
