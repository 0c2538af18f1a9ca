// SPDX-License-Identifier: BSD-3-Clause
//
// Tables as others write them: other names of columns and splits, other
// separators, maps beside the pictures, linked folders.
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/data/table.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace data = cyborg::data;
namespace fs = std::filesystem;
using data::TableOptions;
using pictures::Folder;
using support::contains;
using support::error_of;

namespace {

using Strings = std::vector<std::string>;

data::Table table_in(
    const Folder& folder, const std::string& text,
    const TableOptions& options = {}) {
  return data::read_table(folder.write("t.csv", text), options);
}

std::string reason_in(
    const Folder& folder, const std::string& text,
    const TableOptions& options = {}) {
  try {
    table_in(folder, text, options);
  } catch (const cyborg::io::FileError& error) {
    return error.reason();
  }
  return "";
}

/// A table of the pictures x/NAME of split train and class a.
data::Table pictures_named(const Strings& names) {
  data::Table table;
  for (const auto& name : names) {
    data::Row row;
    row.split = "train";
    row.cls = "a";
    row.path = "x/" + name;
    table.rows.push_back(row);
  }
  return table;
}

/// The maps of these pictures in a folder, without its name.
Strings maps_of(const Folder& folder, data::Table table) {
  data::find_maps(table, TableOptions().saliency(folder / ""));
  Strings maps;
  for (const auto& row : table.rows) {
    maps.push_back(
        row.saliency.empty()
            ? ""
            : fs::relative(row.saliency[0], folder.path()).string());
  }
  return maps;
}

}  // namespace

TEST_CASE("Splits have the names that people give them", "[data][table]") {
  const Folder folder;
  const auto table = table_in(
      folder,
      "Train,Real,1.png\nTRAIN,Synthetic,2.png\nvalid,Real,3.png\n"
      "Validation,Real,4.png\ndev,Real,5.png\nVAL,Real,6.png\n"
      "Test,Real,7.png\n");
  Strings splits;
  for (const auto& row : table.rows) {
    splits.push_back(row.split);
  }
  CHECK(
      splits == Strings{"train", "train", "val", "val", "val", "val", "test"});
  CHECK(table.warnings.empty());
  CHECK(
      reason_in(folder, "train,Real,1.png\nvals,Real,2.png\n") ==
      "unknown split \"vals\", expected train, val, test or ignore");
}

TEST_CASE("Folders of splits have these names, too", "[data][table]") {
  const Folder folder;
  for (const auto* name :
       {"Train/Real/1.png", "valid/Real/2.png", "TEST/Synthetic/3.png"}) {
    folder.write(name, "x");
  }
  const auto table = data::read_folders(folder.path());
  REQUIRE(table.rows.size() == 3);
  CHECK(table.rows[0].split == "test");
  CHECK(table.rows[0].path == folder / "TEST/Synthetic/3.png");
  CHECK(table.rows[1].split == "train");
  CHECK(table.rows[2].split == "val");
  CHECK(table.warnings.empty());
  folder.write("val/Real/4.png", "x");
  CHECK(
      error_of([&] { data::read_folders(folder.path()); }) ==
      "cyborg::data::read_folders: " + folder.path().string() +
          ": holds two folders of split val, val and valid");
}

TEST_CASE("Columns have the names that the user gives", "[data][table]") {
  const Folder folder;
  const auto options = TableOptions()
                           .path_column("File_Name")
                           .class_column("label")
                           .split_column("fold");
  const auto table = table_in(
      folder,
      "id,LABEL,file_name,fold,class\n1,Real,1.png,train,x\n"
      "2,Synthetic,2.png,val,y\n",
      options);
  CHECK(table.rows[0].path == folder / "1.png");
  CHECK(table.rows[1].cls == "Synthetic");
  CHECK(table.rows[1].split == "val");
  CHECK(
      table.warnings ==
      Strings{
          folder / "t.csv" + ": column \"id\" is not used",
          folder / "t.csv" + ": column \"class\" is not used"});

  SECTION("a column that is missing is named") {
    CHECK(
        reason_in(folder, "split,path,Label\ntrain,1.png,Real\n") ==
        "the column \"class\" is missing; the header is \"split\", \"path\", "
        "\"Label\" (class_column; --class-column in the programs says what it "
        "is called)");
    CHECK(
        reason_in(folder, "train,Real,1.png\n", options) ==
        "the column \"fold\" is missing; the header is \"train\", \"Real\", "
        "\"1.png\" (split_column; --split-column in the programs says what it "
        "is called)");
    CHECK(contains(
        reason_in(folder, "class,split\nReal,train\n"),
        "the column \"path\" is missing"));
  }
}

