// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The networks that the programs train: native ones (`Architecture`) and any
// TorchScript file, with one interface.

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
  /// A network for a new training. A native one has weights that are drawn from
  /// the settings' seed. A TorchScript file has its own weights, and a new last
  /// layer where it has another number of classes; `picture` gives a picture
  /// [C, H, W] as the network will see them, to find that out.
  Network(
      const Settings& settings, int64_t classes,
      const std::function<torch::Tensor()>& picture);

  /// The network of a checkpoint, with the weights `state`: the TorchScript
  /// module whose bytes [N] are `script`, or, without them, a native one.
  Network(
      const Settings& settings, const torch::Tensor& script,
      const cyborg::train::NamedTensors& state);

  /// The bytes [N] of the TorchScript module as it is now; undefined for a
  /// native network.
  torch::Tensor script() const;

  /// The network as a TorchScript module that shares its weights. A native one
  /// is traced with `images` [B, C, H, W], as it is: in training or evaluation
  /// mode.
  torch::jit::Module scripted(const torch::Tensor& images);

  /// Which layers of a TorchScript file act in one way in training and
  /// evaluation, since the file was traced without regard to the two: "" where
  /// there are none, else a sentence for the person who trains it.
  std::string fixed_layers() const;

  /// Shapes: images [B, C, H, W] -> logits [B, K].
  torch::Tensor forward(const torch::Tensor& images);

  /// A hook on the network; `layer` and `method` as in `CamHookOptions`.
  std::unique_ptr<cyborg::CamHook> hook(
      const std::string& layer,
      cyborg::CamMethod method = cyborg::CamMethod::kAuto);

  /// Parameters, then buffers, with torchvision's names for native networks.
  cyborg::train::NamedTensors state() const;
  std::vector<torch::Tensor> parameters() const;
  std::vector<torch::Tensor> buffers() const;
  /// Calls `visit` with each layer of batch normalisation.
  /// Throws: `std::invalid_argument` for a TorchScript file.
  void each_batch_norm(
      const std::function<void(models::BatchNormImpl&)>& visit);
  void train(bool on);
  /// While the returned object lives, batch norms use their running statistics
  /// and leave them as they are.
  std::shared_ptr<void> evaluation_norms();
  void to(torch::Device device);

 private:
  void make_native(const Settings& settings, int64_t classes);
  void load_script(const Settings& settings);
  void fit_head(int64_t classes, const torch::Tensor& picture);

  // One of the two holds the network.
  torch::nn::AnyModule native_;
  std::unique_ptr<torch::jit::Module> script_;
};

/// The device of a name: cpu, cuda, cuda:1, ...
/// Throws: `std::invalid_argument` for another name, or without CUDA.
torch::Device device_named(const std::string& name);

}  // namespace programs
