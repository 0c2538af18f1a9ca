// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <common/network.hpp>
#include <explain/explain.hpp>
#include <explain/inputs.hpp>
#include <explain/names.hpp>
#include <explain/page.hpp>
#include <explain/program.hpp>

#include <cyborg/data/image.hpp>
#include <cyborg/data/table.hpp>

#include <torch/csrc/jit/serialization/pickle.h>
#include <torch/serialize.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

namespace {

using explain::ExplainOptions;
using support::contains;
using support::error_of;

/// A checkpoint of the demo's network as it begins.
std::string write_checkpoint(
    const pictures::Folder& folder, const std::vector<double>& window = {}) {
  programs::Settings settings;
  settings.window = window;
  settings.network = programs::Architecture::kDemo;
  settings.classes = {"live", "spoof"};
  settings.size = {32, 32};
  settings.channels = 1;
  settings.mean = {0.5};
  settings.stddev = {0.25};
  const programs::Network network(
      settings, 2, [] { return torch::zeros({1, 32, 32}); });
  cyborg::train::Checkpoint checkpoint;
  checkpoint.texts["settings"] = nlohmann::json(settings).dump();
  checkpoint.tensors["model"] = network.state();
  cyborg::train::save_checkpoint(folder / "net.pt", checkpoint);
  return folder / "net.pt";
}

std::string picture(
    const pictures::Folder& folder, const std::string& name, int64_t height,
    int64_t width) {
  std::filesystem::create_directories(
      std::filesystem::path(folder / name).parent_path());
  torch::manual_seed(height * width);
  cyborg::data::write_png(folder / name, torch::rand({height, width}));
  return folder / name;
}

int program(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"explain"};
  for (const auto& one : arguments) {
    argv.push_back(one.c_str());
  }
  return explain::program(static_cast<int>(argv.size()), argv.data());
}

/// The error of `find_pictures`, from the last part of the path on.
std::string input_error(
    const std::string& path, const std::string& split = "") {
  const auto text = error_of(
      [&] { explain::find_pictures({{path}, "", split, {"live", "spoof"}}); });
  const auto name = std::filesystem::path(path).filename().string();
  const auto at = text.rfind("/" + name + ": ");
  return at == std::string::npos ? text : text.substr(at + 1);
}

/// What a program prints to the standard error.
std::string printed_error(const std::vector<std::string>& arguments) {
  std::fflush(stderr);
  std::FILE* file = std::tmpfile();
  const int saved = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  CHECK(program(arguments) == 2);
  std::fflush(stderr);
  dup2(saved, STDERR_FILENO);
  close(saved);
  std::rewind(file);
  std::string text;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) {
    text += static_cast<char>(c);
  }
  std::fclose(file);
  return text;
}

std::vector<std::string> names(const std::vector<std::string>& paths) {
  std::vector<cyborg::data::Row> rows;
  for (const auto& path : paths) {
    cyborg::data::Row row;
    row.path = path;
    rows.push_back(row);
  }
  return explain::unique_names(rows);
}

}  // namespace

TEST_CASE("Every picture has a name of its own, and a short one", "[explain]") {
  using Names = std::vector<std::string>;
  CHECK(names({"a/x.png", "a/y.png"}) == Names{"x", "y"});
  CHECK(names({"a/x.png", "b/x.png", "b/y.png"}) == Names{"a_x", "b_x", "y"});
  CHECK(names({"u/a/x.png", "v/a/x.png"}) == Names{"u_a_x", "v_a_x"});
  CHECK(names({"a/x.png", "./a/../b/x.png"}) == Names{"a_x", "b_x"});
  CHECK(names({"x.png", "x.jpg", "x_2.png"}) == Names{"x", "x_3", "x_2"});
  CHECK(names({"a/x.png", "a/x.png"}) == Names{"a_x", "a_x_2"});
}

