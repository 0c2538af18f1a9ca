// SPDX-License-Identifier: BSD-3-Clause
#include "options.hpp"

#include "../command_line.hpp"
#include "../numbers.hpp"

#include <map>
#include <string>

namespace programs {

namespace {

/// From an option to the member that it sets.
const std::map<std::string, std::string> kMembers{
    {"--annotations", "file"},
    {"--annotation-name", "name"},
    {"--annotation-width", "width"},
    {"--annotation-unit", "unit"},
    {"--screen", "screen"},
    {"--combine-annotators", "combine"},
    {"--annotation-threshold", "threshold"}};

}  // namespace

void add_annotation_options(CLI::App& app, AnnotationSettings& s) {
  app.add_option(
         "--annotations", s.file,
         "what people marked, by the names of the pictures: JSON of COCO, "
         "VISER "
         "or CVRL's annotation tool, a CSV of fixations "
         "(image,x,y[,duration,observer,time]), or a folder with a folder of "
         "human maps for each annotator")
      ->type_name("PATH");
  app.add_option(
      "--annotation-name", s.name,
      "COCO: the category of the objects that are used; VISER: the "
      "configuration of the maps");
  app.add_option(
         "--annotation-width", s.width,
         "width of the Gaussian of each point and fixation; needed where there "
         "are any")
      ->check(kNotNegative)
      ->default_str("");
  add_choice(app, "--annotation-unit", s.unit, "what --annotation-width is");
  app.add_option(
         "--screen", s.screen,
         "distance from the eye to the screen in cm, and pixels of the picture "
         "in one cm of the screen")
      ->expected(2)
      ->type_name("CM PIXELS");
  add_choice(
      app, "--combine-annotators", s.combine,
      "how the maps of several annotators become one");
  app.add_option(
         "--annotation-threshold", s.threshold,
         "for union and box: an annotator, whose values are in [0, 1], marked "
         "what is above it")
      ->check(kShare)
      ->capture_default_str();
}

std::string annotation_setting(const std::string& flag) {
  const auto found = kMembers.find(flag);
  return found == kMembers.end() ? "" : found->second;
}

AnnotationSettings with_given(
    const CLI::App& app, const AnnotationSettings& given,
    const AnnotationSettings& base) {
  const nlohmann::json values = given;
  nlohmann::json merged = base;
  for (const auto& [flag, member] : kMembers) {
    if (app.get_option(flag)->count() > 0) {
      merged[member] = values.at(member);
    }
  }
  // Another unit needs no screen, and a file of its own no name.
  if (app.get_option("--annotation-unit")->count() > 0 &&
      app.get_option("--screen")->count() == 0 &&
      given.unit != WidthUnit::kDegrees) {
    merged["screen"] = nlohmann::json::array();
  }
  return merged.get<AnnotationSettings>();
}

}  // namespace programs
