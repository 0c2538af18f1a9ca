// SPDX-License-Identifier: BSD-3-Clause
// What `evaluate` does with checkpoints: it scores pictures.

#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <common/scoring.hpp>
#include <evaluate/program.hpp>
#include <evaluate/scores.hpp>

#include <cyborg/data/image.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/io/file.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using support::contains;

/// A checkpoint of the demo's network as it begins, and grey pictures.
struct Lab {
  pictures::Folder folder;
  std::string net = folder / "net.pt";
  std::string table;

  Lab() {
    programs::Settings settings;
    settings.network = programs::Architecture::kDemo;
    settings.classes = {"live", "spoof"};
    settings.size = {32, 32};
    settings.channels = 1;
    settings.mean = {0.5};
    settings.stddev = {0.25};
    std::string csv = "split,class,path,attack\n";
    torch::manual_seed(3);
    for (int i = 0; i < 12; ++i) {
      const auto name = std::to_string(i) + ".png";
      cyborg::data::write_png(folder / name, torch::rand({32, 32}));
      csv += std::string(i < 6 ? "val," : "test,") +
             (i % 2 == 0 ? "live," : "spoof,") + name +
             (i % 2 == 0 ? ",\n" : ",print\n");
    }
    table = folder.write("faces.csv", csv);
    settings.data = table;
    const programs::Network network(
        settings, 2, [] { return torch::zeros({1, 32, 32}); });
    cyborg::train::Checkpoint checkpoint;
    checkpoint.texts["settings"] = nlohmann::json(settings).dump();
    checkpoint.tensors["model"] = network.state();
    cyborg::train::save_checkpoint(net, checkpoint);
  }
};

evaluate::ProgramResult program_on(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"evaluate"};
  for (const auto& one : arguments) {
    argv.push_back(one.c_str());
  }
  return evaluate::program(static_cast<int>(argv.size()), argv.data());
}

}  // namespace

TEST_CASE("Flipped scores are from the mean of two logits", "[evaluate]") {
  const Lab lab;
  auto trained = programs::load_trained(lab.net);
  const auto rows = cyborg::data::read_table(lab.table).rows_of("test");
  const auto score = [&](bool flip) {
    return programs::score_pictures(
        trained.network, rows, trained.settings, {torch::kCPU, 0, 4, flip});
  };
  const auto plain = score(false);
  const auto both = score(true);
  // The mirror images, by hand.
  std::vector<cyborg::data::Row> mirrored = rows;
  for (auto& row : mirrored) {
    const auto image = cyborg::data::read_image(
        row.path, cyborg::data::ImageOptions().channels(1));
    row.path += ".mirror.png";
    cyborg::data::write_png(row.path, image.flip({2}));
  }
  const auto other = programs::score_pictures(
      trained.network, mirrored, trained.settings, {torch::kCPU, 0, 4, false});
  CHECK(
      at::allclose(both.logits, (plain.logits + other.logits) / 2, 1e-5, 1e-6));
  CHECK(!at::allclose(both.logits, plain.logits, 1e-3, 1e-3));

  const auto outcome = program_on(
      {lab.net, "--test-flip", "--scores", lab.folder / "flip.csv", "--json",
       lab.folder / "flip.json"});
  CHECK(outcome.error.empty());
  const std::string note =
      "scores are from the mean logits of each picture and its mirror image "
      "(--test-flip)";
  CHECK(contains(outcome.out, note));
  const auto table = evaluate::read_scores(lab.folder / "flip.csv");
  CHECK(table.notes == std::vector<std::string>{note});
  CHECK(
      std::abs(table.rows[0].logits[1] - both.logits[0][1].item<double>()) <
      1e-5);
  CHECK(contains(
      cyborg::io::read_file(lab.folder / "flip.csv"),
      ",attack,group,subject,test_flip\n"));
  CHECK(
      nlohmann::json::parse(cyborg::io::read_file(
          lab.folder / "flip.json"))["runs"][0]["notes"][0] == note);
  // Without the flag there is no such column.
  program_on({lab.net, "--scores", lab.folder / "plain.csv"});
  CHECK(evaluate::read_scores(lab.folder / "plain.csv").notes.empty());
  CHECK(
      program_on({lab.folder / "plain.csv", "--test-flip"}).error ==
      "evaluate: " + lab.folder / "plain.csv" +
          ": holds scores already: --test-flip is for checkpoints\n");
}

