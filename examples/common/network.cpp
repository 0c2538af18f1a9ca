// SPDX-License-Identifier: BSD-3-Clause
#include "network.hpp"

#include "../demo/network.hpp"
#include "../demo/synthesize.hpp"
#include "../models/densenet.hpp"
#include "../models/layers.hpp"
#include "../models/resnet.hpp"

#include <cyborg/io/file.hpp>

#include <ATen/Context.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <unordered_set>

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

/// The weight [K, ...] that is nearest to logits [B, K] on their graph, which
/// is the last layer's; undefined where there is none.
torch::Tensor last_weight(const torch::Tensor& logits) {
  using torch::autograd::Node;
  std::vector<Node*> found = {logits.grad_fn().get()};
  std::unordered_set<Node*> seen = {nullptr};
  for (size_t i = 0; i < found.size(); ++i) {  // the nearest first
    if (!seen.insert(found[i]).second) {
      continue;
    }
    if (auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(found[i])) {
      if (leaf->variable.dim() >= 2 &&
          leaf->variable.size(0) == logits.size(1)) {
        return leaf->variable;
      }
    }
    for (const auto& edge : found[i]->next_edges()) {
      found.push_back(edge.function.get());
    }
  }
  return {};
}

/// The first line of what LibTorch said.
std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
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
    throw cyborg::io::FileError("--model", settings.model, reason);
  };
  // Reading it says better what is wrong with a file that is not there.
  cyborg::io::read_file(settings.model, UINT64_MAX, "--model");
  try {
    script_ = std::make_unique<torch::jit::Module>(
        torch::jit::load(settings.model, torch::kCPU));
  } catch (const std::exception& error) {
    fail(
        "is no TorchScript file that can be loaded; "
        "examples/export_torchscript.py makes one of a Python network. "
        "LibTorch says: " +
        first_line(error));
  }
  if (!script_->hasattr("training")) {
    fail("is frozen: its weights cannot be trained; export it again");
  }
}

/// A new last layer, where the file's has another number of classes.
void Network::fit_head(int64_t classes, const torch::Tensor& picture) {
  train(false);
  const auto logits_of = [&] {
    const torch::AutoGradMode graph_on(true);
    // Optimised, several layers may be one node of the graph.
    const torch::jit::GraphOptimizerEnabledGuard plain(false);
    return forward(picture.unsqueeze(0));
  };
  const auto logits = logits_of();
  const auto fits = [&](const torch::Tensor& some) {
    return some.dim() == 2 && some.size(1) == classes;
  };
  if (fits(logits)) {
    return;
  }
  bool replaced = false;
  try {
    replaced = replace_head(logits, classes) && fits(logits_of());
  } catch (const std::exception&) {
    // The network counts on the number of classes that it has.
  }
  TORCH_CHECK_VALUE(
      replaced, "the network of --model gives ", logits.sizes(),
      " for one picture, expected [1, ", classes,
      "], and its last layer could not be replaced; export it with --classes ",
      classes);
}

/// Gives the layer that made `logits` fresh weights for so many classes;
/// whether it was found.
bool Network::replace_head(const torch::Tensor& logits, int64_t classes) {
  const auto weight = logits.dim() == 2 ? last_weight(logits) : torch::Tensor();
  const auto parameters = script_->named_parameters();
  for (const auto& parameter : parameters) {
    if (!weight.is_same(parameter.value)) {
      continue;
    }
    auto sizes = weight.sizes().vec();
    const int64_t inputs = weight[0].numel();
    sizes[0] = classes;
    set_parameter(*script_, parameter.name, fresh(sizes, inputs));
    const auto place = parameter.name.rfind("weight");
    for (const auto& other : parameters) {
      if (place != std::string::npos &&
          other.name == parameter.name.substr(0, place) + "bias") {
        set_parameter(*script_, other.name, fresh({classes}, inputs));
      }
    }
    return true;
  }
  return false;
}

torch::Tensor Network::forward(const torch::Tensor& images) {
  if (!script_) {
    return native_.forward(images);
  }
  auto out = script_->forward({images});
  if (out.isTuple() && !out.toTupleRef().elements().empty()) {
    out = out.toTupleRef().elements()[0];  // auxiliary outputs come after it
  }
  TORCH_CHECK_VALUE(
      out.isTensor(), "the network of --model returns a ", out.tagKind(),
      ", expected the logits, or a tuple that begins with them");
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
