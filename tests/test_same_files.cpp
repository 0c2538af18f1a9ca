// SPDX-License-Identifier: BSD-3-Clause
//
// Files that a table names for two things.
#include "catch.hpp"

#include "pictures.hpp"

#include <cyborg/data/same_files.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace data = cyborg::data;
namespace fs = std::filesystem;
using pictures::Folder;

namespace {

using Texts = std::vector<std::string>;

/// "row: path: text" of each note.
Texts texts_of(const std::vector<data::FileNote>& notes) {
  Texts texts;
  for (const auto& note : notes) {
    texts.push_back(
        std::to_string(note.row) + ": " + note.path + ": " + note.text);
  }
  return texts;
}

/// A table of pictures whose rows name them.
data::Table table_with(const std::vector<std::string>& paths) {
  data::Table table;
  for (const auto& path : paths) {
    table.rows.emplace_back();
    table.rows.back().path = path;
    table.rows.back().line = table.rows.size() + 1;  // below a header
  }
  return table;
}

data::AnnotationPtr mask_of(const std::string& path) {
  data::Annotation annotation;
  annotation.mask = path;
  return std::make_shared<data::Annotation>(std::move(annotation));
}

}  // namespace

TEST_CASE("A picture that is its own map is found", "[data][same]") {
  const Folder folder;
  const auto a = folder.write("a.png", "picture A");
  const auto b = folder.write("b.png", "picture B");
  const auto map = folder.write("maps/a.png", "the map of A");
  auto table = table_with({a, b});
  table.rows[0].saliency = {map, ""};
  CHECK(data::check_maps_are_others(table).empty());
  const auto text_of = [&](const std::string& path) {
    table.rows[0].saliency = {map, path};
    const auto notes = data::check_maps_are_others(table);
    if (notes.empty()) {
      return std::string();
    }
    CHECK(notes.size() == 1);
    CHECK(notes[0].row == 0);
    CHECK(notes[0].path == path);
    return notes[0].text;
  };
  const std::string itself =
      "is the picture itself, and is named as its human map";
  CHECK(text_of(a) == itself);
  CHECK(text_of(folder / "./maps/../a.png") == itself);
  CHECK(text_of(fs::relative(a).string()) == itself);
  fs::create_symlink(a, folder / "link.png");
  CHECK(text_of(folder / "link.png") == itself);
  fs::create_hard_link(a, folder / "hard.png");
  CHECK(text_of(folder / "hard.png") == itself);
  fs::create_directory_symlink(folder.path(), folder / "linked");
  CHECK(text_of(folder / "linked/a.png") == itself);
  CHECK(
      text_of(b) == "is a picture of the table, " + b +
                        " (line 3), and is named as its human map");
  CHECK(
      text_of(folder.write("copy.png", "picture A")) ==
      "is a copy of the picture " + a + ", and is named as its human map");
  CHECK(text_of(folder.write("as_long.png", "picture C")) == "");
  CHECK(text_of(folder / "gone.png") == "");  // check_files tells of it
  // A mask that an annotator marked.
  table.rows[0].saliency.clear();
  table.rows[0].annotations = {mask_of(map), mask_of(a)};
  CHECK(
      texts_of(data::check_maps_are_others(table)) ==
      Texts{"0: " + a + ": " + itself});
  // Without maps nothing is found, and of no picture the map of another.
  CHECK(data::check_maps_are_others(table_with({a, a})).empty());
  CHECK(data::check_maps_are_others(table_with({"", ""})).empty());
}

TEST_CASE("A mask is neither the picture nor its map", "[data][same]") {
  const Folder folder;
  const auto a = folder.write("a.png", "picture A");
  const auto map = folder.write("map.png", "the map of A");
  auto table = table_with({a});
  const auto text_of = [&](const std::string& wrong) {
    table.rows[0].wrong = wrong;
    const auto notes = data::check_maps_are_others(table);
    return notes.empty() ? std::string() : notes[0].text;
  };
  const std::string end = ", and is named as its mask of what is wrong";
  CHECK(text_of(a) == "is the picture itself" + end);
  CHECK(text_of(map) == "");
  table.rows[0].saliency = {map};
  CHECK(text_of(folder / "./map.png") == "is the human map" + end);
  CHECK(
      text_of(folder.write("copy.png", "the map of A")) ==
      "is a copy of the human map " + map + end);
  CHECK(text_of(folder.write("mask.png", "other bytes!")) == "");
  table.rows[0].saliency.clear();
  table.rows[0].annotations = {mask_of(map)};
  CHECK(text_of(map) == "is the human map" + end);
}

TEST_CASE("A map of several pictures is found", "[data][same]") {
  const Folder folder;
  const auto a = folder.write("a.png", "A");
  const auto b = folder.write("b.png", "B");
  const auto c = folder.write("c.png", "C");
  const auto map = folder.write("map.png", "M");
  fs::create_symlink(map, folder / "link.png");
  auto table = table_with({a, b, c});
  table.rows[0].saliency = {map};
  table.rows[1].saliency = {folder.write("other.png", "M")};  // a copy only
  table.rows[2].wrong = map;
  CHECK(data::check_shared_maps(table).empty());
  table.rows[1].saliency = {"", folder / "link.png"};
  CHECK(
      texts_of(data::check_shared_maps(table)) ==
      Texts{
          "0: " + map + ": is the human map of 2 pictures: " + a + ", " + b +
          " (line 3)"});
  table.rows[2].annotations = {mask_of(folder / "./map.png")};
  CHECK(
      texts_of(data::check_shared_maps(table)) ==
      Texts{
          "0: " + map + ": is the human map of 3 pictures: " + a + ", " + b +
          " (line 3), ..."});
  // The same picture in two rows, and two maps of one picture.
  auto twice = table_with({a, folder / "./a.png"});
  twice.rows[0].saliency = {map, map};
  twice.rows[1].saliency = {map};
  CHECK(data::check_shared_maps(twice).empty());
}