TEST_CASE(
    "What is wrong with a run is reported before a picture is read",
    "[evaluate]") {
  const Lab lab;
  // The first picture that is read would be this one, and end the program.
  // Its header is whole.
  lab.folder.write(
      "6.png", cyborg::io::read_file(lab.folder / "6.png").substr(0, 60));
  const auto out = lab.folder / "out.json";
  const auto error = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {lab.net, "--json", out});
    const auto outcome = program_on(more);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK(!std::filesystem::exists(out));
    return outcome.error;
  };
  CHECK(contains(error({}), "6.png: "));  // otherwise the picture
  CHECK(contains(error({}), "; --skip-unreadable leaves such files out\n"));
  CHECK(
      error({"--positive", "dog"}) ==
      "evaluate: " + lab.net +
          ": no class \"dog\": choose one of \"live\", \"spoof\" with "
          "--positive\n");
  CHECK(
      error({"--threshold-from", "train"}) ==
      "evaluate: " + lab.net +
          ": no rows of split \"train\": a threshold cannot be chosen there; "
          "give another split or a number with --threshold-from\n");
  CHECK(contains(
      error({"--split", "train"}),
      "holds no rows of split train, but of val, test: choose one with "
      "--split"));
  CHECK(contains(error({"--device", "toaster"}), "toaster"));
  CHECK(contains(
      error({"--scores", lab.folder / "no/s.csv"}),
      "--scores " + lab.folder / "no/s.csv" + ": cannot be written"));
  CHECK(
      error({"--data", lab.table, "--scores", lab.table}) ==
      "evaluate: --scores " + lab.table +
          ": is an input or another output, too: choose another file\n");
  CHECK(contains(error({lab.folder / "none.csv"}), "none.csv: no such file"));
  CHECK(
      program_on({lab.folder / "none.pt", "--data", lab.table}).error ==
      "evaluate: " + lab.folder / "none.pt" + ": no such file\n");
  CHECK(contains(
      error({lab.folder / "7.png"}),
      "7.png: is a picture: name a checkpoint or a CSV of scores"));
  CHECK(contains(
      error({lab.folder.path().string()}),
      ": is a folder: name a checkpoint, for example " +
          lab.folder / "best.pt"));
}

TEST_CASE("Missing pictures are listed before any is read", "[evaluate]") {
  const Lab lab;
  lab.folder.write("6.png", "broken");
  std::string csv = "split,class,path\ntest,live,6.png\ntest,spoof,7.png\n";
  for (int i = 0; i < 11; ++i) {
    csv += "test,live,gone" + std::to_string(i) + ".png\n";
  }
  const auto table = lab.folder.write("gone.csv", csv);
  const auto outcome = program_on({lab.net, "--data", table});
  CHECK(outcome.code == 2);
  CHECK(contains(
      outcome.error, "evaluate: " + table + ": 12 files cannot be read:\n  " +
                         lab.folder / "gone0.png" +
                         " (line 4): no such file\n"));
  CHECK(contains(outcome.error, "\n  and 2 more\n"));
  CHECK(contains(outcome.error, "--skip-unreadable"));
  const auto skipped =
      program_on({lab.net, "--data", table, "--skip-unreadable"});
  CHECK(skipped.code == 0);
  CHECK(contains(skipped.out, "left out: "));
  CHECK(contains(skipped.out, "APCER"));  // one spoof is left
  const auto none = lab.folder.write("none.csv", "test,live,gone.png\n");
  CHECK(contains(
      program_on({lab.net, "--data", none, "--skip-unreadable"}).error,
      none + ": no picture of split test can be read, e.g. "));
}