TEST_CASE("Pictures are named one by one, by folder or by table", "[explain]") {
  const pictures::Folder folder;
  const auto one = picture(folder, "loose/b.png", 8, 8);
  picture(folder, "loose/deep/a.png", 8, 8);
  folder.write("loose/notes.txt", "no picture");
  picture(folder, "sets/test/live/c.png", 8, 8);
  picture(folder, "sets/train/spoof/d.png", 8, 8);
  picture(folder, "maps/b.png", 8, 8);
  const std::vector<std::string> classes = {"live", "spoof"};
  const auto rows =
      explain::find_pictures({{folder / "loose", folder / "sets", one},
                              folder / "maps",
                              "",
                              classes})
          .rows;
  REQUIRE(rows.size() == 5);
  CHECK(rows[0].path == one);
  CHECK(rows[0].label == -1);
  CHECK(rows[0].saliency == std::vector<std::string>{folder / "maps/b.png"});
  CHECK(rows[1].path == folder / "loose/deep/a.png");
  CHECK(rows[1].saliency.empty());
  CHECK(rows[2].cls == "live");
  CHECK(rows[3].label == 1);
  CHECK(rows[4].path == one);
  CHECK(
      explain::find_pictures({{folder / "sets"}, "", "test", classes})
          .rows.size() == 1);
  CHECK(contains(
      error_of([&] {
        explain::find_pictures({{folder / "sets"}, "", "val", classes});
      }),
      "holds no pictures of split val, but of test, train: choose one of them "
      "with --split"));
  CHECK(contains(
      error_of([&] { explain::find_pictures({{one}, "", "val", classes}); }),
      "has no splits, expected a CSV: leave --split out"));
}

TEST_CASE("What a path is, its content says", "[explain]") {
  const pictures::Folder folder;
  const std::string expected =
      "expected a picture (PNG, JPEG or BMP), a folder of pictures or a CSV";
  using namespace std::string_literals;
  // No picture, and not to be read as a table.
  for (const auto& [name, bytes, format] :
       std::vector<std::array<std::string, 3>>{
           {"a.webp", "RIFF\x10\0\0\0WEBPVP8 "s, "WebP"},
           {"a.tif", "II*\0\x08\0\0\0"s, "TIFF"},
           {"a.tiff", "MM\0*\0\0\0\x08"s, "TIFF"},
           {"big.tif", "II+\0\x08\0\0\0"s, "BigTIFF"},
           {"a.GIF", "GIF89a\x01\0"s, "GIF"},
           {"a.heic", "\0\0\0\x18"s + "ftypheic", "HEIF, AVIF or video"},
           {"a.jp2", "\0\0\0\x0CjP  "s, "JPEG 2000"},
           {"a", "%PDF-1.4", "PDF"}}) {
    CHECK(
        input_error(folder.write(name, bytes)) ==
        name + ": its content is " + format + ", " + expected +
            ": convert it, for example with: mogrify -define png:bit-depth=16 "
            "-format png \"" +
            folder / name + "\"");
  }
  const std::string python =
      ": convert it in Python, as docs/train.md shows under \"Other formats\": "
      "a window of its values becomes a PNG of 16 bits";
  CHECK(
      input_error(folder.write("a.dcm", std::string(128, '\0') + "DICM")) ==
      "a.dcm: its content is DICOM, " + expected + python);
  CHECK(
      input_error(folder.write("a.nii", std::string(344, '\1') + "n+1\0"s)) ==
      "a.nii: its content is NIfTI, " + expected + python);
  CHECK(
      input_error(folder.write("a.nii.gz", "\x1F\x8B\x08\x01"s)) ==
      "a.nii.gz: its content is gzip (as .nii.gz), " + expected + python);
  CHECK(
      input_error(folder.write("b.dcm", "\x01\x02\x03"s)) ==
      "b.dcm: is of an unknown format, " + expected);
  CHECK(
      input_error(folder.write("last.pt", "PK\x03\x04"s)) ==
      "last.pt: is a checkpoint or a zip archive, " + expected +
          ": name one checkpoint, before the pictures");
  CHECK(
      input_error(folder.write("x.csv", "\xFF\xFEs\0p\0"s)) ==
      "x.csv: is text in UTF-16: save it as a CSV in UTF-8");
  CHECK(
      input_error(folder.write("e.csv", "")) == "e.csv: is empty, " + expected);
  CHECK(input_error(folder / "none.csv") == "none.csv: no such file or folder");
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(
      input_error(folder / "pipe") ==
      "pipe: is not a regular file, " + expected);
  CHECK(contains(
      input_error(folder.write("notes.txt", "some words\n")),
      "notes.txt:1: expected a header with split, class and path"));
  // A picture without the name of one.
  const auto one = picture(folder, "p.png", 8, 8);
  std::filesystem::rename(one, folder / "IMG_0001");
  CHECK(
      explain::find_pictures({{folder / "IMG_0001"}, "", "", {}}).rows.size() ==
      1);
}

