// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The annotations that settings name.

#include "../settings.hpp"

#include <cyborg/data/attach_annotations.hpp>
#include <cyborg/data/dataset.hpp>
#include <cyborg/data/table_types.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace programs {

/// Reads a file of annotations; what it is, its content says: JSON of COCO,
/// VISER or CVRL's tool, or a CSV of fixations or of CVRL's tool. `name`: the
/// category or configuration that is read.
/// Throws: `cyborg::io::FileError` with file and line or key.
cyborg::data::AnnotationFile read_annotations(
    const std::filesystem::path& path, const std::string& name);

/// Gives the rows of a table the annotations that `settings.file` names: a file,
/// or a folder with a folder of maps for each annotator. None if it is "". Adds a
/// warning where all coordinates, also those of the table's columns, are in
/// [0, 1].
/// Throws: `cyborg::io::FileError`.
void attach_annotations(
    cyborg::data::Table& table, const AnnotationSettings& settings);

/// The width of points and fixations; none if it was not given.
std::optional<cyborg::human::GaussianWidth> point_width(
    const AnnotationSettings& settings);

/// Throws: `std::invalid_argument` for settings that contradict one another.
void check_annotation_settings(const AnnotationSettings& settings);

/// Throws: `std::invalid_argument` where rows have points or fixations and the
/// settings no width.
void check_point_width(
    const std::vector<cyborg::data::Row>& rows,
    const AnnotationSettings& settings);

/// The part of the options of a data set that says how annotations become maps.
void set_annotation_options(
    const AnnotationSettings& settings,
    cyborg::data::PictureDatasetOptions& options);

}  // namespace programs