TEST_CASE(
    "Files that are no pictures are reported before any is scored",
    "[evaluate]") {
  const Lab lab;
  lab.folder.write("6.png", "<html>");
  const auto table =
      lab.folder.write("html.csv", "test,live,6.png\ntest,spoof,7.png\n");
  const auto outcome = program_on({lab.net, "--data", table});
  CHECK(outcome.code == 2);
  CHECK(
      outcome.error ==
      "evaluate: " + table + ": 1 file cannot be read:\n  " +
          lab.folder / "6.png" +
          " (line 1): is mislabelled: its content is HTML, not a PNG, JPEG or "
          "BMP picture: is it the page of a download that failed?\nmend the "
          "files, or leave them out with --skip-unreadable\n");
}

TEST_CASE("Maps and masks of the training need not be there", "[evaluate]") {
  const Lab lab;
  auto checkpoint = cyborg::train::load_checkpoint(lab.net);
  auto settings = nlohmann::json::parse(checkpoint.texts["settings"]);
  settings["saliency"] = lab.folder / "gone";
  settings["objective"]["wrong"] = lab.folder / "gone";
  checkpoint.texts["settings"] = settings.dump();
  cyborg::train::save_checkpoint(lab.net, checkpoint);
  CHECK(program_on({lab.net}).code == 0);
  CHECK(program_on({lab.net, "--data", lab.table}).code == 0);
}

TEST_CASE("Options of the training are rejected by evaluate", "[evaluate]") {
  const Lab lab;
  const auto said = [&](const std::vector<std::string>& words) {
    auto all = words;
    all.insert(all.begin(), lab.net);
    const auto outcome = program_on(all);
    CHECK(outcome.code == 2);
    return outcome.error.substr(0, outcome.error.find('\n'));
  };
  const std::string end =
      ": is a setting of the training, which evaluate takes from the "
      "checkpoint: leave it out";
  CHECK(said({"--window", "0,4095"}) == "--window" + end);
  CHECK(said({"--size", "32", "32"}) == "--size" + end);
  CHECK(said({"--channels=1"}) == "--channels" + end);
  CHECK(
      said({"--method", "cam"}) ==
      "--method: is an option of explain, not of evaluate");
  CHECK(
      said({"--threshold", "0.5"}) ==
      "--threshold: no such option; did you mean --threshold-from?");
  CHECK(
      said({"--fpr", "a,b"}) ==
      "--fpr: expected a number from 0 to 1, got a (--fpr takes numbers, for "
      "example --fpr 0.001,0.002,0.01,0.05)");
  CHECK(
      said({"--batch", "1.5"}) ==
      "--batch: expected a whole number from 1 to 1048576, got 1.5");
  CHECK(
      said({"--batch", "2", "--batch", "3"}) ==
      "--batch: expected once, got 2 times: 2 and 3; keep one of them");
  CHECK(said({"--scores"}) == "--scores: expected a value; got nothing");
  CHECK(contains(
      program_on({}).error,
      "expected checkpoints or files of scores, one for each run; got "
      "nothing\n"));
}