TEST_CASE(
    "Links to folders are followed, except where they never end", "[explain]") {
  namespace fs = std::filesystem;
  const pictures::Folder folder;
  picture(folder, "real/deep/a.png", 8, 8);
  picture(folder, "top/b.png", 8, 8);
  fs::create_directory_symlink(folder / "real", folder / "top/link");
  fs::create_directory_symlink(folder / "top", folder / "start");
  fs::create_symlink(folder / "gone.png", folder / "top/broken.png");
  const auto find = [&](const std::string& name) {
    return explain::find_pictures({{folder / name}, "", "", {}});
  };
  const auto table = find("start");
  REQUIRE(table.rows.size() == 2);
  CHECK(table.rows[0].path == folder / "start/b.png");
  CHECK(table.rows[1].path == folder / "start/link/deep/a.png");
  REQUIRE(table.warnings.size() == 1);
  CHECK(contains(
      table.warnings[0],
      "start: 1 file is not used, because the name does not end like that of "
      "a PNG, JPEG or BMP picture, or the link leads nowhere, e.g. "));
  fs::create_directory_symlink("..", folder / "real/deep/up");
  CHECK(
      error_of([&] { find("real"); }) ==
      "explain: " + folder / "real/deep/up" +
          ": a link leads back to this folder, which holds the link, so its "
          "pictures have no end: remove the link");
  // Two folders that lead to each other.
  fs::create_directories(folder / "x");
  fs::create_directories(folder / "y");
  fs::create_directory_symlink(folder / "y", folder / "x/y");
  fs::create_directory_symlink(folder / "x", folder / "y/x");
  CHECK(contains(error_of([&] { find("x"); }), "have no end"));
}

TEST_CASE("Files that are not explained are reported", "[explain]") {
  const pictures::Folder folder;
  picture(folder, "mixed/a.png", 8, 8);
  folder.write("mixed/b.webp", "RIFF");
  folder.write("mixed/c.txt", "c");
  const auto table = explain::find_pictures({{folder / "mixed"}, "", "", {}});
  CHECK(table.rows.size() == 1);
  REQUIRE(table.warnings.size() == 1);
  CHECK(contains(table.warnings[0], "mixed: 2 files are not used, because"));
  CHECK(contains(table.warnings[0], "b.webp"));
  folder.write("other/b.webp", "RIFF");
  CHECK(contains(
      input_error(folder / "other"),
      "other: holds no pictures: 1 file is not used"));
  std::filesystem::create_directories(folder / "empty");
  CHECK(input_error(folder / "empty") == "empty: holds no pictures");
  // A folder test without classes in it is no split.
  picture(folder, "flat/test/a.png", 8, 8);
  CHECK(
      explain::find_pictures({{folder / "flat"}, "", "", {}}).rows.size() == 1);
  CHECK(
      error_of([&] {
        explain::find_pictures({{folder / "flat"}, folder / "nowhere", "", {}});
      }) == "--saliency: " + folder / "nowhere" +
                ": no such folder: expected a folder with a human map of each "
                "picture");
  folder.write("maps/b.png", "");
  CHECK(
      error_of([&] {
        explain::find_pictures({{folder / "mixed"}, folder / "maps", "", {}});
      }) == "--saliency: " + folder / "maps" +
                ": 0 of 1 pictures have a human map in this folder. For the "
                "picture " +
                folder / "mixed/a.png" +
                " a file a.png or a_map.png (or .jpg, .bmp) is looked for in " +
                folder / "maps" + "; it holds, for example, b.png");
}

TEST_CASE(
    "Files that explain cannot use are reported at the start", "[explain]") {
  const pictures::Folder folder;
  const auto net = write_checkpoint(folder);
  const auto one = picture(folder, "a.png", 32, 32);
  const auto page = folder.write("page.png", "<!doctype html>");
  CHECK(contains(
      printed_error({net, one, page, "--out", folder / "out"}),
      "explain: the pictures: 1 file cannot be read:\n  " + page +
          ": is mislabelled: its content is HTML, not a PNG"));
  const auto html = folder.write("page", "<!doctype html>");
  CHECK(
      printed_error({net, html, "--out", folder / "out"}) ==
      "explain: " + html +
          ": its content is HTML, expected a picture (PNG, JPEG or BMP), a "
          "folder of pictures or a CSV: is it the page of a download that "
          "failed?\n");
  const auto table = folder.write(
      "t.csv", "split,class,path,saliency\ntest,live,a.png,a.png\n");
  CHECK(contains(
      printed_error({net, table, "--out", folder / "out"}),
      "explain: the pictures: 1 file is named for two things:\n  " + one +
          " (line 2): is the picture itself, and is named as its human map\n"));
  CHECK(!std::filesystem::exists(folder / "out"));
}

