// SPDX-License-Identifier: BSD-3-Clause
#include "network.hpp"

#include "../demo/network.hpp"
#include "../demo/synthesize.hpp"
#include "../models/densenet.hpp"
#include "../models/layers.hpp"
#include "../models/resnet.hpp"

#include <cyborg/data/file.hpp>

#include <ATen/Context.h>
#include <torch/nn/init.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <sstream>
#include <stdexcept>

namespace programs {

namespace {

/// Sets an attribute of a submodule by its dotted name.
void set_parameter(
    torch::jit::Module module, const std::string& name,
    const torch::Tensor& value) {
  size_t begin = 0;
  for (size_t dot = name.find('.'); dot != std::string::npos;
       dot = name.find('.', begin)) {
    module = module.attr(name.substr(begin, dot - begin)).toModule();
    begin = dot + 1;
  }
  module.setattr(name.substr(begin), value);
}

torch::Tensor fresh(std::vector<int64_t> sizes, int64_t inputs) {
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  return torch::empty(sizes).uniform_(-bound, bound).requires_grad_();
}

}  // namespace

const std::vector<std::string>& network_names() {
  static const std::vector<std::string> names = {
      "resnet18", "resnet50", "densenet121", "demo"};
  return names;
}

torch::Device device_named(const std::string& name) {
  torch::Device device = torch::kCPU;
  try {
    device = torch::Device(name);
  } catch (const c10::Error&) {
    throw std::invalid_argument(
        "--device: expected cpu, cuda or cuda:N, got \"" + name + "\"");
  }
  if (device.is_cuda() && !at::hasCUDA()) {
    throw std::invalid_argument(
        "--device " + name + ": this LibTorch or this machine has no CUDA");
  }
  return device;
}

Network::Network(
    const Settings& settings, int64_t classes,
    const std::function<torch::Tensor()>& picture) {
  torch::manual_seed(settings.seed);
  if (settings.model.empty()) {
    make_native(settings, classes);
  } else {
    load_script(settings);
    fit_head(classes, picture());
  }
}

Network::Network(
    const Settings& settings, const torch::Tensor& script,
    const cyborg::train::NamedTensors& state) {
  if (script.defined()) {
    const auto bytes = script.contiguous();
    std::istringstream stream(std::string(
        static_cast<const char*>(bytes.data_ptr()),
        static_cast<size_t>(bytes.numel())));
    script_ = std::make_unique<torch::jit::Module>(
        torch::jit::load(stream, torch::kCPU));
  } else {
    torch::manual_seed(settings.seed);
    make_native(settings, static_cast<int64_t>(settings.classes.size()));
  }
  const auto mismatch = cyborg::train::load_state(this->state(), state);
  TORCH_CHECK_VALUE(
      mismatch.empty(), "the checkpoint's weights do not fit its network:\n",
      mismatch.text());
}

torch::Tensor Network::script() const {
  if (!script_) {
    return {};
  }
  std::ostringstream stream;
  script_->save(stream);
  const auto bytes = stream.str();
  auto out = torch::empty({static_cast<int64_t>(bytes.size())}, torch::kByte);
  std::copy(bytes.begin(), bytes.end(), out.data_ptr<uint8_t>());
  return out;
}

void Network::make_native(const Settings& settings, int64_t classes) {
  if (settings.network == "resnet18") {
    native_ = torch::nn::AnyModule(models::resnet18(classes));
  } else if (settings.network == "resnet50") {
    native_ = torch::nn::AnyModule(models::resnet50(classes));
  } else if (settings.network == "densenet121") {
    native_ = torch::nn::AnyModule(models::densenet121(classes));
  } else {
    TORCH_CHECK_VALUE(
        settings.network == "demo" && classes == 2 && settings.channels == 1,
        settings.network == "demo"
            ? "the demo's network tells two classes of grey pictures apart"
            : "unknown network \"" + settings.network + "\"");
    demo::Detector net;
    auto random = demo::random_generator(settings.seed, demo::kWeights);
    net->initialize(random);
    native_ = torch::nn::AnyModule(net);
  }
  TORCH_CHECK_VALUE(
      settings.network == "demo" || settings.channels == 3, settings.network,
      " reads pictures of 3 channels, got ", settings.channels,
      " (--channels)");
}

void Network::load_script(const Settings& settings) {
  const auto fail = [&](const std::string& reason) {
    throw cyborg::data::FileError("--model", settings.model, reason);
  };
  // Reading it says better what is wrong with a file that is not there.
  cyborg::data::read_file(settings.model, UINT64_MAX, "--model");
  try {
    script_ = std::make_unique<torch::jit::Module>(
        torch::jit::load(settings.model, torch::kCPU));
  } catch (const std::exception&) {
    fail(
        "is no TorchScript file; examples/export_torchscript.py makes one of "
        "a Python network");
  }
  if (!script_->hasattr("training")) {
    fail("is frozen: its weights cannot be trained; export it again");
  }
}

/// A new last layer, where the file's has another number of classes.
void Network::fit_head(int64_t classes, const torch::Tensor& picture) {
  train(false);
  const auto watcher = hook("");
  torch::Tensor logits;
  {
    const torch::NoGradGuard no_grad;
    logits = watcher->forward([&] { return forward(picture.unsqueeze(0)); });
  }
  if (logits.dim() == 2 && logits.size(1) == classes) {
    return;
  }
  const auto weight = watcher->observation().weight;
  for (const auto& parameter : script_->named_parameters()) {
    // By place in memory: what was observed may be a view.
    if (!weight.defined() || parameter.value.data_ptr() != weight.data_ptr() ||
        parameter.value.size(0) != logits.size(1)) {
      continue;
    }
    auto sizes = parameter.value.sizes().vec();
    const int64_t inputs = parameter.value[0].numel();
    sizes[0] = classes;
    const auto place = parameter.name.rfind("weight");
    set_parameter(*script_, parameter.name, fresh(sizes, inputs));
    const auto bias = place == std::string::npos
                          ? std::string()
                          : parameter.name.substr(0, place) + "bias";
    for (const auto& other : script_->named_parameters()) {
      if (other.name == bias) {
        set_parameter(*script_, bias, fresh({classes}, inputs));
        break;
      }
    }
    return;
  }
  TORCH_CHECK_VALUE(
      false, "the network of --model gives ", logits.sizes(),
      " for one picture, expected [1, ", classes,
      "], and its last layer could not be found to be replaced; export it with "
      "--classes ",
      classes);
}

torch::Tensor Network::forward(const torch::Tensor& images) {
  if (!script_) {
    return native_.forward(images);
  }
  const auto out = script_->forward({images});
  if (out.isTuple()) {  // auxiliary outputs come after the main one
    return out.toTupleRef().elements()[0].toTensor();
  }
  return out.toTensor();
}

std::unique_ptr<cyborg::CamHook> Network::hook(
    const std::string& layer, cyborg::CamMethod method) {
  const auto options = cyborg::CamHookOptions().layer(layer).method(method);
  return script_ ? std::make_unique<cyborg::CamHook>(*script_, options)
                 : std::make_unique<cyborg::CamHook>(*native_.ptr(), options);
}

cyborg::train::NamedTensors Network::state() const {
  if (!script_) {
    return cyborg::train::state_of(*native_.ptr());
  }
  cyborg::train::NamedTensors state;
  for (const auto& parameter : script_->named_parameters()) {
    state.emplace_back(parameter.name, parameter.value);
  }
  for (const auto& buffer : script_->named_buffers()) {
    state.emplace_back(buffer.name, buffer.value);
  }
  return state;
}

std::vector<torch::Tensor> Network::parameters() const {
  if (!script_) {
    return native_.ptr()->parameters();
  }
  std::vector<torch::Tensor> out;
  for (const auto& parameter : script_->parameters()) {
    out.push_back(parameter);
  }
  return out;
}

std::vector<torch::Tensor> Network::buffers() const {
  if (!script_) {
    return native_.ptr()->buffers();
  }
  std::vector<torch::Tensor> out;
  for (const auto& buffer : script_->buffers()) {
    out.push_back(buffer);
  }
  return out;
}

void Network::each_batch_norm(
    const std::function<void(models::BatchNormImpl&)>& visit) {
  if (script_) {
    throw std::invalid_argument(
        "--sync-batch-norm: expected a native network, got a TorchScript file, "
        "whose layers cannot be replaced");
  }
  for (const auto& module : native_.ptr()->modules()) {
    if (auto* norm = module->as<models::BatchNorm>()) {
      visit(*norm);
    }
  }
}

void Network::train(bool on) {
  if (script_) {
    script_->train(on);
  } else {
    native_.ptr()->train(on);
  }
}

void Network::to(torch::Device device) {
  if (script_) {
    script_->to(device);
  } else {
    native_.ptr()->to(device);
  }
}

}  // namespace programs