TEST_CASE("Pictures are scored in the window of the training", "[evaluate]") {
  const Lab lab;
  auto checkpoint = cyborg::train::load_checkpoint(lab.net);
  auto settings = nlohmann::json::parse(checkpoint.texts.at("settings"));
  const auto score = [&](const std::string& net, const std::string& table) {
    return program_on(
        {net, "--data", table, "--threshold-from", "0.5", "--scores",
         lab.folder / "s.csv"});
  };
  settings["window"] = {1000, 3550};
  checkpoint.texts["settings"] = settings.dump();
  const std::string net = lab.folder / "window.pt";
  cyborg::train::save_checkpoint(net, checkpoint);
  // In the window the values 1000 + 10 k are k / 255.
  std::vector<uint32_t> deep, flat;
  for (uint32_t i = 0; i < 32 * 32; ++i) {
    flat.push_back(i * 37 % 256);
    deep.push_back(1000 + 10 * flat.back());
  }
  const std::string rows = "split,class,path\ntest,live,x.png\n";
  const auto deep_table = lab.folder.write("deep/t.csv", rows);
  const auto flat_table = lab.folder.write("flat/t.csv", rows);
  lab.folder.write("deep/x.png", pictures::png(32, 32, 16, 0, deep));
  lab.folder.write("flat/x.png", pictures::png(32, 32, 8, 0, flat));
  const auto logit = [&](const std::string& with, const std::string& table) {
    const auto outcome = score(with, table);
    INFO(outcome.error);
    REQUIRE(outcome.code == 0);
    const auto scores = evaluate::read_scores(lab.folder / "s.csv");
    return scores.rows.at(0).logits.at(0);
  };
  CHECK(
      logit(net, deep_table) ==
      Approx(logit(lab.net, flat_table)).epsilon(1e-4));
  CHECK(
      logit(lab.net, deep_table) !=
      Approx(logit(lab.net, flat_table)).epsilon(1e-2));
  CHECK(contains(
      score(net, flat_table).error,
      "evaluate: " + flat_table +
          ": 1 of 1 pictures do not fit the window 1000 to 3550:\n  "));
  CHECK(contains(
      score(net, flat_table).error,
      ": has 8 bits, and the pictures of the training have 16: save it with as "
      "many bits and with values like those\n"));
  lab.folder.write(
      "deep/x.png",
      pictures::png(32, 32, 16, 0, std::vector<uint32_t>(32 * 32, 999)));
  const auto blank = score(net, deep_table);
  CHECK(blank.code == 2);
  CHECK(contains(
      blank.error,
      "evaluate: " + deep_table +
          ": all 1 pictures that were looked at show nothing:\n  "));
  CHECK(contains(
      blank.error,
      "x.png (line 2): shows nothing in the window 1000 to 3550: its values "
      "are 999 to 999\n"));
}

TEST_CASE(
    "Pictures with other bits or units than those of the training are known",
    "[evaluate]") {
  const Lab lab;
  const auto net = [&](const std::vector<double>& window,
                       const nlohmann::json& stored) {
    auto checkpoint = cyborg::train::load_checkpoint(lab.net);
    auto settings = nlohmann::json::parse(checkpoint.texts.at("settings"));
    settings["window"] = window;
    settings["stored"] = stored;
    checkpoint.texts["settings"] = settings.dump();
    cyborg::train::save_checkpoint(lab.folder / "stored.pt", checkpoint);
    return lab.folder / "stored.pt";
  };
  const auto score = [&](const std::string& checkpoint, int bits,
                         uint32_t factor) {
    std::vector<uint32_t> values;
    for (uint32_t i = 0; i < 32 * 32; ++i) {
      values.push_back(i * 37 % 256 * factor);  // the mean is 127.5 * factor
    }
    lab.folder.write("x.png", pictures::png(32, 32, bits, 0, values));
    const auto table =
        lab.folder.write("x.csv", "split,class,path\ntest,live,x.png\n");
    return program_on({checkpoint, "--data", table, "--threshold-from", "0.5"});
  };
  const std::string other =
      "1 of 1 pictures have another number of bits than those of the training, "
      "for example " +
      lab.folder / "x.png" +
      ". White is 255 in 8 bits and 65535 in 16, so they are darker or "
      "brighter if the same values are stored";
  const std::string units =
      "the pictures may have other units than those of the training: ";

  SECTION("Without a window other bits are a note") {
    const auto eight = net({}, {{"bits", {8}}});
    auto outcome = score(eight, 16, 257);
    CHECK(outcome.code == 0);
    CHECK(contains(outcome.out, other));
    const auto known = net({}, {{"bits", {8}}, {"pictures", 8}, {"mean", .5}});
    CHECK_FALSE(contains(score(known, 16, 257).out, units));
    CHECK(contains(score(known, 16, 1).out, units));
    outcome = score(eight, 8, 1);
    CHECK(outcome.code == 0);
    CHECK_FALSE(contains(outcome.out, "of the training"));
    const auto both = net({}, {{"bits", {8, 16}}});
    CHECK_FALSE(contains(score(both, 16, 257).out, "of the training"));
    const auto deep = net({}, {{"bits", {16}}, {"pictures", 8}, {"mean", .5}});
    CHECK(contains(score(deep, 8, 1).out, other));
    CHECK_FALSE(contains(score(deep, 16, 257).out, "of the training"));
    CHECK(contains(
        score(deep, 16, 16).out,
        units + "from 0 (black) to 1 (white) their mean is 0.031, and that of "
                "the training was 0.500"));
  }
  SECTION("In a window other bits are an error") {
    const auto eight = net({0, 200}, {{"bits", {8}}});
    const auto outcome = score(eight, 16, 1);
    CHECK(outcome.code == 2);
    CHECK(contains(
        outcome.error,
        ": 1 of 1 pictures do not fit the window 0 to 200:\n  " +
            lab.folder / "x.png" +
            " (line 2): has 16 bits, and the pictures of the training have 8: "
            "save it with as many bits and with values like those\n"));
    CHECK(score(eight, 8, 1).code == 0);
  }
  SECTION("In a window other units are a note") {
    const nlohmann::json trained{{"bits", {16}}, {"pictures", 8}, {"mean", .5}};
    const auto deep = net({0, 4080}, trained);
    CHECK_FALSE(contains(score(deep, 16, 16).out, "of the training"));
    // 0 to 65280: 240 of 256 values are above.
    CHECK(contains(
        score(deep, 16, 256).out,
        units + "they have 0.0 % of the values below the window 0 to 4080, and "
                "93.8 % above it; those of the training had 0.0 % and 0.0 %"));
    // 0 to 255 in files of 16 bits, of which nothing is cut.
    CHECK(contains(
        score(deep, 16, 1).out,
        units + "from 0 (black) to 1 (white) their mean is 0.031, and that of "
                "the training was 0.500"));
    // 254 of 256 values are above.
    const auto refused = score(net({0, 500}, trained), 16, 256);
    CHECK(refused.code == 2);
    CHECK(contains(
        refused.error,
        "the pictures have other units than those of the training: they have "
        "0.0 % of the values below the window 0 to 500, and 99.2 % above it; "
        "those of the training had 0.0 % and 0.0 %"));
  }
  SECTION("A checkpoint of an earlier version says nothing") {
    auto outcome = score(net({0, 4080}, nlohmann::json::object()), 16, 256);
    CHECK(outcome.code == 0);
    CHECK_FALSE(contains(outcome.out, "of the training"));
    outcome = score(lab.net, 16, 16);
    CHECK(outcome.code == 0);
    CHECK_FALSE(contains(outcome.out, "of the training"));
  }
}