TEST_CASE("Options of the training are rejected by explain", "[explain]") {
  const pictures::Folder folder;
  const auto net = write_checkpoint(folder);
  const auto one = picture(folder, "a.png", 32, 32);
  const auto said = [&](const std::vector<std::string>& words) {
    std::vector<std::string> all{net, one};
    all.insert(all.end(), words.begin(), words.end());
    const auto text = printed_error(all);
    return text.substr(0, text.find('\n'));
  };
  const std::string end =
      ": is a setting of the training, which explain takes from the "
      "checkpoint: leave it out";
  CHECK(said({"--channels", "1"}) == "--channels" + end);
  CHECK(said({"--window", "0,4095"}) == "--window" + end);
  CHECK(said({"--map-values", "alpha"}) == "--map-values" + end);
  CHECK(
      said({"--data", "t.csv"}) ==
      "--data: pictures and tables are named without an option, after the "
      "checkpoint");
  CHECK(
      said({"--threshold-from", "val"}) ==
      "--threshold-from: is an option of evaluate, not of explain");
  CHECK(
      said({"--color-map", "jet"}) ==
      "--color-map: no such option; did you mean --colormap?");
  CHECK(
      said({"--rise", "2.5"}) ==
      "--rise: expected a whole number from 0 to 1000000, got 2.5");
  CHECK(
      said({"--opacity", "2"}) ==
      "--opacity: expected a number from 0 to 1, got 2");
  CHECK(
      said({"--screen", "57"}) ==
      "--screen: expected CM PIXELS, for example --screen 57 38; got 57");
}

TEST_CASE("A long name is cut between two characters", "[explain]") {
  const std::string a(199, 'a');
  const auto made = names({a + "ä.png", a + "äb.png"});
  CHECK(made == std::vector<std::string>{a, a + "_2"});
  CHECK(names({std::string(200, 'b') + ".png"})[0].size() == 200);
  const pictures::Folder folder;
  ExplainOptions options;
  options.checkpoint = write_checkpoint(folder);
  // Names as the wild has them; each file arrives.
  std::filesystem::create_directories(folder / "in");
  const std::vector<std::string> wild = {
      std::string(250, 'x'), "a b",       "-v",   "100%",  "line\nbreak",
      "\"quoted\"",          "\xE4latin", "日本", "a.b.c", "'; rm -rf x"};
  for (const auto& name : wild) {
    folder.write("in/" + name + ".png", pictures::png(1, 1, 8, 0, {9}));
  }
  options.out = folder / "out";
  const auto rows =
      explain::find_pictures({{folder / "in"}, "", "", {"live", "spoof"}}).rows;
  const auto result = explain::explain_pictures(rows, options);
  CHECK(result.pictures.size() == wild.size());
  CHECK(
      std::distance(std::filesystem::directory_iterator(folder / "out"), {}) ==
      static_cast<std::ptrdiff_t>(wild.size()));
}

