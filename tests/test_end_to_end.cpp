// SPDX-License-Identifier: BSD-3-Clause
// The programs one after the other, as a lab uses them: train, be killed, go
// on, evaluate, explain.

#include "catch.hpp"
#include "pictures.hpp"
#include "programs.hpp"
#include "support.hpp"

#include <common/setting_names.hpp>
#include <common/unknown_option.hpp>
#include <evaluate/program.hpp>
#include <explain/program.hpp>

#include <cyborg/data/image.hpp>
#include <cyborg/data/table.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;
using programs_test::end_of;
using programs_test::same_checkpoints;
using programs_test::start;
using support::contains;

std::string jpeg(const torch::Tensor& grey) {
  const auto bytes = grey.mul(255).to(torch::kByte).contiguous();
  std::string out;
  cyborg::data::detail::stb::stbi_write_jpg_to_func(
      [](void* to, void* data, int size) {
        static_cast<std::string*>(to)->append(
            static_cast<const char*>(data), static_cast<size_t>(size));
      },
      &out, static_cast<int>(grey.size(1)), static_cast<int>(grey.size(0)), 1,
      bytes.data_ptr(), 90);
  return out;
}

/// 2,000 grey pictures, 24 x 30 to 44 x 50, every other one a JPEG, and maps
/// for three of five. A bright square says the class: above on the left, or
/// below on the right.
std::string write_pictures(const pictures::Folder& folder) {
  std::string csv = "split,class,path,saliency,attack\n";
  torch::manual_seed(1);
  fs::create_directories(folder / "maps");
  for (int64_t i = 0; i < 2000; ++i) {
    const int64_t height = 24 + 5 * (i % 5), width = 30 + 4 * (i % 6);
    const int64_t label = i / 2 % 2;
    auto image = 0.7 * torch::rand({height, width});
    auto map = torch::zeros({height, width});
    const bool above = label == 0;
    for (auto* each : {&image, &map}) {
      each->narrow(0, above ? 3 : height - 10, 7)
          .narrow(1, above ? 3 : width - 10, 7)
          .fill_(1);
    }
    const auto name = "p" + std::to_string(i) + (i % 2 == 0 ? ".png" : ".jpg");
    if (i % 2 == 0) {
      cyborg::data::write_png(folder / name, image);
    } else {
      folder.write(name, jpeg(image));
    }
    std::string saliency;
    if (i % 5 < 3) {
      saliency = "maps/p" + std::to_string(i) + ".png";
      cyborg::data::write_png(folder / saliency, map);
    }
    csv += std::string(
               i < 1600   ? "train"
               : i < 1800 ? "val"
                          : "test") +
           "," + (label == 0 ? "live," : "spoof,") + name + "," + saliency +
           "," +
           (label == 0   ? ""
            : i % 3 == 0 ? "print"
                         : "replay") +
           "\n";
  }
  return folder.write("table.csv", csv);
}

int explain_program(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"explain"};
  for (const auto& one : arguments) {
    argv.push_back(one.c_str());
  }
  return explain::program(static_cast<int>(argv.size()), argv.data());
}

evaluate::ProgramResult evaluate_program(
    const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"evaluate"};
  for (const auto& one : arguments) {
    argv.push_back(one.c_str());
  }
  return evaluate::program(static_cast<int>(argv.size()), argv.data());
}

ptrdiff_t files(const std::string& folder, const std::string& end) {
  ptrdiff_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    count += name.size() >= end.size() &&
             name.compare(name.size() - end.size(), end.size(), end) == 0;
  }
  return count;
}

}  // namespace

TEST_CASE("Every option is in docs/train.md", "[end_to_end]") {
  const auto docs = cyborg::io::read_file(CYBORG_SOURCE_DIR "/docs/train.md");
  std::map<std::string, std::vector<std::string>> programs_of;  // by option
  for (const std::string program :
       {CYBORG_TRAIN, CYBORG_EVALUATE, CYBORG_EXPLAIN}) {
    const auto name = fs::path(program).filename().string();
    // Its part of the page: from a heading to the next program's.
    const auto begin = docs.find("\n# `" + name + "`");
    REQUIRE(begin != std::string::npos);
    const auto part = docs.substr(begin, docs.find("\n# `", begin + 1) - begin);
    std::string help;
    FILE* pipe = popen((program + " --help").c_str(), "r");
    REQUIRE(pipe != nullptr);
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
      help += static_cast<char>(c);
    }
    CHECK(pclose(pipe) == 0);
    int options = 0;
    for (size_t at = help.find("  --"); at != std::string::npos;
         at = help.find("  --", at + 1)) {
      const auto end = help.find_first_of(" =:\n", at + 2);
      const auto flag = help.substr(at + 2, end - at - 2);
      INFO(name << " " << flag);
      CHECK(contains(part, "| `" + flag + "` |"));
      ++options;
      programs_of[flag].push_back(name);
      // What a checkpoint keeps is an option of `train`.
      CHECK(
          (programs::setting_of(flag).empty() ||
           programs_of[flag].front() == "train"));
    }
    CHECK(options > (name == "train" ? 45 : 10));
  }
  // Each program knows the options of the others.
  std::map<std::string, std::vector<std::string>> elsewhere;
  for (const auto& option : programs::options_elsewhere()) {
    elsewhere[option.flag] = option.programs;
  }
  for (const auto& [flag, names] : programs_of) {
    if (names.size() == 3 || !programs::setting_of(flag).empty()) {
      CHECK(elsewhere.count(flag) == 0);
    } else {
      INFO(flag);
      CHECK(elsewhere[flag] == names);
    }
  }
  CHECK(elsewhere.count("--resume") == 1);
}

