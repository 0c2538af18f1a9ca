// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The settings of a training. Every checkpoint holds them, so that the training
// can be resumed, and so that `evaluate` and `explain` prepare pictures in the
// same way.

#include "choices.hpp"
#include "terms.hpp"

#include <cyborg/cam/methods.hpp>
#include <cyborg/data/picture_options.hpp>
#include <cyborg/guide/blend_choices.hpp>
#include <cyborg/guide/reduction.hpp>
#include <cyborg/maps/normalize.hpp>
#include <cyborg/train/schedule.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace programs {

/// The networks that `train` makes itself.
enum class Architecture { kResNet18, kResNet50, kDenseNet121, kDemo };
template <>
struct Choices<Architecture> {
  static constexpr Choice<Architecture> kAll[] = {
      {Architecture::kResNet18, "resnet18", ""},
      {Architecture::kResNet50, "resnet50", ""},
      {Architecture::kDenseNet121, "densenet121", ""},
      {Architecture::kDemo, "demo",
       "the demo's, for two classes of grey "
       "pictures"}};
};

/// What is minimised.
enum class Loss { kCrossEntropy, kCyborgL1, kCyborgL2, kCyborgKL };
template <>
struct Choices<Loss> {
  static constexpr Choice<Loss> kAll[] = {
      {Loss::kCrossEntropy, "ce", "cross entropy, without guidance"},
      {Loss::kCyborgL1, "cyborg-l1", ""},
      {Loss::kCyborgL2, "cyborg-l2", ""},
      {Loss::kCyborgKL, "cyborg-kl", ""}};
};

/// What makes an epoch the best one, whose weights best.pt keeps.
enum class SelectBy { kAccuracy, kAuc, kLoss, kLast };
template <>
struct Choices<SelectBy> {
  static constexpr Choice<SelectBy> kAll[] = {
      {SelectBy::kAccuracy, "accuracy", ""},
      {SelectBy::kAuc, "auc", "the area under the ROC curve"},
      {SelectBy::kLoss, "loss", "the lowest cross entropy"},
      {SelectBy::kLast, "last", "always the last epoch"}};
};

/// How the pictures of an epoch are chosen.
enum class Sampler { kAll, kBalanced };
template <>
struct Choices<Sampler> {
  static constexpr Choice<Sampler> kAll[] = {
      {Sampler::kAll, "all", "each picture once"},
      {Sampler::kBalanced, "balanced",
       "as many, drawn with replacement so that all classes are equally "
       "frequent"}};
};

enum class OptimizerKind { kSgd, kAdam, kAdamW };
template <>
struct Choices<OptimizerKind> {
  static constexpr Choice<OptimizerKind> kAll[] = {
      {OptimizerKind::kSgd, "sgd", ""},
      {OptimizerKind::kAdam, "adam", ""},
      {OptimizerKind::kAdamW, "adamw", ""}};
};

// Choices of the library. CamClass::kAll is not here: one map is guided.
template <>
struct Choices<cyborg::CamClass> {
  static constexpr Choice<cyborg::CamClass> kAll[] = {
      {cyborg::CamClass::kLabel, "label", "the true class"},
      {cyborg::CamClass::kPredicted, "predicted",
       "the class that the network predicts, as in the first published "
       "code"},
      {cyborg::CamClass::kDifference, "difference",
       "the true class, minus the strongest other one"}};
};

template <>
struct Choices<cyborg::Normalizer> {
  static constexpr Choice<cyborg::Normalizer> kAll[] = {
      {cyborg::Normalizer::kMinMax, "minmax", ""},
      {cyborg::Normalizer::kMax, "max", ""},
      {cyborg::Normalizer::kSum, "sum", ""},
      {cyborg::Normalizer::kSoftmax, "softmax", ""},
      {cyborg::Normalizer::kNone, "none", ""}};
};

template <>
struct Choices<cyborg::Reduction> {
  static constexpr Choice<cyborg::Reduction> kAll[] = {
      {cyborg::Reduction::kMean, "mean", ""},
      {cyborg::Reduction::kSum, "sum", ""}};
};

template <>
struct Choices<cyborg::train::Decay> {
  static constexpr Choice<cyborg::train::Decay> kAll[] = {
      {cyborg::train::Decay::kStep, "step", "by a factor every few epochs"},
      {cyborg::train::Decay::kCosine, "cosine", "along half a cosine, to 0"},
      {cyborg::train::Decay::kNone, "none", "not at all"}};
};

template <>
struct Choices<cyborg::data::MapValues> {
  static constexpr Choice<cyborg::data::MapValues> kAll[] = {
      {cyborg::data::MapValues::kGrey, "grey",
       "the grey value, and a map of colours is an error"},
      {cyborg::data::MapValues::kLuminance, "luminance",
       "the brightness of colours"},
      {cyborg::data::MapValues::kAlpha, "alpha",
       "the alpha channel, where opaque means salient"}};
};