TEST_CASE("Maps are written as they are and as pictures", "[explain]") {
  const pictures::Folder folder;
  ExplainOptions options;
  options.checkpoint = write_checkpoint(folder);
  options.map_class = explain::MapClass::kNamed;
  options.class_name = "spoof";
  const auto rows = explain::find_pictures({{picture(folder, "a.png", 40, 60),
                                             picture(folder, "b.png", 30, 30)},
                                            "",
                                            "",
                                            {"live", "spoof"}})
                        .rows;
  const auto run = [&](const std::string& out) {
    options.out = folder / out;
    return explain::explain_pictures(rows, options);
  };
  options.maps = explain::MapFile::kTensor;
  const auto result = run("pt");
  REQUIRE(result.pictures.size() == 2);
  CHECK(result.pictures[0].explained == "spoof");
  CHECK(result.pictures[0].truth.empty());
  CHECK(!result.pictures[0].agreement);
  const auto bytes = cyborg::io::read_file(folder / "pt/a_map.pt");
  const auto map =
      torch::jit::pickle_load({bytes.begin(), bytes.end()}).toTensor();
  REQUIRE(map.dim() == 2);
  CHECK(map.isfinite().all().item<bool>());

  options.maps = explain::MapFile::kGrey;
  run("png");
  const auto grey = cyborg::data::read_image(
      folder / "png/a_map.png", cyborg::data::ImageOptions().channels(1))[0];
  CHECK(grey.sizes() == map.sizes());
  const auto stretched = (map - map.min()) / (map.max() - map.min());
  CHECK((grey - stretched).abs().max().item<double>() <= 0.5 / 255 + 1e-6);

  SECTION("one picture at a time gives the same as a batch") {
    options.maps = explain::MapFile::kTensor;
    options.batch = 1;
    run("one");
    const auto again = cyborg::io::read_file(folder / "one/a_map.pt");
    const auto other =
        torch::jit::pickle_load({again.begin(), again.end()}).toTensor();
    CHECK(at::allclose(other, map, 1e-4, 1e-5));
  }
  SECTION("by every method") {
    for (const auto method :
         {cyborg::CamMethod::kCam, cyborg::CamMethod::kGradCam,
          cyborg::CamMethod::kHiResCam}) {
      options.method = method;
      run("method" + std::to_string(static_cast<int>(method)));
    }
    CHECK(std::filesystem::exists(folder / "method2/b_overlay.png"));
  }
}

TEST_CASE(
    "A map that people drew is compared with the network's", "[explain]") {
  const pictures::Folder folder;
  ExplainOptions options;
  options.checkpoint = write_checkpoint(folder);
  options.maps = explain::MapFile::kGrey;
  const auto path = picture(folder, "a.png", 32, 32);
  options.out = folder / "first";
  explain::explain_pictures(
      explain::find_pictures({{path}, "", "", {"live", "spoof"}}).rows,
      options);
  // The network's own map, as if people had drawn it.
  std::filesystem::create_directories(folder / "people");
  std::filesystem::copy_file(
      folder / "first/a_map.png", folder / "people/a.png");
  options.out = folder / "second";
  const auto result = explain::explain_pictures(
      explain::find_pictures({{path}, folder / "people", "", {"live", "spoof"}})
          .rows,
      options);
  REQUIRE(result.pictures[0].agreement);
  // Not 1 exactly: two interpolations enlarge them.
  CHECK(result.pictures[0].agreement->correlation > 0.95);
  CHECK(result.pictures[0].agreement->similarity > 0.9);
  CHECK(result.pictures[0].agreement->divergence < 0.1);
  CHECK(std::filesystem::exists(folder / "second/a_compare.png"));
  const auto csv = explain::to_csv(result);
  CHECK(contains(csv, "path,name,class,explained,probability,correlation,"));
}

TEST_CASE(
    "Written pictures have the size that is asked for, and pages are small",
    "[explain]") {
  const pictures::Folder folder;
  ExplainOptions options;
  options.checkpoint = write_checkpoint(folder);
  // Noise, which no format makes smaller: 12 million bytes as a PNG.
  const auto large = picture(folder, "large.png", 1500, 2000);
  const auto small = picture(folder, "small.png", 20, 30);
  picture(folder, "maps/large.png", 32, 32);
  const auto rows =
      explain::find_pictures(
          {{large, small}, folder / "maps", "", {"live", "spoof"}})
          .rows;
  const auto sizes = [&](const std::string& file) {
    return cyborg::data::read_image(options.out / file).sizes().vec();
  };
  using Size = std::vector<int64_t>;
  options.out = folder / "default";
  const auto result = explain::explain_pictures(rows, options);
  CHECK(sizes("large_overlay.png") == Size{3, 768, 1024});
  CHECK(sizes("large_compare.png") == Size{3, 768, 3 * 1024 + 8});
  CHECK(sizes("small_overlay.png") == Size{3, 20, 30});  // is not enlarged
  explain::write_page(result, options);
  CHECK(std::filesystem::file_size(options.out / "report.html") < 1'500'000);
  CHECK(contains(
      cyborg::io::read_file(options.out / "report.html"), "<td>no map</td>"));
  options.out = folder / "asked";
  options.overlay_size = 100;
  explain::explain_pictures(rows, options);
  CHECK(sizes("large_overlay.png") == Size{3, 75, 100});
  options.out = folder / "own";
  options.overlay_size = 0;
  explain::explain_pictures(rows, options);
  CHECK(sizes("large_overlay.png") == Size{3, 1500, 2000});
}