TEST_CASE(
    "Semicolons or tabs may separate the fields of a table", "[data][table]") {
  const Folder folder;
  for (const std::string separator : {";", "\t"}) {
    std::string rows = "train,Real,\"a, b.png\",m.png\nval,Real,\"2.png\",\n";
    std::string header = "\nPATH,split,note,class\n1.png,train,x y,Real\n";
    for (auto* text : {&rows, &header}) {
      for (size_t i = 0; i < text->size(); ++i) {
        if ((*text)[i] == ',' && (*text)[i + 1] != ' ') {
          (*text)[i] = separator[0];
        }
      }
    }
    const auto table = table_in(folder, rows);
    REQUIRE(table.rows.size() == 2);
    CHECK(table.rows[0].path == folder / "a, b.png");
    CHECK(table.rows[0].saliency == Strings{folder / "m.png"});
    CHECK(table.rows[1].saliency == Strings{""});
    CHECK(table_in(folder, header).rows[0].path == folder / "1.png");
  }
  // With commas, a semicolon is a part of a name.
  CHECK(
      table_in(folder, "train,Real,a;b;c.png\nval,Real,2.png\n").rows[0].path ==
      folder / "a;b;c.png");
  CHECK(
      reason_in(folder, "fold;class;path\ntrain;Real;1.png\n") ==
      "the column \"split\" is missing; the header is \"fold\", \"class\", "
      "\"path\" (split_column; --split-column in the programs says what it is "
      "called)");
  CHECK(
      reason_in(folder, "fold|class|path\ntrain|Real|1.png\n") ==
      "expected a header with split, class and path, or a row that begins with "
      "train, val or test, got \"fold|class|path\"; commas separate the "
      "fields");
  CHECK(
      reason_in(folder, "train;Real;1.png\nval;Real\n") ==
      "expected 3 or 4 fields, got 2");
}

TEST_CASE("A picture is not read as a table", "[data][table][error]") {
  const Folder folder;
  CHECK(
      reason_in(folder, "RIFF....WEBPVP8 ") ==
      "its content is WebP, expected a table (CSV)");
  CHECK(
      reason_in(folder, std::string("II*\0....", 8)) ==
      "its content is TIFF, expected a table (CSV)");
  CHECK(
      reason_in(folder, pictures::jpeg_grey()) ==
      "its content is JPEG, expected a table (CSV)");
}

TEST_CASE(
    "An error in a table says which warnings came before", "[data][table]") {
  const Folder folder;
  folder.write("train/a/1.png", "x");
  folder.write("train/b/1.tif", "x");
  folder.write("train/b/2.tif", "x");
  CHECK(
      error_of([&] { data::read_folders(folder.path()); }) ==
      "cyborg::data::read_folders: " + folder.path().string() +
          ": expected two or more classes, got only \"a\"; or name all classes "
          "(classes in TableOptions); warnings: " +
          folder / "train/b" +
          ": 2 files are not used, e.g. 1.tif: PNG, JPEG and BMP are read");
  fs::remove(folder / "train/a/1.png");
  CHECK(contains(
      error_of([&] { data::read_folders(folder.path()); }),
      "where split is train, val or test; warnings: " + folder / "train/b" +
          ": 2 files are not used, e.g. 1.tif: PNG, JPEG and BMP are read"));
  data::Table table;
  CHECK(table.warnings_text().empty());
  table.warnings = {"a", "b", "c", "d", "e"};
  CHECK(table.warnings_text() == "; warnings: a; b; c; d; e");
  table.warnings.insert(table.warnings.end(), {"f", "g"});
  CHECK(table.warnings_text() == "; warnings: a; b; c; d; e; and 2 more");
}

