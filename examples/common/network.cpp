// SPDX-License-Identifier: BSD-3-Clause
#include "network.hpp"

#include "random.hpp"
#include "script_head.hpp"

#include "../models/densenet.hpp"
#include "../models/detector.hpp"
#include "../models/layers.hpp"
#include "../models/resnet.hpp"

#include <cyborg/guide/evaluation_norms.hpp>
#include <cyborg/io/file.hpp>

#include <ATen/Context.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace programs {

namespace {

/// Counts the layers whose mode is a constant, by mode.
void count_fixed(
    at::ArrayRef<const torch::jit::Block*> blocks, int64_t& evaluating,
    int64_t& training) {
  for (const auto* block : blocks) {
    for (const auto* node : block->nodes()) {
      const char* const mode =
          node->kind() == c10::aten::batch_norm ? "training"
          : node->kind() == c10::aten::dropout ||
                  node->kind() == c10::aten::feature_dropout
              ? "train"
              : nullptr;
      if (mode != nullptr) {
        const auto constant = torch::jit::toIValue(node->namedInput(mode));
        if (constant && constant->isBool()) {
          ++(constant->toBool() ? training : evaluating);
        }
      }
      count_fixed(node->blocks(), evaluating, training);
    }
  }
}

/// A TorchScript module with the structure, the names and the tensors of a
/// native one, and without code.
torch::jit::Module shell_of(
    const torch::nn::Module& native,
    const std::shared_ptr<torch::jit::CompilationUnit>& unit) {
  torch::jit::Module module(
      c10::QualifiedName("__torch__.cyborg.Network"), unit,
      /*shouldMangle=*/true);
  module.register_attribute(
      "training", c10::BoolType::get(), native.is_training());
  for (const auto& one : native.named_parameters(/*recurse=*/false)) {
    module.register_parameter(one.key(), one.value(), /*is_buffer=*/false);
  }
  for (const auto& one : native.named_buffers(/*recurse=*/false)) {
    module.register_buffer(one.key(), one.value());
  }
  for (const auto& one : native.named_children()) {
    module.register_module(one.key(), shell_of(*one.value(), unit));
  }
  return module;
}

/// The first line of LibTorch's error; the others are a backtrace.
std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace

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

torch::jit::Module Network::scripted(const torch::Tensor& images) {
  if (script_) {
    return *script_;
  }
  auto module =
      shell_of(*native_.ptr(), std::make_shared<torch::jit::CompilationUnit>());
  std::vector<c10::IValue> inputs{images};
  const auto run = [this](std::vector<c10::IValue> given) {
    return std::vector<c10::IValue>{native_.forward(given[0].toTensor())};
  };
  // The tracer finds the tensors of `module` in what the native network does.
  const auto traced = torch::jit::tracer::trace(
      std::move(inputs), run,
      [](const torch::Tensor& /*value*/) { return std::string(); },
      /*strict=*/true, /*force_outplace=*/false, &module);
  auto* method = module._ivalue()->compilation_unit()->create_function(
      c10::QualifiedName(*module.type()->name(), "forward"),
      traced.first->graph);
  module.type()->addMethod(method);
  return module;
}

std::string Network::fixed_layers() const {
  if (!script_) {
    return "";
  }
  const auto graph = script_->get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  int64_t evaluating = 0, training = 0;
  count_fixed({std::as_const(*graph).block()}, evaluating, training);
  const auto layers = [](int64_t count, const char* mode) {
    return std::to_string(count) +
           " layers of batch normalisation or dropout always act as in " + mode;
  };
  std::string text;
  if (evaluating > 0) {
    text = layers(evaluating, "evaluation, so that they do not learn");
  }
  if (training > 0) {
    text += (text.empty() ? "" : ", and ") +
            layers(
                training,
                "training, so that a score depends on the other pictures of "
                "its batch");
  }
  return text.empty()
             ? text
             : "in the network of --model, " + text +
                   ". It was traced in that mode; "
                   "examples/export_torchscript.py writes a file in which "
                   "training and evaluation differ";
}

void Network::make_native(const Settings& settings, int64_t classes) {
  const auto architecture = settings.network;
  if (architecture == Architecture::kDemo) {
    TORCH_CHECK_VALUE(
        classes == 2 && settings.channels == 1,
        "--network demo: expected two classes of pictures of 1 channel, got ",
        classes, " classes of ", settings.channels, " channels (--channels 1)");
    models::Detector net;
    auto random = random_generator(settings.seed, kInitialWeights);
    net->initialize(random);
    native_ = torch::nn::AnyModule(net);
    return;
  }
  TORCH_CHECK_VALUE(
      settings.channels == 3, name_of(architecture),
      " reads pictures of 3 channels, got ", settings.channels,
      " (--channels)");
  switch (architecture) {
    case Architecture::kResNet18:
      native_ = torch::nn::AnyModule(models::resnet18(classes));
      break;
    case Architecture::kResNet50:
      native_ = torch::nn::AnyModule(models::resnet50(classes));
      break;
    case Architecture::kDenseNet121:
      native_ = torch::nn::AnyModule(models::densenet121(classes));
      break;
    case Architecture::kDemo:
      break;  // above
  }
}

void Network::load_script(const Settings& settings) {
  const auto fail = [&](const std::string& reason) {
    throw cyborg::io::FileError("--model", settings.model, reason);
  };
  // For a file that does not exist, this error says more than LibTorch's.
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

/// Replaces the last layer where the file's has another number of classes.
void Network::fit_head(int64_t classes, const torch::Tensor& picture) {
  train(false);
  const auto logits_of = [&] {
    const torch::AutoGradMode graph_on(true);
    // The optimizer of TorchScript may join several layers to one node of the
    // graph; replace_head looks for the last layer alone.
    const torch::jit::GraphOptimizerEnabledGuard no_optimizer(false);
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
    replaced = replace_head(*script_, logits, classes) && fits(logits_of());
  } catch (const std::exception&) {
    // The network does not run with another number of classes.
  }
  TORCH_CHECK_VALUE(
      replaced, "the network of --model gives ", logits.sizes(),
      " for one picture, expected [1, ", classes,
      "], and its last layer could not be replaced; export it with --classes ",
      classes);
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

std::shared_ptr<void> Network::evaluation_norms() {
  return script_ ? std::make_shared<cyborg::EvaluationNorms>(*script_)
                 : std::make_shared<cyborg::EvaluationNorms>(*native_.ptr());
}

void Network::to(torch::Device device) {
  if (script_) {
    script_->to(device);
  } else {
    native_.ptr()->to(device);
  }
}

}  // namespace programs
