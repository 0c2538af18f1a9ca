// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Readers of the files that annotation tools write. read.hpp chooses one of
// them. Unknown keys are ignored; what is there twice is an error.

#include "json_file.hpp"

#include <cyborg/data/attach_annotations.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace programs {

/// COCO: boxes, polygons and run lengths of objects. `category`: the name of
/// the objects that are read; empty: all. An object with a segmentation has
/// that, any other its box. All objects of a picture are one annotation.
/// Throws: `cyborg::io::FileError` with the key.
cyborg::data::AnnotationFile read_coco(
    const JsonFile& file, const std::string& category);

/// VISER: a list of {irisImageLink, saliencyMaps: {configuration: path}}.
/// `configuration` chooses; empty: the only one. Paths start at the folder of
/// the file.
/// Throws: `cyborg::io::FileError` with the key.
cyborg::data::AnnotationFile read_viser(
    const JsonFile& file, const std::string& configuration);

/// The annotation tool of CVRL: a PNG in base64 for each picture and annotator,
/// marked where it is not transparent. As its programming interface lists them
/// ([{image, annotator, annotation}]), as a browser sends them (img_id for
/// image), or as Django dumps the data base.
/// Throws: `cyborg::io::FileError` with the key.
cyborg::data::AnnotationFile read_cvrl(const JsonFile& file);

/// The same of a CSV of its table, api_annotation, as PostgreSQL writes it:
/// columns image_id, annotator_id and annotation.
/// Throws: `cyborg::io::FileError` with the line.
cyborg::data::AnnotationFile read_cvrl_csv(const std::filesystem::path& csv);

/// The runs of COCO's compressed run lengths. `fail(reason)` throws.
std::vector<int64_t> coco_runs(
    const std::string& text,
    const std::function<void(const std::string&)>& fail);

/// The bytes of a text in base64. `fail(reason)` throws.
std::string from_base64(
    std::string_view text, const std::function<void(const std::string&)>& fail);

}  // namespace programs