TEST_CASE(
    "A map has the name of its picture, with _map or without",
    "[data][table]") {
  const Folder folder;
  for (const auto* name :
       {"1.JPG", "2_map.PNG", "3_map.bmp", "3.txt", "4_MAP.png", "5.jpeg",
        "train/a/6_map.png", "6.png"}) {
    folder.write(name, "x");
  }
  CHECK(
      maps_of(
          folder, pictures_named(
                      {"1.png", "2.jpg", "3.png", "4.png", "5.png",
                       "6.jpg"})) == Strings{
                                         "1.JPG", "2_map.PNG", "3_map.bmp", "",
                                         "5.jpeg", "train/a/6_map.png"});

  SECTION("two maps for one picture are an error") {
    folder.write("2.png", "x");
    CHECK(
        error_of([&] { maps_of(folder, pictures_named({"2.jpg"})); }) ==
        "cyborg::data::find_maps: " + folder / "2.png" + ": and " +
            folder / "2_map.PNG" +
            " may both be the human map of x/2.jpg; keep one of them");
  }
  SECTION("the name of another picture is no doubt") {
    folder.write("2.png", "x");
    folder.write("7.png", "x");
    folder.write("7.jpg", "x");
    CHECK(
        maps_of(
            folder, pictures_named({"2.png", "2_map.png", "7.png", "7.jpg"})) ==
        Strings{"2.png", "2_map.PNG", "7.png", "7.jpg"});
  }
  SECTION("folders of splits may have other names") {
    folder.write("Train/a/8.png", "x");
    CHECK(
        maps_of(folder, pictures_named({"8.jpg"})) == Strings{"Train/a/8.png"});
  }
}

TEST_CASE(
    "A picture is not its own map where maps lie beside it", "[data][table]") {
  const Folder folder;
  data::Table table = pictures_named({"1.png", "2.png"});
  for (auto& row : table.rows) {
    row.path = folder.write(fs::path(row.path).filename().string(), "x");
  }
  folder.write("1_map.png", "x");
  CHECK(maps_of(folder, table) == Strings{"1_map.png", ""});
}

TEST_CASE("Linked folders are followed", "[data][table]") {
  const Folder folder;
  const Folder elsewhere;
  elsewhere.write("1.png", "x");
  elsewhere.write("deep/2.JPG", "x");
  elsewhere.write("deep/3.txt", "x");
  folder.write("train/Real/4.png", "x");
  fs::create_directory_symlink(elsewhere.path(), folder / "train/Synthetic");
  fs::create_symlink(elsewhere / "none", folder / "train/Real/5.png");
  const auto table = data::read_folders(folder.path());
  REQUIRE(table.rows.size() == 3);
  CHECK(table.rows[2].path == folder / "train/Synthetic/1.png");
  CHECK(
      data::pictures_in(folder.path()) ==
      std::vector<fs::path>{
          folder / "train/Real/4.png", folder / "train/Synthetic/1.png",
          folder / "train/Synthetic/deep/2.JPG"});

  SECTION("a folder must not be in itself") {
    fs::create_directory_symlink(elsewhere.path(), elsewhere / "deep/loop");
    CHECK(
        error_of([&] { data::pictures_in(elsewhere.path()); }) ==
        "cyborg::data::pictures_in: " + elsewhere / "deep/loop" +
            ": is a link to a folder that it is in, so the pictures never end");
  }
  SECTION("a folder must be there") {
    CHECK(contains(
        error_of([&] { data::pictures_in(folder / "none"); }),
        "cyborg::data::pictures_in: " + folder / "none" + ": No such file"));
  }
}
