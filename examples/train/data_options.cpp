// SPDX-License-Identifier: BSD-3-Clause
#include "option_groups.hpp"

#include "../common/annotations/options.hpp"
#include "../common/command_line.hpp"
#include "../common/numbers.hpp"

#include <string>

namespace programs {

namespace {

void add_pictures(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Pictures");
  group
      ->add_option(
          "--data", s.data,
          "CSV (split,class,path[,saliency], or with a header), or a folder "
          "split/class/*.png")
      ->type_name("PATH");
  group
      ->add_option(
          "--saliency", s.saliency,
          "folder of human maps with the names of the pictures, for rows that "
          "name no map")
      ->type_name("DIR");
  group
      ->add_option(
          "--wrong", s.objective.wrong,
          "folder of masks of what must not be used (white: wrong), with the "
          "names of the pictures, for rows that name none")
      ->type_name("DIR");
  const auto add_column = [&](const char* flag, std::string& name,
                              const char* text) {
    group->add_option(flag, name, text)
        ->type_name("NAME")
        ->capture_default_str();
  };
  add_column("--path-column", s.path_column, "the CSV's column of pictures");
  add_column("--class-column", s.class_column, "the CSV's column of classes");
  add_column("--split-column", s.split_column, "the CSV's column of splits");
  group->add_option(
      "--positive", s.positive,
      "the class of label 1; needed for two classes other than "
      "Real/Synthetic, Live/Spoof and normal/abnormal");
  group
      ->add_option(
          "--size", s.size,
          "height and width that pictures are resized to; 0 0: no resizing")
      ->expected(2)
      ->type_name("HEIGHT WIDTH")
      ->check(whole_number(0))
      ->capture_default_str();
  group->add_option("--channels", s.channels, "1: grey, 3: RGB")
      ->check(CLI::Validator(
          [](const std::string& text) {
            return text == "1" || text == "3"
                       ? std::string()
                       : "expected 1 (grey) or 3 (RGB), got " + text;
          },
          ""))
      ->capture_default_str();
  group
      ->add_option(
          "--window", s.window,
          "the stored values of pictures that become black and white, for "
          "example 0,4095 for 12 bits in files of 16; values outside are cut, "
          "and human maps are not changed; without this option all values are "
          "kept")
      ->delimiter(',')
      ->expected(2)
      ->type_name("LOW,HIGH");
  group->add_flag(
      "--allow-bits-by-class", s.stored.allow_bits_by_class,
      "train although the pictures of one class have 8 bits and those of "
      "others 16, so that a network may learn the bits");
  group
      ->add_option(
          "--mean", s.mean,
          "subtracted from the channels of pictures in [0, 1]; with "
          "--channels 1 the default is 0.449")
      ->expected(1, 3)
      ->check(kFinite)
      ->capture_default_str();
  group
      ->add_option(
          "--std", s.stddev,
          "the channels are then divided by it; with --channels 1 the default "
          "is 0.226")
      ->expected(1, 3)
      ->check(kPositive)
      ->capture_default_str();
  group
      ->add_option(
          "--map-blur", s.map_blur,
          "standard deviation of a Gaussian blur of human maps, in pixels of "
          "the map; 0: no blur")
      ->check(kNotNegative)
      ->capture_default_str();
  add_choice(
      *group, "--map-values", s.map_values,
      "how the values of a human map are read");
  add_choice(
      *group, "--exif-orientation", s.exif_orientation,
      "which files are turned as their EXIF orientation says");
  group
      ->add_option(
          "--max-pixels", s.max_pixels,
          "pictures and maps of more pixels cannot be read")
      ->check(whole_number(1))
      ->capture_default_str();
  group->add_flag(
      "--any-extension", s.any_extension,
      "read files whose name says another format than their content");
  group->add_flag(
      "--skip-unreadable", s.skip_unreadable,
      "leave out pictures and maps that cannot be read, and list them; "
      "without this option the first one ends the training");
}

void add_folds(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group("Folds");
  group
      ->add_option(
          "--folds", s.folds,
          "parts that the subjects (column subject) of all splits are divided "
          "into, for cross-validation; 0: the splits of the table")
      ->check(whole_number(0))
      ->capture_default_str();
  group
      ->add_option(
          "--fold", s.fold,
          "the part that is tested, from 1 to --folds; the next part is for "
          "validation (after the last one comes the first), the others are for "
          "training")
      ->check(whole_number(0))
      ->capture_default_str();
  group->add_flag(
      "--allow-shared-subjects", s.allow_shared_subjects,
      "train although a subject is in several splits, so that the results are "
      "too good");
}

void add_augmentation(CLI::App& app, Settings& s) {
  auto* group = app.add_option_group(
      "Augmentation",
      "random changes: of position, for the picture and its map alike, and of "
      "colour, for the picture alone");
  const auto add = [&](const char* flag, double& value, const char* text) {
    return group->add_option(flag, value, text)->capture_default_str();
  };
  add("--flip", s.flip, "probability of exchanging left and right")
      ->check(kShare);
  add("--vertical-flip", s.vertical_flip,
      "probability of exchanging top and bottom")
      ->check(kShare);
  add("--min-area", s.min_area,
      "smallest part of the picture's area that a crop keeps; 1: no crop")
      ->check(kShare);
  add("--rotation", s.rotation,
      "largest rotation in degrees, in both directions")
      ->check(kNotNegative);
  add("--scale", s.scale,
      "largest factor of enlarging and of shrinking; 1: neither")
      ->check(kPositive);
  add("--brightness", s.brightness, "largest change of brightness")
      ->check(kShare);
  add("--contrast", s.contrast, "largest change of contrast")->check(kShare);
  add("--saturation", s.saturation, "largest change of saturation")
      ->check(kShare);
}

}  // namespace

void add_data_options(CLI::App& app, Settings& settings) {
  add_pictures(app, settings);
  add_annotation_options(
      *app.add_option_group(
          "Annotations",
          "what people marked on the pictures, from which human maps are "
          "drawn"),
      settings.annotations);
  add_folds(app, settings);
  add_augmentation(app, settings);
}

}  // namespace programs