TEST_CASE(
    "2,000 pictures: trained, killed, resumed, evaluated, explained",
    "[end_to_end][slow]") {
  const pictures::Folder folder;
  const auto table = write_pictures(folder);
  const auto train = [&](const std::string& out) -> std::vector<std::string> {
    return {
        "--data",
        table,
        "--size",
        "32",
        "32",
        "--channels",
        "1",
        "--mean",
        "0.5",
        "--std",
        "0.25",
        "--loss",
        "cyborg-l2",
        "--flip",
        "0.5",
        "--network",
        "demo",
        "--lr",
        "0.003",
        "--optimizer",
        "adamw",
        "--epochs",
        "2",
        "--quiet",
        "--threads",
        "1",
        "--out",
        out,
        "--alpha",
        "0.4",
        "--save-every",
        "5"};
  };
  REQUIRE(end_of(start(CYBORG_TRAIN, train(folder / "whole"))) == 0);

  const auto child = start(CYBORG_TRAIN, train(folder / "killed"));
  while (!fs::exists(folder / "killed/last.pt") &&
         waitpid(child, nullptr, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  kill(child, SIGKILL);
  REQUIRE(end_of(child) == 128 + SIGKILL);
  const auto place = nlohmann::json::parse(
      cyborg::train::load_checkpoint(folder / "killed/last.pt")
          .texts.at("place"));
  CHECK(place["batch"] > 0);  // in the middle of an epoch
  CHECK(!fs::exists(folder / "killed/report.html"));
  REQUIRE(
      end_of(start(
          CYBORG_TRAIN, {"--resume", "--out", folder / "killed", "--quiet",
                         "--threads", "1", "--save-every", "5"})) == 0);
  for (const auto* name : {"last.pt", "best.pt"}) {
    CHECK(same_checkpoints(
        folder / ("whole/" + std::string(name)),
        folder / ("killed/" + std::string(name))));
  }
  const auto best = folder / "killed/best.pt";

  {
    INFO("evaluate gives what train wrote");
    const auto from_network = evaluate_program(
        {best, "--scores", folder / "scores.csv", "--json", folder / "a.json"});
    INFO(from_network.error);
    REQUIRE(from_network.code == 0);
    CHECK(
        cyborg::io::read_file(folder / "scores.csv").size() ==
        cyborg::io::read_file(folder / "killed/scores.csv").size());
    const auto from_scores = evaluate_program(
        {folder / "killed/scores.csv", "--json", folder / "b.json"});
    REQUIRE(from_scores.code == 0);
    const auto a =
        nlohmann::json::parse(cyborg::io::read_file(folder / "a.json"));
    const auto b =
        nlohmann::json::parse(cyborg::io::read_file(folder / "b.json"));
    CHECK(a["runs"][0]["measures"] == b["runs"][0]["measures"]);
    CHECK(a["runs"][0]["measures"]["AUC"] > 0.9);
    CHECK(contains(from_network.out, "print"));  // APCER by attack type
  }
  {
    INFO("other pictures, of which one has a class never seen");
    const auto outcome = evaluate_program(
        {best, "--data",
         folder.write("other.csv", "test,live,p1.jpg\ntest,Live,p2.png\n")});
    CHECK(outcome.code == 2);
    CHECK(contains(outcome.error, "other.csv:2"));
    CHECK(contains(outcome.error, "Live"));
    const auto none = evaluate_program(
        {best, "--data", folder.write("train.csv", "train,live,p1.jpg\n")});
    CHECK(none.code == 2);
    CHECK(contains(none.error, "holds no rows of split test"));
  }
  {
    INFO("explain shows where the network looks, and how well");
    const auto looks = folder / "looks";
    REQUIRE(
        explain_program(
            {best, table, "--split", "test", "--out", looks, "--class", "label",
             "--maps", "pt", "--colormap", "viridis"}) == 0);
    CHECK(files(looks, "_overlay.png") == 200);
    CHECK(files(looks, "_compare.png") == 120);  // three of five
    CHECK(files(looks, "_map.pt") == 200);
    CHECK(fs::exists(looks + "/report.html"));
    const auto csv = cyborg::io::read_file(looks + "/explain.csv");
    CHECK(std::count(csv.begin(), csv.end(), '\n') == 201);
    CHECK(contains(csv, "p1801.jpg,p1801,live,live,"));
    const auto overlay = cyborg::data::read_image(looks + "/p1801_overlay.png");
    // As large as the picture, not as the network sees it.
    CHECK(overlay.sizes() == at::IntArrayRef({3, 29, 34}));
    CHECK(
        cyborg::data::read_image(looks + "/p1801_compare.png").sizes() ==
        at::IntArrayRef({3, 29, 34 * 3 + 8}));
    // A second time it would write over what is there.
    CHECK(explain_program({best, table, "--out", looks}) == 2);
  }
}