template <>
struct Choices<cyborg::data::Orientation> {
  static constexpr Choice<cyborg::data::Orientation> kAll[] = {
      {cyborg::data::Orientation::kIgnore, "ignore",
       "all files are used as they are stored"},
      {cyborg::data::Orientation::kPicture, "picture",
       "pictures are turned, maps are not"},
      {cyborg::data::Orientation::kBoth, "both",
       "pictures and maps are turned, each by its own tag"}};
};

/// What the number of a Gaussian's width means.
enum class WidthUnit { kFullWidth, kSigma, kDegrees };
template <>
struct Choices<WidthUnit> {
  static constexpr Choice<WidthUnit> kAll[] = {
      {WidthUnit::kFullWidth, "fwhm",
       "the full width at half maximum, in pixels of the picture"},
      {WidthUnit::kSigma, "sigma",
       "the standard deviation, in pixels of the picture"},
      {WidthUnit::kDegrees, "degrees",
       "the standard deviation, in degrees of visual angle, which needs "
       "--screen"}};
};

template <>
struct Choices<cyborg::data::Combine> {
  static constexpr Choice<cyborg::data::Combine> kAll[] = {
      {cyborg::data::Combine::kMean, "mean", "features of interest"},
      {cyborg::data::Combine::kUnion, "union",
       "area of interest: what anybody marked"},
      {cyborg::data::Combine::kBox, "box",
       "box of interest: the box around that area"},
      {cyborg::data::Combine::kAgreement, "agreement",
       "the mean, weighted by how well an annotator agrees with the others"}};
};

/// What people marked, and how maps are drawn from it.
struct AnnotationSettings {
  std::string file;  ///< or a folder with a folder for each annotator
  std::string name;  ///< COCO: a category; VISER: a configuration; empty: all
  double width = 0;  ///< of points and fixations; 0: not given
  WidthUnit unit = WidthUnit::kFullWidth;
  std::vector<double> screen;  ///< distance in cm, pixels in one cm
  cyborg::data::Combine combine = cyborg::data::Combine::kMean;
  double threshold = 0.5;  ///< for union and box
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(
    AnnotationSettings, file, name, width, unit, screen, combine, threshold)

template <>
struct Choices<cyborg::Balance> {
  static constexpr Choice<cyborg::Balance> kAll[] = {
      {cyborg::Balance::kFixed, "fixed", "--alpha"},
      {cyborg::Balance::kTaskShare, "task-share",
       "alpha is the task's share of both losses in each batch, as in VISER, "
       "but has no gradient"},
      {cyborg::Balance::kTaskShareAttached, "task-share-attached",
       "the same with the gradient of VISER's code, which can train away from "
       "people's maps"}};
};

/// What gives each picture its weight in the loss.
enum class SampleWeights { kColumn, kReactionTime, kQuickAnswers, kAccuracy };
template <>
struct Choices<SampleWeights> {
  static constexpr Choice<SampleWeights> kAll[] = {
      {SampleWeights::kColumn, "column", "the column weight, if there is one"},
      {SampleWeights::kReactionTime, "reaction-time",
       "pictures to which people answered slowly weigh more"},
      {SampleWeights::kQuickAnswers, "quick-answers",
       "pictures to which people answered quickly weigh more"},
      {SampleWeights::kAccuracy, "accuracy",
       "pictures that people judged wrongly weigh more"}};
};

/// What a training minimises, beside the distance that `Loss` names.
struct ObjectiveSettings {
  std::vector<TermSetting> terms;
  std::string wrong;  ///< a folder of masks of what must not be used
  /// "balanced", or NAME=FACTOR for some classes; the others have 1.
  std::vector<std::string> class_weights;
  double focal = 0;            ///< exponent of the focal loss; 0: none
  double label_smoothing = 0;  ///< share of the label that all classes get
  SampleWeights sample_weights = SampleWeights::kColumn;
  double weight_strength = 1;  ///< the largest weight is 1 plus this
  /// What sets alpha. Unless it is fixed, `Settings::alpha` is not used.
  cyborg::Balance balance = cyborg::Balance::kFixed;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(
    ObjectiveSettings, terms, wrong, class_weights, focal, label_smoothing,
    sample_weights, weight_strength, balance)

/// What the stored values of the training's pictures were, with which the programs
/// that use its checkpoint compare theirs.
struct StoredValues {
  bool allow_bits_by_class = false;  ///< the number of bits may tell the class
  std::vector<int64_t> bits;         ///< of training pictures; empty: not known
  // Means over some training pictures. They are not measured where all have 8
  // bits and there is no window.
  int64_t pictures = 0;  ///< that were looked at
  double below = 0;      ///< share of the values below the window
  double above = 0;      ///< share of the values above it
  double mean = 0;       ///< of what is shown, in [0, 1]
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(
    StoredValues, allow_bits_by_class, bits, pictures, below, above, mean)

/// The default values are the published recipe for CYBORG (docs/train.md).
struct Settings {
  // Pictures
  std::string data;      ///< a CSV, or a folder split/class/*.png
  std::string saliency;  ///< a folder of human maps
  AnnotationSettings annotations;
  std::string positive;              ///< of two classes, the one of label 1
  std::vector<std::string> classes;  ///< read from the training split
  std::vector<int64_t> size = {224, 224};  ///< H, W; empty: not resized
  int64_t channels = 3;
  std::vector<double> window;  ///< stored values for 0 and 1; empty: none
  StoredValues stored;
  std::vector<double> mean = {0.485, 0.456, 0.406};  // ImageNet's
  std::vector<double> stddev = {0.229, 0.224, 0.225};
  double map_blur = 0;
  bool skip_unreadable = false;
  std::string path_column = "path";    ///< of the CSV
  std::string class_column = "class";  ///< of the CSV
  std::string split_column = "split";  ///< of the CSV
  cyborg::data::MapValues map_values = cyborg::data::MapValues::kGrey;
  cyborg::data::Orientation exif_orientation =
      cyborg::data::Orientation::kIgnore;
  int64_t max_pixels = int64_t{1} << 26;  ///< of a picture or a map
  bool any_extension = false;             ///< a JPEG may be named .png
  int64_t folds = 0;  ///< parts of all subjects; 0: splits as in the table
  int64_t fold = 0;   ///< from 1: the part that is tested
  bool allow_shared_subjects = false;  ///< the same subject in several splits