TEST_CASE(
    "What is kept of pictures does not grow with their number", "[explain]") {
  const pictures::Folder folder;
  ExplainOptions options;
  options.checkpoint = write_checkpoint(folder);
  options.out = folder / "out";
  const auto one = picture(folder, "a.png", 400, 400);
  const std::vector<cyborg::data::Row> rows(
      explain::kShown + 5,
      explain::find_pictures({{one}, "", "", {"live", "spoof"}}).rows[0]);
  const auto result = explain::explain_pictures(rows, options);
  REQUIRE(result.pictures.size() == rows.size());
  size_t shown = 0;
  for (const auto& each : result.pictures) {
    shown += each.png.empty() ? 0 : 1;
    for (const auto& png : each.png) {
      CHECK(png.size() < 320 * 320 * 3 + 2000);
    }
  }
  CHECK(shown == explain::kShown);
}

TEST_CASE("The maps of one network teach another by a table", "[explain]") {
  const pictures::Folder folder;
  const auto net = write_checkpoint(folder);
  // Equal names: the maps have longer ones, which only the table knows.
  picture(folder, "sets/train/live/a.png", 8, 8);
  picture(folder, "sets/train/spoof/a.png", 9, 9);
  picture(folder, "sets/val/live/b,c.png", 8, 8);
  const auto loose = picture(folder, "loose.png", 8, 8);
  REQUIRE(
      program(
          {net, folder / "sets", loose, "--maps", "png", "--out",
           folder / "looks"}) == 0);
  const auto table = cyborg::data::read_table(folder / "looks/maps.csv");
  REQUIRE(table.rows.size() == 3);  // loose.png has no class
  CHECK(table.rows[0].split == "train");
  CHECK(table.rows[1].cls == "spoof");
  CHECK(table.rows[2].path == folder / "sets/val/live/b,c.png");
  for (const auto& row : table.rows) {
    REQUIRE(row.saliency.size() == 1);
    CHECK(cyborg::data::read_image(row.saliency[0]).numel() > 0);
  }
  CHECK(contains(table.rows[1].saliency[0], "spoof_a_map.png"));
  // Pictures without classes, and maps for torch.load, have no such table.
  CHECK(program({net, loose, "--maps", "png", "--out", folder / "l2"}) == 0);
  CHECK(!std::filesystem::exists(folder / "l2/maps.csv"));
  CHECK(
      program({net, folder / "sets", "--maps", "pt", "--out", folder / "l3"}) ==
      0);
  CHECK(!std::filesystem::exists(folder / "l3/maps.csv"));
}

TEST_CASE(
    "A human map of one value is reported, and is not used", "[explain]") {
  const pictures::Folder folder;
  ExplainOptions options;
  options.checkpoint = write_checkpoint(folder);
  options.out = folder / "out";
  const auto one = picture(folder, "a.png", 32, 32);
  std::filesystem::create_directories(folder / "maps");
  cyborg::data::write_png(folder / "maps/a.png", torch::zeros({32, 32}));
  const auto result = explain::explain_pictures(
      explain::find_pictures({{one}, folder / "maps", "", {"live", "spoof"}})
          .rows,
      options);
  CHECK(!result.pictures[0].agreement);
  CHECK(
      explain::warnings_of(result) ==
      std::vector<std::string>{
          "pictures whose human map has one value everywhere, and counts as no "
          "map: 1, e.g. " +
          one});
  CHECK(contains(explain::to_csv(result), ",,,,\n"));
}

TEST_CASE(
    "A network that computes NaN is reported with the picture", "[explain]") {
  const pictures::Folder folder;
  ExplainOptions options;
  auto checkpoint = cyborg::train::load_checkpoint(write_checkpoint(folder));
  for (auto& [name, tensor] : checkpoint.tensors["model"]) {
    if (tensor.is_floating_point()) {
      tensor.fill_(std::nan(""));
    }
  }
  cyborg::train::save_checkpoint(folder / "nan.pt", checkpoint);
  options.checkpoint = folder / "nan.pt";
  options.out = folder / "out";
  const auto one = picture(folder, "a.png", 32, 32);
  CHECK(
      error_of([&] {
        explain::explain_pictures(
            explain::find_pictures({{one}, "", "", {"live", "spoof"}}).rows,
            options);
      }) == "explain: " + folder / "nan.pt" +
                ": the network computes NaN or infinity for " + one +
                ": its training may have diverged; use an earlier checkpoint");
}

