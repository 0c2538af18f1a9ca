// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A network's maps of pictures, as files that a person or a program reads.

#include <cyborg/cam/methods.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/report/overlay.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace explain {

/// How maps are kept beside the pictures of them.
enum class MapFile {
  kNone,
  kTensor,  ///< .pt: a tensor [h, w] as it is, for torch.load
  kGrey,    ///< .png: stretched to [0, 255], for use as a human map
};

/// What is asked.
struct Question {
  std::filesystem::path checkpoint;
  std::filesystem::path out;
  /// "predicted", "label", or the name of a class: whose map it is.
  std::string which = "predicted";
  cyborg::CamMethod method = cyborg::CamMethod::kAuto;
  std::string layer;  ///< empty: the one trained with
  cyborg::report::OverlayOptions overlay;
  MapFile maps = MapFile::kNone;
  bool skip_unreadable = false;
  std::string device = "cpu";
  int64_t workers = 2;
  int64_t batch = 20;
};

/// How far a network's map and people's agree (docs: cyborg/measure).
struct Agreement {
  double correlation, similarity, divergence, iou;
};

/// What became of one picture.
struct Explained {
  std::string path;
  std::string name;                    ///< what its files begin with
  std::string truth;                   ///< its class; empty: not said
  std::string explained;               ///< whose map it is
  double probability;                  ///< that the network gives that class
  std::optional<Agreement> agreement;  ///< where people drew a map
  /// Of the first `kShown`: picture, people's map ("" without), network's, PNG.
  std::vector<std::string> png;
};

/// Pictures that the report shows.
constexpr size_t kShown = 40;

/// All of them.
struct Result {
  std::vector<Explained> pictures;
  std::vector<std::string> skipped;  ///< unreadable, with reasons
  std::string method;                ///< in words: layer, and why so
};

/// The classes that the network of a checkpoint knows, in the order of labels.
/// Throws: `cyborg::io::FileError`.
std::vector<std::string> known_classes(const std::filesystem::path& checkpoint);

/// Runs the network over pictures and writes, into `out`, for each:
/// NAME_overlay.png, its map over the picture; where people drew a map
/// NAME_compare.png, picture, their map and the network's side by side; and
/// NAME_map.pt or .png where asked.
/// Throws: `cyborg::io::FileError`; `c10::Error` for a network without maps.
Result explain_pictures(
    const std::vector<cyborg::data::Row>& rows, const Question& question);

/// A line a picture: path, name, class, explained, probability, correlation,
/// similarity, divergence, iou.
std::string to_csv(const Result& result);

}  // namespace explain