TEST_CASE("A checkpoint scores a set of attacks alone", "[evaluate]") {
  const Lab lab;
  const auto table = lab.folder.write(
      "attacks.csv",
      "split,class,path,attack\ntest,spoof,7.png,print\n"
      "test,spoof,9.png,replay\n");
  const auto outcome = program_on(
      {lab.net, "--data", table, "--threshold-from", "0", "--json",
       lab.folder / "out.json"});
  CHECK(outcome.error.empty());
  CHECK(contains(outcome.out, "are of class \"spoof\""));
  const auto json =
      nlohmann::json::parse(cyborg::io::read_file(lab.folder / "out.json"));
  CHECK(json["runs"][0]["measures"]["APCER, print"] == 0);
  CHECK(json["runs"][0]["measures"]["AUC"].is_null());
}

TEST_CASE(
    "Scores that are not finite are reported with a picture", "[evaluate]") {
  const Lab lab;
  auto checkpoint = cyborg::train::load_checkpoint(lab.net);
  for (auto& [name, tensor] : checkpoint.tensors["model"]) {
    if (tensor.is_floating_point()) {
      tensor.fill_(std::nan(""));
    }
  }
  const auto broken = lab.folder / "nan.pt";
  cyborg::train::save_checkpoint(broken, checkpoint);
  CHECK(
      program_on({broken, "--scores", lab.folder / "s.csv"}).error ==
      "evaluate: " + broken + ": the network computes NaN or infinity for " +
          lab.folder / "6.png" +
          " (6 of 6 pictures): its training may have diverged; use an earlier "
          "checkpoint\n");
  CHECK(!std::filesystem::exists(lab.folder / "s.csv"));
}
