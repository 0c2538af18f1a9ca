// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The networks that the programs train: three native ones, the demo's, and any
// TorchScript file, behind one interface.

#include "settings.hpp"

#include <cyborg/cam/hook.hpp>
#include <cyborg/jit.hpp>
#include <cyborg/train/checkpoint.hpp>

#include <torch/nn/modules/container/any.h>
#include <torch/script.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace models {
class BatchNormImpl;
}

namespace programs {

class Network {
 public:
  /// The one that `settings` name, with fresh weights drawn from their seed
  /// (a TorchScript file: its own, and a new head where it has another number
  /// of classes; `picture` then gives one [C, H, W] as it will see).
  Network(
      const Settings& settings, int64_t classes,
      const std::function<torch::Tensor()>& picture);

  /// The one of a checkpoint: `settings`' architecture, or the TorchScript
  /// module whose bytes [N] it holds, with the weights `state`.
  Network(
      const Settings& settings, const torch::Tensor& script,
      const cyborg::train::NamedTensors& state);

  /// The bytes of a TorchScript module as it is now; undefined for a native
  /// network.
  torch::Tensor script() const;

  /// Shapes: images [B, C, H, W] -> logits [B, K].
  torch::Tensor forward(const torch::Tensor& images);

  /// Watches the network; `layer` and `method` as in `CamHookOptions`.
  std::unique_ptr<cyborg::CamHook> hook(
      const std::string& layer,
      cyborg::CamMethod method = cyborg::CamMethod::kAuto);

  /// Parameters, then buffers, with torchvision's names for native networks.
  cyborg::train::NamedTensors state() const;
  std::vector<torch::Tensor> parameters() const;
  std::vector<torch::Tensor> buffers() const;
  /// Throws: `std::invalid_argument` for a TorchScript file.
  void each_batch_norm(
      const std::function<void(models::BatchNormImpl&)>& visit);
  void train(bool on);
  void to(torch::Device device);

 private:
  void make_native(const Settings& settings, int64_t classes);
  void load_script(const Settings& settings);
  void fit_head(int64_t classes, const torch::Tensor& picture);
  bool replace_head(const torch::Tensor& logits, int64_t classes);

  torch::nn::AnyModule native_;
  std::unique_ptr<torch::jit::Module> script_;
};

/// cpu, cuda, cuda:1, ...
/// Throws: `std::invalid_argument` for another name, or without CUDA.
torch::Device device_named(const std::string& name);

/// The names that `Settings::network` may have.
const std::vector<std::string>& network_names();

}  // namespace programs
