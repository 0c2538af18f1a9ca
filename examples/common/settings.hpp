// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a training is made of. Kept in every checkpoint, so that it can go on,
// and so that `evaluate` and `explain` prepare pictures as it did.

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace programs {

/// The values are the published recipe for CYBORG (docs/train.md).
struct Settings {
  // Pictures
  std::string data;                  ///< a CSV, or a folder split/class/*.png
  std::string saliency;              ///< a folder of human maps
  std::string positive;              ///< the class of label 1, of two
  std::vector<std::string> classes;  ///< learned from the training split
  std::vector<int64_t> size = {224, 224};  ///< H, W; empty: as they are
  int64_t channels = 3;
  std::vector<double> mean = {0.485, 0.456, 0.406};  // ImageNet's
  std::vector<double> stddev = {0.229, 0.224, 0.225};
  double map_blur = 0;
  bool skip_unreadable = false;

  // Augmentation; none is published
  double flip = 0;           ///< probability, left and right
  double vertical_flip = 0;  ///< probability
  double min_area = 1;       ///< of a crop
  double rotation = 0;       ///< degrees, either way
  double scale = 1;          ///< largest factor, either way
  double brightness = 0, contrast = 0, saturation = 0;

  // Network
  std::string network = "densenet121";
  std::string model;    ///< a TorchScript file, instead
  std::string weights;  ///< of Python
  std::string layer;    ///< whose output is the map's; empty: found

  // Loss
  std::string loss = "cyborg-l2";
  double alpha = 0.5;
  std::string cam_class = "label";
  std::string map_normalizer;    ///< empty: the distance's own
  std::string human_normalizer;  ///< empty: the distance's own
  std::string reduction = "mean";

  // Optimisation
  std::string optimizer = "sgd";
  double learning_rate = 0.005;
  double momentum = 0.9;
  double weight_decay = 1e-6;
  std::string schedule = "step";
  int64_t step_epochs = 12;
  double step_factor = 0.1;
  double warm_up = 0;
  int64_t epochs = 50;
  int64_t batch = 20;
  int64_t accumulate = 1;
  double clip = 0;
  std::string select = "accuracy";
  int64_t patience = 0;
  bool sync_batch_norm = false;  ///< of several processes

  // Run
  uint64_t seed = 0;
  bool deterministic = false;
  bool bfloat16 = false;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    Settings, data, saliency, positive, classes, size, channels, mean, stddev,
    map_blur, skip_unreadable, flip, vertical_flip, min_area, rotation, scale,
    brightness, contrast, saturation, network, model, weights, layer, loss,
    alpha, cam_class, map_normalizer, human_normalizer, reduction, optimizer,
    learning_rate, momentum, weight_decay, schedule, step_epochs, step_factor,
    warm_up, epochs, batch, accumulate, clip, select, patience, sync_batch_norm,
    seed, deterministic, bfloat16)

}  // namespace programs