TEST_CASE(
    "Missing files are reported before any picture is read", "[explain]") {
  const pictures::Folder folder;
  const auto net = write_checkpoint(folder);
  picture(folder, "a.png", 32, 32);
  std::string csv = "split,class,path,saliency\ntest,live,a.png,no_map.png\n";
  for (int i = 0; i < 11; ++i) {
    csv += "test,live,gone" + std::to_string(i) + ".png,\n";
  }
  const auto table = folder.write("t.csv", csv);
  const auto text = printed_error({net, table, "--out", folder / "out"});
  CHECK(contains(
      text, "explain: the pictures: 12 files cannot be read:\n  " +
                folder / "no_map.png" + " (line 2): no such file\n  " +
                folder / "gone0.png" + " (line 3): no such file\n"));
  CHECK(contains(
      text, "gone8.png (line 11): no such file\n  and 2 more\nmend the paths"));
  CHECK(contains(text, "--skip-unreadable"));
  CHECK(!std::filesystem::exists(folder / "out"));
  CHECK(
      program({net, table, "--skip-unreadable", "--out", folder / "out"}) == 2);
  folder.write(
      "u.csv", "split,class,path\ntest,live,a.png\ntest,live,gone.png\n");
  CHECK(
      program(
          {net, folder / "u.csv", "--skip-unreadable", "--out",
           folder / "out"}) == 0);
}

TEST_CASE("An error of explain names the flag", "[explain]") {
  const pictures::Folder folder;
  const auto net = write_checkpoint(folder);
  const auto one = picture(folder, "a.png", 32, 32);
  const auto file = folder.write("file", "x");
  CHECK(
      printed_error({net, one, "--out", file}) ==
      "explain: --out " + file +
          ": is a file: name a new or an empty folder\n");
  CHECK(
      printed_error({net, one, "--out", file + "/deep"}) ==
      "explain: --out " + file + "/deep: cannot be made: " + file +
          " is not a folder\n");
  CHECK(
      printed_error({net, one, "--out", folder.path().string()}) ==
      "explain: --out " + folder.path().string() +
          ": is not empty: name a new or an empty folder\n");
  CHECK(
      printed_error({net, one, "--out", "/proc/new"})
          .rfind("explain: --out /proc/new: cannot be written: ", 0) == 0);
  CHECK(
      printed_error({folder.path().string(), one, "--out", folder / "o"}) ==
      "explain: " + folder.path().string() +
          ": is a folder: name the checkpoint in it, for example " +
          folder / "best.pt" + "\n");
  CHECK(
      printed_error({net, one, "--split", "tset", "--out", folder / "o"}) ==
      "explain: --split: expected train, val, test or all, got \"tset\"\n");
  CHECK(
      printed_error({net, one, "--layer", "nope", "--out", folder / "o"})
          .rfind("explain: --layer: expected a layer among features, ", 0) ==
      0);
  // A split in any case, and as others write it.
  picture(folder, "sets/val/live/c.png", 8, 8);
  picture(folder, "sets/train/spoof/d.png", 8, 8);
  for (const std::string split : {"VAL", "Valid", "validation", "all"}) {
    CHECK(
        program(
            {net, folder / "sets", "--split", split, "--out",
             folder / ("out" + split)}) == 0);
    CHECK(
        std::filesystem::exists(folder / ("out" + split) + "/d_overlay.png") ==
        (split == "all"));
  }
}

