// SPDX-License-Identifier: BSD-3-Clause
#include "learner.hpp"

#include "autocast.hpp"
#include "recipe.hpp"

#include <torch/nn/utils/clip_grad.h>

#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>

namespace programs {

namespace {

/// Throws an error with a way out for that of batch normalisation, which needs
/// two values.
void explain_single_picture(const std::exception& error) {
  const std::string text = error.what();
  if (text.find("more than 1 value per channel") != std::string::npos) {
    throw std::runtime_error(
        "batch normalisation needs two pictures, and this batch has one. With "
        "--batch 1 such a network cannot be trained; with --skip-unreadable "
        "the others could not be read: repair those that --check lists");
  }
}

}  // namespace

Learner::Learner(
    const Settings& settings, const std::vector<cyborg::data::Row>& rows,
    Network& network, TrainingProcesses& processes)
    : settings_(settings),
      network_(network),
      processes_(processes),
      objective_(settings, rows, network, processes.device()) {
  network_.to(processes_.device());
  processes_.distribute(network_, settings_.sync_batch_norm);
  hook_ = network_.hook(settings_.layer);
  optimizer_ = make_optimizer(settings_, network_.parameters());
  // A buffer may hold infinity, as the mask of an attention layer does.
  auto state = network_.state();
  const auto buffers =
      state.begin() + static_cast<std::ptrdiff_t>(network_.parameters().size());
  for (const auto& name : cyborg::train::not_finite({buffers, state.end()})) {
    infinite_.insert(name);
  }
  state.erase(buffers, state.end());
  const auto wrong = cyborg::train::not_finite(state);
  if (!wrong.empty()) {
    throw std::runtime_error(
        "the initial weights are not finite: " + wrong.front());
  }
}

void Learner::begin_step(
    int64_t epoch, int64_t batch, int64_t batches, int64_t step) {
  optimizer_->zero_grad();
  cyborg::train::set_learning_rate(
      *optimizer_, cyborg::train::learning_rate(
                       epoch, batch, batches, schedule_options(settings_)));
  objective_.at(
      static_cast<double>(epoch) +
          static_cast<double>(batch) / static_cast<double>(batches),
      step, processes_.rank());
}

cyborg::GuidanceTerms Learner::loss_of(
    const cyborg::data::GuidedExample& batch) {
  const auto device = processes_.device();
  const auto to_device = [&](const torch::Tensor& tensor) {
    return tensor.defined() ? tensor.to(device) : tensor;
  };
  const auto images = to_device(batch.data);
  try {
    return objective_(
        *hook_,
        [&](const torch::Tensor& x) {
          const AutocastGuard autocast(settings_.bfloat16, device);
          return network_.forward(x);
        },
        cyborg::Batch{
            images, to_device(batch.target), to_device(batch.saliency),
            to_device(batch.wrong), /*annotated=*/{}, to_device(batch.weight)});
  } catch (const std::exception& error) {
    if (images.size(0) == 1) {
      explain_single_picture(error);
    }
    throw;
  }
}

void Learner::backward(const torch::Tensor& loss, int64_t count, bool last) {
  processes_.backward(count == 1 ? loss : loss / count, last);
}

void Learner::end_step() {
  if (settings_.clip > 0) {
    torch::nn::utils::clip_grad_norm_(network_.parameters(), settings_.clip);
  }
  optimizer_->step();
}

torch::Tensor Learner::map_of(const torch::Tensor& picture, int64_t label) {
  network_.train(false);
  const torch::NoGradGuard no_grad;
  const auto images = picture.unsqueeze(0).to(processes_.device());
  const auto logits = hook_->forward([&] { return network_.forward(images); });
  return hook_->cam(logits, torch::tensor({label}).to(processes_.device()))[0];
}

double Learner::learning_rate() const {
  return optimizer_->param_groups().front().options().get_lr();
}

std::vector<std::string> Learner::not_finite() const {
  std::vector<std::string> names;
  for (const auto& name : cyborg::train::not_finite(network_.state())) {
    if (infinite_.count(name) == 0) {
      names.push_back(name);
    }
  }
  for (const auto& name : cyborg::train::not_finite(state())) {
    names.push_back("optimizer state " + name);
  }
  return names;
}

cyborg::train::NamedTensors Learner::state() const {
  return cyborg::train::state_of(*optimizer_);
}

void Learner::load_state(const cyborg::train::NamedTensors& state) {
  cyborg::train::load_state(*optimizer_, state);
}

}  // namespace programs
