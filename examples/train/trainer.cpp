// SPDX-License-Identifier: BSD-3-Clause
#include "trainer.hpp"

#include "../common/pictures.hpp"
#include "../common/weights.hpp"
#include "../demo/progress.hpp"
#include "../demo/synthesize.hpp"

#include <cyborg/loss.hpp>
#include <cyborg/measure/detection.hpp>
#include <cyborg/report/overlay.hpp>
#include <cyborg/train/schedule.hpp>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <fmt/format.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/version.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <utility>

namespace programs {

namespace {

namespace data = cyborg::data;
namespace fs = std::filesystem;
using nlohmann::json;

volatile std::sig_atomic_t stop_wanted = 0;

/// Ctrl-C asks for a stop; a second one ends the program at once.
void listen() {
  const auto stop = [](int signal) {
    stop_wanted = 1;
    std::signal(signal, SIG_DFL);
  };
  stop_wanted = 0;
  std::signal(SIGINT, stop);
  std::signal(SIGTERM, stop);
}

template <class Distance>
auto criterion(const cyborg::SaliencyGuidedLossOptions& options) {
  return [loss = cyborg::SaliencyGuidedLoss<Distance>(options)](
             const torch::Tensor& logits, const torch::Tensor& labels,
             const cyborg::CamHook& hook, const torch::Tensor& maps) {
    return loss(logits, labels, hook, maps);
  };
}

cyborg::Normalizer normalizer(const std::string& name) {
  return name == "minmax"    ? cyborg::Normalizer::kMinMax
         : name == "max"     ? cyborg::Normalizer::kMax
         : name == "sum"     ? cyborg::Normalizer::kSum
         : name == "softmax" ? cyborg::Normalizer::kSoftmax
                             : cyborg::Normalizer::kNone;
}

cyborg::SaliencyGuidedLossOptions loss_options(const Settings& s) {
  auto options = cyborg::SaliencyGuidedLossOptions()
                     .alpha(s.alpha)
                     .cam_class(
                         s.cam_class == "label" ? cyborg::CamClass::kLabel
                                                : cyborg::CamClass::kPredicted)
                     .reduction(
                         s.reduction == "mean" ? cyborg::Reduction::kMean
                                               : cyborg::Reduction::kSum);
  if (!s.map_normalizer.empty()) {
    options.map_normalizer(normalizer(s.map_normalizer));
  }
  if (!s.human_normalizer.empty()) {
    options.human_normalizer(normalizer(s.human_normalizer));
  }
  return options;
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    const Settings& s, std::vector<torch::Tensor> parameters) {
  if (s.optimizer == "sgd") {
    return std::make_unique<torch::optim::SGD>(
        std::move(parameters), torch::optim::SGDOptions(s.learning_rate)
                                   .momentum(s.momentum)
                                   .weight_decay(s.weight_decay));
  }
  if (s.optimizer == "adam") {
    return std::make_unique<torch::optim::Adam>(
        std::move(parameters), torch::optim::AdamOptions(s.learning_rate)
                                   .weight_decay(s.weight_decay));
  }
  return std::make_unique<torch::optim::AdamW>(
      std::move(parameters),
      torch::optim::AdamWOptions(s.learning_rate).weight_decay(s.weight_decay));
}

cyborg::train::ScheduleOptions schedule(const Settings& s) {
  using cyborg::train::Decay;
  return cyborg::train::ScheduleOptions()
      .base(s.learning_rate)
      .decay(
          s.schedule == "step"     ? Decay::kStep
          : s.schedule == "cosine" ? Decay::kCosine
                                   : Decay::kNone)
      .step_epochs(s.step_epochs)
      .factor(s.step_factor)
      .epochs(s.epochs)
      .warm_up(s.warm_up);
}

/// Forward in bfloat16 while it lives, where that was asked for.
class Autocast {
 public:
  Autocast(bool on, torch::Device device) : type_(device.type()), on_(on) {
    if (on_) {
      enable(true);
      at::autocast::increment_nesting();
    }
  }
  ~Autocast() {
    if (on_) {
      if (at::autocast::decrement_nesting() == 0) {
        at::autocast::clear_cache();
      }
      enable(false);
    }
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  void enable(bool on) const {
#if TORCH_VERSION_MAJOR > 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
    at::autocast::set_autocast_enabled(type_, on);
    at::autocast::set_autocast_dtype(type_, at::kBFloat16);
#else
    TORCH_CHECK_VALUE(
        !on, "--bf16 needs LibTorch 2.4 or newer, and this is ", TORCH_VERSION);
#endif
  }

  at::DeviceType type_;
  bool on_;
};

/// Of the order of the pictures; the demo's own for its network, so that one
/// of its trainings can be done again.
uint64_t order_seed(const Settings& s) {
  return s.network == "demo" && s.model.empty()
             ? demo::sequence_seed(s.seed, demo::kOrder)
             : s.seed;
}

at::Generator random() {
  return at::globalContext().defaultGenerator(torch::kCPU);
}

}  // namespace

Trainer::Trainer(const Request& request)
    : request_(request),
      settings_(request_.settings),
      ranks_(device_named(request.device)),
      device_(ranks_.device()) {
  request_.quiet = request_.quiet || !ranks_.first();
  if (request.threads > 0) {
    at::set_num_threads(static_cast<int>(request.threads));
  }
  if (request_.resume) {
    resume();
  } else {
    begin();
  }
  at::globalContext().setDeterministicAlgorithms(
      settings_.deterministic, /*warn_only=*/false);
}

void Trainer::begin() {
  if (request_.out.empty() ||
      (fs::exists(request_.out) && !fs::is_directory(request_.out))) {
    throw cyborg::io::FileError(
        "--out", request_.out, "is no folder: name one");
  }
  if (fs::exists(request_.out / "last.pt")) {
    throw cyborg::io::FileError(
        "--out", request_.out,
        "holds a training already: --resume goes on with it, another --out "
        "begins a new one");
  }
  // So that it can go on, and be used, from any folder.
  for (auto* path :
       {&settings_.data, &settings_.saliency, &settings_.model,
        &settings_.weights}) {
    if (!path->empty()) {
      *path = fs::absolute(*path).lexically_normal().string();
    }
  }
  if (settings_.loss == "ce") {
    settings_.alpha = 1;
  }
  table_ = read_pictures(settings_);
  settings_.classes = table_.classes;
  rows_ = table_.rows_of("train");
  const auto classes = static_cast<int64_t>(settings_.classes.size());
  if (settings_.select == "auc" && classes != 2) {
    throw std::invalid_argument(fmt::format(
        "--select auc: expected two classes, got {}; use accuracy or loss",
        classes));
  }
  for (const auto& warning : table_.warnings) {
    warn(warning + "\n");
  }
  const bool annotated =
      std::any_of(rows_.begin(), rows_.end(), [](const data::Row& row) {
        return std::any_of(
            row.saliency.begin(), row.saliency.end(),
            [](const std::string& map) { return !map.empty(); });
      });
  if (settings_.alpha < 1 && !annotated) {
    warn(
        "no picture of split train has a human map (--saliency, or a column): "
        "this is plain training\n");
  }
  network_ = std::make_unique<Network>(
      settings_, classes, [this] { return first_picture(rows_, settings_); });
  if (!settings_.weights.empty()) {
    const auto note = load_weights(*network_, settings_.weights);
    if (!note.empty()) {
      warn(note);
    }
  } else if (settings_.model.empty() && settings_.network != "demo") {
    warn(fmt::format(
        "the published recipe begins with weights learned on ImageNet "
        "and this begins with random ones. In Python: "
        "examples/export_weights.py --torchvision {0} {0}.pt; then --weights "
        "{0}.pt\n",
        settings_.network));
  }
  script_ = network_->script();
  place_.ranks = ranks_.size();
  set_up();
  torch::manual_seed(settings_.seed + static_cast<uint64_t>(ranks_.rank()));
}

void Trainer::resume() {
  const auto path = request_.out / "last.pt";
  const auto trained = cyborg::train::load_checkpoint(path);
  if (trained.tensors.count("optimizer") == 0) {
    throw cyborg::io::FileError(
        "--resume", path,
        "holds weights alone, as best.pt does: it cannot be gone on with");
  }
  settings_ = json::parse(trained.texts.at("settings")).get<Settings>();
  place_ = json::parse(trained.texts.at("place")).get<Place>();
  if (place_.ranks != ranks_.size()) {
    throw cyborg::io::FileError(
        "--resume", path,
        fmt::format(
            "was trained by {} processes and must go on with as many, got {}",
            place_.ranks, ranks_.size()));
  }
  table_ = read_pictures(settings_);
  if (trained.texts.at("table") != fingerprint(table_)) {
    throw cyborg::io::FileError(
        "--resume", settings_.data,
        "is not the table that this training began with (rows, classes, "
        "splits, maps): put that back, or begin anew with another --out");
  }
  rows_ = table_.rows_of("train");
  const auto script = trained.tensors.find("script");
  if (script != trained.tensors.end()) {
    script_ = script->second.front().second;
  }
  network_ = std::make_unique<Network>(
      settings_, script_, trained.tensors.at("model"));
  set_up();
  cyborg::train::load_state(*optimizer_, trained.tensors.at("optimizer"));
  // A copy, for set_state reads it as aligned numbers.
  random().set_state(
      trained.tensors.at("random").front().second[ranks_.rank()].clone());
  // What was logged after the checkpoint will happen again.
  std::ifstream stream(request_.out / "log.jsonl");
  std::string kept;
  for (std::string line; std::getline(stream, line);) {
    const auto record = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (record.is_object() && record.value("step", int64_t{0}) <= place_.step &&
        record.value("epoch", int64_t{0}) < place_.epoch) {
      records_.push_back(record);
      kept += line + "\n";
    }
  }
  if (ranks_.first()) {
    cyborg::io::write_file(request_.out / "log.jsonl", kept);
  }
  say(fmt::format(
      "goes on at epoch {}, batch {}", place_.epoch + 1, place_.batch));
}

void Trainer::set_up() {
  if (ranks_.size() > 1 && settings_.reduction == "sum") {
    throw std::invalid_argument("--reduction sum: several processes need mean");
  }
  network_->to(device_);
  ranks_.share(*network_, settings_.sync_batch_norm);
  hook_ = network_->hook(settings_.layer);
  optimizer_ = make_optimizer(settings_, network_->parameters());
  const auto options = loss_options(settings_);
  criterion_ = settings_.loss == "cyborg-l1"
                   ? Criterion(criterion<cyborg::L1>(options))
               : settings_.loss == "cyborg-kl"
                   ? Criterion(criterion<cyborg::KL>(options))
                   : Criterion(criterion<cyborg::L2>(options));
}

Outcome Trainer::run() {
  listen();
  if (ranks_.first()) {
    fs::create_directories(request_.out);
    events_ = std::make_unique<cyborg::report::EventWriter>(request_.out);
  }
  auto pictures = training_set(
      settings_.alpha == 1 ? without_maps(rows_) : rows_, settings_);
  Loader loader(
      pictures, data::PrefetchOptions()
                    .batch_size(static_cast<size_t>(settings_.batch))
                    .workers(static_cast<size_t>(request_.workers))
                    .ahead(static_cast<size_t>(request_.ahead))
                    .shuffle(true)
                    .seed(order_seed(settings_))
                    .world(static_cast<size_t>(ranks_.size()))
                    .rank(static_cast<size_t>(ranks_.rank())));
  bool going = true;
  const auto waited = [&] {
    return settings_.patience > 0 && place_.best_epoch >= 0 &&
           place_.epoch - 1 - place_.best_epoch >= settings_.patience;
  };
  while (going && place_.epoch < settings_.epochs && !waited()) {
    going = train_epoch(pictures, loader);
  }
  for (const auto& left_out : pictures.dataset().skipped()) {
    warn(left_out.path + ": " + left_out.reason + "; left out\n");
  }
  Outcome out;
  out.finished = going && ranks_.first();
  out.settings = settings_;
  out.place = place_;
  out.log = records_;
  if (!going) {
    say(fmt::format(
        "stopped after step {}, saved. To go on: train --resume --out {}",
        place_.step, request_.out.string()));
  }
  if (!out.finished) {
    return out;
  }
  auto best = load_trained(request_.out / "best.pt");
  best.network.to(device_);
  const Scoring how{
      device_, static_cast<size_t>(request_.workers),
      static_cast<size_t>(settings_.batch)};
  const auto scored = [&](const std::string& split) {
    return table_.has(split)
               ? score_pictures(
                     best.network, table_.rows_of(split), settings_, how)
               : Scored();
  };
  out.validation = scored("val");
  out.test = scored("test");
  for (const auto* part : {&out.validation, &out.test}) {
    for (const auto& left_out : part->skipped) {
      warn(left_out + "; left out\n");
    }
  }
  return out;
}

bool Trainer::train_epoch(TrainingSet& pictures, Loader& loader) {
  const auto batches = static_cast<int64_t>(loader.size());
  network_->train(true);
  demo::Progress progress(
      fmt::format("epoch {}/{}", place_.epoch + 1, settings_.epochs),
      batches - place_.batch, request_.quiet);
  const int64_t before = place_.pictures;
  pictures.epoch(static_cast<uint64_t>(place_.epoch));
  loader.epoch(static_cast<uint64_t>(place_.epoch));
  loader.skip(static_cast<size_t>(place_.batch));
  int64_t group = 0;    // batches that make the next step
  int64_t pending = 0;  // those of them that are done
  for (auto& batch : loader) {
    if (pending == 0) {
      // The last group of an epoch may be smaller.
      group = std::min(settings_.accumulate, batches - place_.batch);
      optimizer_->zero_grad();
      cyborg::train::set_learning_rate(
          *optimizer_, cyborg::train::learning_rate(
                           place_.epoch, std::min(place_.batch, batches - 1),
                           batches, schedule(settings_)));
    }
    check_in_step(static_cast<int64_t>(loader.position()) - 1);
    auto terms = loss_of(batch);
    const auto count = batch.target.size(0);
    terms.total = ranks_.whole_batch(terms, count, settings_.alpha);
    const auto own = terms.total.item<double>();
    const auto weight = static_cast<double>(count);
    const auto annotated =
        static_cast<double>(terms.annotated_count.item<int64_t>());
    // Those of this batch, on all ranks.
    const auto sums = ranks_.sum(
        {own / static_cast<double>(ranks_.size()),
         weight * terms.classification.item<double>(),
         annotated * terms.saliency.item<double>(), annotated, weight});
    if (!std::isfinite(sums[0])) {
      not_finite(loader, !std::isfinite(own));
    }
    ranks_.backward(
        group == 1 ? terms.total : terms.total / group, pending + 1 == group);
    place_.total += sums[4] * sums[0];
    place_.classification += sums[1];
    place_.saliency += sums[2];
    place_.annotated += static_cast<int64_t>(sums[3]);
    place_.pictures += static_cast<int64_t>(sums[4]);
    const auto position = static_cast<int64_t>(loader.position());
    progress.add(
        position - place_.batch,
        fmt::format(
            "{:.0f} images/s, loss {:.4f}",
            static_cast<double>(place_.pictures - before) / progress.seconds(),
            place_.total / static_cast<double>(place_.pictures)));
    place_.batch = position;
    if (++pending < group) {
      continue;
    }
    step_optimizer();
    pending = 0;
    const bool enough =
        request_.stop_after > 0 && place_.step >= request_.stop_after;
    const bool last = place_.batch >= batches;
    if (stop_asked() || enough) {
      if (!last) {
        save("last.pt");
        return false;
      }
    } else if (
        request_.save_every > 0 && !last &&
        place_.step % request_.save_every == 0) {
      save("last.pt");
    }
  }
  check_in_step(batches);
  if (pending > 0) {  // what would have followed could not be read
    step_optimizer();
  }
  if (place_.pictures == 0) {
    throw std::runtime_error(
        "no picture of split train could be read; --check says why");
  }
  end_epoch();
  return !stop_asked() &&
         (request_.stop_after == 0 || place_.step < request_.stop_after);
}

cyborg::LossTerms Trainer::loss_of(const data::GuidedExample& batch) {
  const auto images = batch.data.to(device_);
  const auto labels = batch.target.to(device_);
  torch::Tensor logits;
  {
    const Autocast autocast(settings_.bfloat16, device_);
    // Plain training works on networks without a map, too.
    logits = settings_.alpha == 1
                 ? network_->forward(images)
                 : hook_->forward([&] { return network_->forward(images); });
  }
  logits = logits.to(torch::kFloat);
  if (settings_.alpha == 1) {
    const auto loss = torch::nn::functional::cross_entropy(logits, labels);
    return {
        loss, loss, torch::zeros({}, loss.options()),
        torch::zeros({}, labels.options())};
  }
  return criterion_(logits, labels, *hook_, batch.saliency.to(device_));
}

void Trainer::step_optimizer() {
  if (settings_.clip > 0) {
    torch::nn::utils::clip_grad_norm_(network_->parameters(), settings_.clip);
  }
  optimizer_->step();
  ++place_.step;
}

void Trainer::end_epoch() {
  ranks_.share_statistics();
  auto record = validate();
  const auto count = static_cast<double>(place_.pictures);
  record["epoch"] = place_.epoch;
  record["step"] = place_.step;
  record["loss"] = place_.total / count;
  record["classification"] = place_.classification / count;
  record["saliency"] =
      place_.annotated == 0
          ? json()
          : json(place_.saliency / static_cast<double>(place_.annotated));
  record["annotated"] = place_.annotated;
  record["pictures"] = place_.pictures;
  record["learning_rate"] =
      optimizer_->param_groups().front().options().get_lr();

  const bool validated = record.contains("val_loss");
  const double value =
      !validated                   ? 0
      : settings_.select == "loss" ? -record["val_loss"].get<double>()
      : settings_.select == "auc"  ? record["val_auc"].get<double>()
                                   : record["val_accuracy"].get<double>();
  const bool better = place_.best_epoch < 0 || value >= place_.best;
  if (better) {
    place_.best = value;
    place_.best_epoch = place_.epoch;
  }
  ++place_.epoch;
  place_.batch = 0;
  place_.total = place_.classification = place_.saliency = 0;
  place_.annotated = place_.pictures = 0;
  if (better) {
    save("best.pt");
  }
  log(record);
  save("last.pt");
  if (ranks_.first()) {
    show(record);
  }
  std::string line = fmt::format(
      "epoch {}: loss {:.4f}", place_.epoch, record["loss"].get<double>());
  for (const auto* name : {"val_loss", "val_accuracy", "val_auc"}) {
    if (record.contains(name)) {
      line += fmt::format(", {} {:.4f}", name, record[name].get<double>());
    }
  }
  say(line + (better && validated ? " (best so far)" : ""));
}

json Trainer::validate() {
  const auto rows = table_.rows_of("val");
  json record;
  if (rows.empty()) {
    return record;
  }
  auto scored = score_pictures(
      *network_, ranks_.part(rows), settings_,
      {device_, static_cast<size_t>(request_.workers),
       static_cast<size_t>(settings_.batch)});
  scored.logits = ranks_.gather(scored.logits);
  scored.labels = ranks_.gather(scored.labels);
  if (scored.labels.numel() == 0) {
    throw std::runtime_error("no picture of the validation split can be read");
  }
  record["val_loss"] =
      torch::nn::functional::cross_entropy(scored.logits, scored.labels)
          .item<double>();
  record["val_accuracy"] =
      cyborg::measure::accuracy(scored.logits, scored.labels);
  const auto positives = scored.labels.eq(1).sum().item<int64_t>();
  if (settings_.classes.size() == 2 && positives > 0 &&
      positives < scored.labels.size(0)) {
    record["val_auc"] =
        cyborg::measure::roc_auc(margin(scored.logits), scored.labels);
  } else if (settings_.select == "auc") {
    throw std::runtime_error(
        "--select auc: the validation split holds one class alone; use "
        "accuracy or loss");
  }
  return record;
}

/// For TensorBoard: the numbers, and where the network looks in a few pictures.
void Trainer::show(const json& record) {
  const int64_t epoch = place_.epoch;
  for (const auto& item : record.items()) {
    if (item.value().is_number() && item.key() != "epoch") {
      const bool validation = item.key().compare(0, 4, "val_") == 0;
      events_->scalar(
          (validation ? "validation/" + item.key().substr(4)
                      : "training/" + item.key()),
          item.value().get<double>(), epoch);
    }
  }
  if (settings_.alpha == 1) {
    return;
  }
  auto rows = table_.rows_of("val");
  rows.resize(std::min<size_t>(rows.size(), 4));
  network_->train(false);
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < rows.size(); ++i) {
    try {
      const auto image = dataset_of({rows[i]}, settings_).get(0).data;
      const auto logits = hook_->forward(
          [&] { return network_->forward(image.unsqueeze(0).to(device_)); });
      const auto map =
          hook_->cam(logits, torch::tensor({rows[i].label}).to(device_))[0];
      const auto span = image - image.min();
      events_->image(
          fmt::format("map/{}", i),
          cyborg::report::overlay(span / span.max().clamp_min(1e-6), map),
          epoch);
    } catch (const cyborg::io::FileError&) {
      // --skip-unreadable: validation has listed it.
    }
  }
}

void Trainer::save(const std::string& name) const {
  const auto states = ranks_.gather(random().get_state().unsqueeze(0));
  if (!ranks_.first()) {
    return;
  }
  cyborg::train::Checkpoint checkpoint;
  checkpoint.texts["settings"] = json(settings_).dump();
  checkpoint.texts["place"] = json(place_).dump();
  checkpoint.texts["table"] = fingerprint(table_);
  checkpoint.tensors["model"] = network_->state();
  if (script_.defined()) {
    checkpoint.tensors["script"] = {{"module", script_}};
  }
  if (name == "last.pt") {
    checkpoint.tensors["optimizer"] = cyborg::train::state_of(*optimizer_);
    checkpoint.tensors["random"] = {{"cpu", states}};
  }
  cyborg::train::save_checkpoint(request_.out / name, checkpoint);
}

void Trainer::log(const json& record) {
  records_.push_back(record);
  std::string all;
  for (const auto& each : records_) {
    all += each.dump() + "\n";
  }
  if (ranks_.first()) {
    cyborg::io::write_file(request_.out / "log.jsonl", all);
  }
}

void Trainer::not_finite(const Loader& loader, bool here) const {
  if (!here) {
    throw std::runtime_error(
        "the loss is not finite on another rank, which names the pictures");
  }
  const auto order = loader.share(static_cast<uint64_t>(place_.epoch));
  const auto batch = static_cast<int64_t>(loader.position());
  const auto begin = static_cast<size_t>((batch - 1) * settings_.batch);
  std::string names;
  for (size_t i = begin;
       i < std::min(order.size(), begin + static_cast<size_t>(settings_.batch));
       ++i) {
    names += "\n  " + rows_[order[i]].path;
  }
  throw std::runtime_error(fmt::format(
      "the loss is not finite in epoch {}, batch {}: a smaller --lr or --clip "
      "may help. The last checkpoint is kept. The pictures of the batch:{}",
      place_.epoch + 1, batch, names));
}

/// A batch that one of several processes leaves out, the others wait for.
void Trainer::check_in_step(int64_t done) const {
  if (ranks_.size() > 1 && done != place_.batch) {
    throw std::runtime_error(fmt::format(
        "no picture of batch {} can be read, of which several processes need "
        "one each; --check says why",
        place_.batch + 1));
  }
}

/// Asked of any rank, so that all stop after the same step.
bool Trainer::stop_asked() const {
  return ranks_.any(stop_wanted != 0);
}

void Trainer::say(const std::string& line) const {
  if (!request_.quiet) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }
}

void Trainer::warn(const std::string& line) const {
  if (ranks_.first()) {
    fmt::print(stderr, "warning: {}", line);
  }
}

}  // namespace programs