  // Augmentation; none is published
  double flip = 0;           ///< probability, left and right
  double vertical_flip = 0;  ///< probability
  double min_area = 1;       ///< smallest part of the picture that a crop keeps
  double rotation = 0;       ///< largest angle in degrees, in both directions
  double scale = 1;          ///< largest factor; its inverse is the smallest
  double brightness = 0, contrast = 0, saturation = 0;

  // Network
  Architecture network = Architecture::kDenseNet121;
  std::string model;    ///< a TorchScript file that replaces `network`
  std::string weights;  ///< a file of weights that Python wrote
  std::string layer;    ///< whose output gives the map; empty: found

  // Loss
  Loss loss = Loss::kCyborgL2;
  double alpha = 0.5;  ///< 1 where the loss is cross entropy
  cyborg::CamClass cam_class = cyborg::CamClass::kLabel;
  std::optional<cyborg::Normalizer> map_normalizer;    ///< none: the distance's
  std::optional<cyborg::Normalizer> human_normalizer;  ///< none: the distance's
  cyborg::Reduction reduction = cyborg::Reduction::kMean;
  ObjectiveSettings objective;

  // Optimisation
  OptimizerKind optimizer = OptimizerKind::kSgd;
  double learning_rate = 0.005;
  double momentum = 0.9;
  double weight_decay = 1e-6;
  cyborg::train::Decay schedule = cyborg::train::Decay::kStep;
  int64_t step_epochs = 12;
  double step_factor = 0.1;
  double warm_up = 0;
  int64_t epochs = 50;
  int64_t batch = 20;
  int64_t accumulate = 1;
  double clip = 0;
  double ema = 0;  ///< decay of the moving average of the weights; 0: none
  Sampler sampler = Sampler::kAll;
  SelectBy select = SelectBy::kAccuracy;
  int64_t patience = 0;
  bool sync_batch_norm = false;  ///< across several processes

  // Run
  uint64_t seed = 0;
  bool deterministic = false;
  bool bfloat16 = false;
};
// A setting that an older checkpoint lacks has its default.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(
    Settings, data, saliency, annotations, positive, classes, size, channels,
    window, stored, mean, stddev, map_blur, skip_unreadable, path_column,
    class_column, split_column, map_values, exif_orientation, max_pixels,
    any_extension, folds, fold, allow_shared_subjects, flip, vertical_flip,
    min_area, rotation, scale, brightness, contrast, saturation, network, model,
    weights, layer, loss, alpha, cam_class, map_normalizer, human_normalizer,
    reduction, objective, optimizer, learning_rate, momentum, weight_decay,
    schedule, step_epochs, step_factor, warm_up, epochs, batch, accumulate,
    clip, ema, sampler, select, patience, sync_batch_norm, seed, deterministic,
    bfloat16)

}  // namespace programs
