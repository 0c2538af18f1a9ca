// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where a network looks: its maps of pictures, as files.

#include "../common/settings.hpp"

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

/// The file that a map itself is written to, beside the overlay.
enum class MapFile {
  kNone,
  kTensor,  ///< .pt: the tensor [h, w], for torch.load
  kGrey,    ///< .png: stretched to [0, 255], for use as a human map
};

/// The class whose map is made.
enum class MapClass {
  kPredicted,  ///< the class that the network predicts
  kLabel,      ///< the true class
  kNamed,      ///< the class of the given name, for all pictures
};

/// What is explained, and how.
struct ExplainOptions {
  std::filesystem::path checkpoint;
  std::filesystem::path out;
  MapClass map_class = MapClass::kPredicted;
  std::string class_name;  ///< with `MapClass::kNamed`
  cyborg::CamMethod method = cyborg::CamMethod::kAuto;
  std::string layer;       ///< empty: the one of the training
  int64_t rise_masks = 0;  ///< above 0: RISE with so many masks instead
  cyborg::report::OverlayOptions overlay;
  /// Longest side of overlays and comparisons in pixels, to which larger
  /// pictures are shrunk; 0: the size of the picture.
  int64_t overlay_size = 1024;
  MapFile maps = MapFile::kNone;
  bool skip_unreadable = false;
  std::string device = "cpu";
  int64_t workers = 2;
  int64_t batch = 20;
  /// How annotations become maps; none: as in the training.
  std::optional<programs::AnnotationSettings> annotations = std::nullopt;
};

/// How well a network's map and a human map agree; see cyborg/measure.
struct Agreement {
  double correlation, similarity, divergence, iou;
};

/// One picture, explained.
struct Explained {
  std::string path;
  std::string name;                    ///< its files begin with it
  std::string truth;                   ///< its class; empty: unknown
  std::string explained;               ///< the class whose map was made
  double probability;                  ///< of that class, by the network
  std::optional<Agreement> agreement;  ///< with a human map only
  /// Thumbnails for the report, of the first `kShown` pictures only: the
  /// picture, the human map ("" where there is none), the network's map.
  std::vector<std::string> png;
};

/// How many pictures the report shows.
constexpr size_t kShown = 40;

/// All pictures, explained.
struct ExplainResult {
  std::vector<Explained> pictures;
  std::vector<std::string> skipped;  ///< unreadable, with reasons
  /// How the stored values differ from those of the training, and pictures of
  /// which its window shows nothing.
  std::vector<std::string> stored_values;
  /// Pictures whose human map has the same value everywhere, which says
  /// nothing: they count as pictures without a map.
  std::vector<std::string> constant_maps;
  /// With `MapFile::kGrey`: a table of the pictures that have a class, with the
  /// written maps as human maps, for `train`; else "".
  std::string maps_table;
  std::string method;  ///< how maps were made: layer and reason
};

/// The settings of a checkpoint's training, with the classes of its network in
/// the order of labels.
/// Throws: `cyborg::io::FileError`.
programs::Settings settings_of(const std::filesystem::path& checkpoint);

/// Runs the network on pictures and writes files into `options.out` for each:
/// NAME_overlay.png, the network's map over the picture; with a human map
/// NAME_compare.png, the picture and both maps side by side; and, with
/// `options.maps`, NAME_map.pt or NAME_map.png. In memory are a few batches and
/// one picture of full size, whatever the number of pictures.
/// Throws: `cyborg::io::FileError`, for pictures and maps that are missing
/// before any other work; `std::invalid_argument` for a class that the network
/// does not have; `c10::Error` for a network without maps.
ExplainResult explain_pictures(
    const std::vector<cyborg::data::Row>& rows, const ExplainOptions& options);

/// A CSV file with a line for each picture: path, name, class, explained,
/// probability, correlation, similarity, divergence, iou. A measure that does
/// not exist is an empty cell.
std::string to_csv(const ExplainResult& result);

}  // namespace explain