TEST_CASE("Pictures are shown in the window of the training", "[explain]") {
  const pictures::Folder folder;
  const auto net = write_checkpoint(folder, {1000, 3000});
  const auto deep = [&](const std::string& name, std::vector<uint32_t> row) {
    return folder.write(name, pictures::png(4, 1, 16, 0, row));
  };
  const auto one = deep("a.png", {0, 1400, 2600, 4000});
  const auto out = folder / "out";
  REQUIRE(program({net, one, "--opacity", "0", "--out", out}) == 0);
  const auto seen = cyborg::data::read_image(out + "/a_overlay.png");
  CHECK(support::close(
      seen[0][0], support::t({0, .2, .8, 1}, {4}), /*tolerance=*/1e-6));

  SECTION("A checkpoint of an earlier version has none") {
    auto checkpoint = cyborg::train::load_checkpoint(net);
    auto settings = nlohmann::json::parse(checkpoint.texts.at("settings"));
    settings.erase("window");
    checkpoint.texts["settings"] = settings.dump();
    cyborg::train::save_checkpoint(folder / "old.pt", checkpoint);
    CHECK(explain::settings_of(folder / "old.pt").window.empty());
    CHECK(program({folder / "old.pt", one, "--out", folder / "old"}) == 0);
  }
  SECTION("Pictures of 8 bits are refused before any work") {
    const auto flat = picture(folder, "b.png", 8, 8);
    CHECK(
        printed_error({net, one, flat, "--out", folder / "none"}) ==
        "explain: the pictures: 1 of 2 pictures do not fit the window 1000 to "
        "3000:\n  " +
            flat +
            ": has 8 bits, and the pictures of the training have 16: save it "
            "with as many bits and with values like those\n");
    CHECK(!std::filesystem::exists(folder / "none"));
  }
  SECTION("A window that shows nothing of all pictures is an error") {
    const auto dark = deep("c.png", {0, 1, 2, 3});
    CHECK(
        printed_error({net, dark, "--out", folder / "none"}) ==
        "explain: the pictures: all 1 pictures that were looked at show "
        "nothing:\n  " +
            dark +
            ": shows nothing in the window 1000 to 3000: its values are 0 to "
            "3\n");
    CHECK(!std::filesystem::exists(folder / "none"));

    const auto warnings = [&](const std::vector<std::string>& files,
                              const std::string& checkpoint) {
      ExplainOptions options;
      options.checkpoint = checkpoint;
      options.out = folder / "dark";
      std::vector<cyborg::data::Row> rows(files.size());
      for (size_t i = 0; i < files.size(); ++i) {
        rows[i].path = files[i];
        rows[i].label = -1;
      }
      return explain::warnings_of(explain::explain_pictures(rows, options));
    };
    CHECK(
        warnings({one, dark}, net) ==
        std::vector<std::string>{
            "1 of 2 pictures that were looked at show nothing:\n  " + dark +
            ": shows nothing in the window 1000 to 3000: its values are 0 to "
            "3"});
    // Half of the values of the training were above the window.
    auto checkpoint = cyborg::train::load_checkpoint(net);
    auto settings = nlohmann::json::parse(checkpoint.texts.at("settings"));
    settings["stored"] = {
        {"bits", {16}}, {"pictures", 8}, {"above", .51}, {"mean", .5}};
    checkpoint.texts["settings"] = settings.dump();
    cyborg::train::save_checkpoint(folder / "above.pt", checkpoint);
    CHECK(
        warnings({one}, folder / "above.pt") ==
        std::vector<std::string>{
            "the pictures may have other units than those of the training: "
            "they have 25.0 % of the values below the window 1000 to 3000, and "
            "25.0 % above it; those of the training had 0.0 % and 51.0 %"});
    CHECK(warnings({one}, net).empty());
  }
}

TEST_CASE("What cannot be explained is said, with status 2", "[explain]") {
  const pictures::Folder folder;
  const auto net = write_checkpoint(folder);
  const auto one = picture(folder, "a.png", 32, 32);
  const auto out = folder / "out";
  CHECK(program({}) == 2);
  CHECK(program({net}) == 2);
  CHECK(program({net, one, "--method", "magic"}) == 2);
  CHECK(program({folder / "none.pt", one, "--out", out}) == 2);
  CHECK(program({one, one, "--out", out}) == 2);  // no checkpoint
  CHECK(program({net, folder / "none.png", "--out", out}) == 2);
  CHECK(program({net, one, "--class", "dog", "--out", out}) == 2);
  CHECK(program({net, one, "--class", "label", "--out", out}) == 2);
  CHECK(program({net, one, "--device", "toaster", "--out", out}) == 2);
  CHECK(!std::filesystem::exists(out));
  CHECK(
      program({net, one, folder.write("b.png", "broken"), "--out", out}) == 2);
  const auto other = folder / "other";
  CHECK(
      program(
          {net, one, folder / "b.png", "--skip-unreadable", "--out", other}) ==
      0);
  CHECK(std::filesystem::exists(folder / "other/a_overlay.png"));
  CHECK(program({net, one, "--out", other}) == 2);  // would write over it
  CHECK(program({"--help"}) == 0);
}
