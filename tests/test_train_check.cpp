// SPDX-License-Identifier: BSD-3-Clause
//
// `train --check`: what it prints and writes, and its exit status.
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"
#include "programs.hpp"

#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/wait.h>

using pictures::Folder;
using support::contains;

namespace {

/// What `train --check` printed, and its exit status.
struct Checked {
  int status = 0;
  std::string text;
  std::string verdict;  ///< the last line
};

Checked check_of(const Folder& folder, const std::string& options = "") {
  const auto command = std::string(CYBORG_TRAIN) + " --check --data '" +
                       folder / "t.csv" + "' --out '" + folder / "out" + "' " +
                       options + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Checked checked;
  std::array<char, 4096> buffer{};
  for (size_t n = 1; n > 0;) {
    n = std::fread(buffer.data(), 1, buffer.size(), pipe);
    checked.text.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  checked.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  const auto end = checked.text.find_last_not_of('\n');
  const auto begin = checked.text.rfind('\n', end);
  checked.verdict = checked.text.substr(begin + 1, end - begin);
  return checked;
}

/// "kind: line: text" of each row of check.csv.
std::vector<std::string> csv_of(const Folder& folder) {
  const auto records = cyborg::io::parse_csv(
      cyborg::io::read_file(folder / "out/check.csv"),
      [](size_t, const std::string& reason) {
        throw std::runtime_error(reason);
      });
  std::vector<std::string> lines;
  for (const auto& record : records) {
    lines.push_back(
        record.fields[0] + ": " + record.fields[2] + ": " + record.fields[3]);
  }
  return lines;
}

std::string grey(uint32_t first, uint32_t second) {
  return pictures::png(2, 1, 8, 0, {first, second});
}

}  // namespace

TEST_CASE("A set without faults is ok, with warnings too", "[train][check]") {
  const Folder folder;
  folder.write("1.png", grey(1, 2));
  folder.write("2.png", grey(2, 3));
  folder.write("3.png", grey(0, 0));  // black
  folder.write("m.png", grey(3, 40));
  folder.write(
      "t.csv",
      "train,Real,1.png,m.png\ntrain,Synthetic,2.png\nval,Real,3.png\n");
  const auto checked = check_of(folder);
  CHECK(checked.status == 0);
  CHECK(checked.verdict == "verdict: ok");
  CHECK(contains(
      checked.text, "warning: pictures that show nothing: 1\n  " +
                        folder / "3.png" + ": is black everywhere"));
  CHECK(
      csv_of(folder) ==
      std::vector<std::string>{
          "kind: line: text", "blank: 3: is black everywhere"});
}

TEST_CASE("Each fault makes the verdict not ok", "[train][check]") {
  const Folder folder;
  folder.write("1.png", grey(1, 2));
  folder.write("2.png", grey(2, 3));
  folder.write("3.png", grey(5, 6));
  folder.write("good.png", grey(3, 4));
  folder.write("flat.png", grey(7, 7));
  folder.write("jet.png", pictures::png(2, 1, 8, 2, {0, 0, 128, 128, 0, 0}));
  const std::string header = "split,class,path,saliency,subject\n";
  const auto verdict = [&](const std::string& rows, int status,
                           const std::string& options = "") {
    folder.write(
        "t.csv", header + "train,Real,1.png,good.png,Ann\n" +
                     "train,Synthetic,2.png,,Bob\n" + rows);
    const auto checked = check_of(folder, options);
    CHECK(checked.status == status);
    return checked.verdict;
  };
  CHECK(
      verdict("train,Real,none.png,,\n", 2) ==
      "verdict: not ok: files that cannot be read: 1");
  CHECK(
      verdict("train,Real,3.png,flat.png,\n", 2) ==
      "verdict: not ok: maps that have the same value everywhere and so do not "
      "guide: 1");
  CHECK(
      verdict("train,Real,3.png,jet.png,\n", 2) ==
      "verdict: not ok: maps of colours, or in an alpha channel: 1");
  CHECK(
      verdict("train,Real,3.png,jet.png,\n", 0, "--map-values luminance") ==
      "verdict: ok");
  CHECK(
      verdict("train,Real,./2.png,,\n", 2) ==
      "verdict: not ok: the same picture in several splits or classes: 1");
  CHECK(
      csv_of(folder)[1].substr(0, 34) == "duplicate: 3: (train, Synthetic) i");
  CHECK(
      verdict("test,Real,3.png,,Ann\nval,Real,1.png,,\n", 2) ==
      "verdict: not ok: the same picture in several splits or classes: 1; "
      "subjects in several splits: 1");
  CHECK(csv_of(folder)[2] == "subject: 2: subject Ann is in test and train");
}

TEST_CASE("The CSV of a check lists what the screen counts", "[train][check]") {
  const Folder folder;
  std::string table = "train,Real,1.png\ntrain,Synthetic,2.png\n";
  folder.write("1.png", grey(1, 2));
  folder.write("2.png", grey(2, 3));
  for (int i = 0; i < 144; ++i) {
    table += "train,Real,none" + std::to_string(i) + ".png\n";
  }
  folder.write("t.csv", table);
  const auto checked = check_of(folder);
  CHECK(checked.status == 2);
  CHECK(contains(checked.text, "fault: files that cannot be read: 144\n"));
  CHECK(contains(checked.text, "none9.png: no such file\n"));
  CHECK_FALSE(contains(checked.text, "none10.png"));
  CHECK(contains(checked.text, "  and 134 more in check.csv\n"));
  const auto lines = csv_of(folder);
  REQUIRE(lines.size() == 146);
  CHECK(lines[144] == "unreadable: 146: no such file");
  CHECK(
      lines[145] == "table: : " + folder / "t.csv" +
                        ": neither val nor test rows: no validation");
}

TEST_CASE("A check looks at pictures in their window", "[train][check]") {
  const Folder folder;
  const auto deep = [&](const std::string& name, uint32_t a, uint32_t b) {
    folder.write(name, pictures::png(2, 1, 16, 0, {a, b}));
  };
  deep("1.png", 0, 4000);
  deep("2.png", 700, 3000);
  deep("3.png", 10, 20);
  folder.write(
      "t.csv", "train,Real,1.png\ntrain,Synthetic,2.png\nval,Real,3.png\n");
  auto checked = check_of(folder);
  CHECK(checked.verdict == "verdict: ok");
  CHECK(contains(
      checked.text,
      "warning: files of 16 bits that hold 12 bits or fewer (if all pictures "
      "do: --window 0,4095): 3\n"));
  checked = check_of(folder, "--window 0,4095");
  CHECK(checked.verdict == "verdict: ok");
  CHECK(csv_of(folder).size() == 1);  // the head alone
  CHECK_FALSE(contains(checked.text, "16 bits"));

  SECTION("that leaves nothing to see of one") {
    checked = check_of(folder, "--window 500,4095");
    CHECK(checked.verdict == "verdict: ok");
    CHECK(
        csv_of(folder) ==
        std::vector<std::string>{
            "kind: line: text",
            "blank: 3: is black everywhere in the window 500 to 4095"});
  }
  SECTION("that leaves nothing to see of all") {
    checked = check_of(folder, "--window 5000,6000");
    CHECK(checked.status == 2);
    CHECK(
        checked.verdict ==
        "verdict: not ok: pictures that do not fit --window: 3");
    CHECK(
        csv_of(folder)[1] ==
        "window: 1: shows nothing in the window 5000 to 6000: its values are 0 "
        "to 4000");
  }
  SECTION("beside pictures of 8 bits") {
    folder.write("3.png", grey(10, 20));
    checked = check_of(folder, "--window 0,4095");
    CHECK(
        checked.verdict ==
        "verdict: not ok: pictures that do not fit --window: 1");
    const std::string text =
        "has 8 bits, so no value above 255, and the window is 0 to 4095 "
        "(--window): the picture would be too dark. Save it with 16 bits and "
        "values like those of the others";
    CHECK(contains(checked.text, "3.png: " + text + "\n"));
    CHECK(csv_of(folder)[1] == "window: 3: " + text);
    checked = check_of(folder, "--window 0,200");
    CHECK(
        checked.verdict ==
        "verdict: not ok: pictures that do not fit --window: 2");
    CHECK(contains(
        checked.text,
        "1.png: has 16 bits, and other pictures have 8: a window "
        "is for pictures of one kind\n"));
  }
}

TEST_CASE("A check says what a window cuts of each class", "[train][check]") {
  const Folder folder;
  const auto deep = [&](const std::string& name, std::vector<uint32_t> row) {
    folder.write(name, pictures::png(4, 1, 16, 0, row));
  };
  deep("1.png", {0, 10, 20, 2000});
  deep("2.png", {5000, 5001, 2000, 3000});
  deep("3.png", {10, 20, 30, 40});
  folder.write(
      "t.csv",
      "train,Real,1.png\ntrain,Synthetic,2.png\ntrain,Synthetic,3.png\n"
      "val,Real,1.png\n");
  const auto checked = check_of(folder, "--window 1000,4095");
  INFO(checked.text);
  CHECK(contains(
      checked.text,
      "split  class             pictures  with map   without     below     "
      "above     blank\n"
      "train  Real                     1         0         1    75.0 %     "
      "0.0 %         0\n"
      "train  Synthetic                2         0         2    50.0 %    "
      "25.0 %         1\n"));
  CHECK(contains(
      checked.text,
      "below and above: values that the window 1000 to 4095 cuts; blank: "
      "pictures that show nothing\n"));
  const auto found = csv_of(folder);
  CHECK(
      std::count(
          found.begin(), found.end(),
          "cut: 1: 75 % of its values are below the window 1000 to 4095, and 0 "
          "% above it") == 1);
  CHECK(
      std::count(
          found.begin(), found.end(),
          "blank: 3: is black everywhere in the window 1000 to 4095") == 1);
  CHECK_FALSE(contains(check_of(folder).text, "below"));
}

TEST_CASE("Pictures of several bits are a finding", "[train][check]") {
  const Folder folder;
  const auto write = [&](const std::string& name, int bits, uint32_t value) {
    folder.write(name, pictures::png(2, 1, bits, 0, {0, value}));
  };
  std::string table;
  for (uint32_t i = 0; i < 4; ++i) {
    const auto name = std::to_string(i) + ".png";
    write(name, i < 2 ? 8 : 16, i < 2 ? 200 + i : 3000 + i);
    table +=
        std::string("train,") + (i < 2 ? "Real," : "Synthetic,") + name + "\n";
  }
  write("4.png", 16, 9);
  folder.write("t.csv", table + "val,Real,4.png\n");
  auto checked = check_of(folder);
  CHECK(checked.status == 2);
  CHECK(
      checked.verdict ==
      "verdict: not ok: numbers of bits that tell the class: 2");
  const auto found = csv_of(folder);
  REQUIRE(found.size() > 6);
  CHECK(
      found[1] ==
      "bits by class: 1: 8 bits: 2 of 2 pictures of class \"Real\", and 0 of 2 "
      "others");
  CHECK(
      found[2] ==
      "bits by class: 3: 16 bits: 2 of 2 pictures of class \"Synthetic\", and "
      "0 of 2 others");
  CHECK(found[3] == "several bits: 1: has 8 bits, and 3 others have 16");
  CHECK(found[4] == "several bits: 2: has 8 bits, and 3 others have 16");

  SECTION("It is a warning where they do not go with the class") {
    write("0.png", 16, 3000);
    write("2.png", 8, 200);
    checked = check_of(folder);
    CHECK(checked.verdict == "verdict: ok");
    CHECK(contains(
        checked.text,
        "warning: pictures of another number of bits than most: 2\n  " +
            folder / "1.png" + ": has 8 bits, and 3 others have 16\n"));
  }
  SECTION("12 bits in 16 of one class are a fault, too") {
    write("0.png", 16, 60000);
    write("1.png", 16, 60001);
    checked = check_of(folder);
    CHECK(
        checked.verdict ==
        "verdict: not ok: numbers of bits that tell the class: 2");
    CHECK(contains(
        checked.text,
        "dark in 16 bits: 2 of 2 pictures of class \"Synthetic\", and 0 of 2 "
        "others\n"));
  }
  SECTION("A window is left out where all pictures have 8 bits") {
    for (uint32_t i = 0; i < 5; ++i) {
      write(std::to_string(i) + ".png", 8, 10 + i);
    }
    checked = check_of(folder, "--window 0,4095");
    CHECK(
        checked.verdict ==
        "verdict: not ok: pictures that do not fit --window: 5");
    CHECK(contains(
        checked.text,
        "(--window): the picture would be too dark. All pictures have 8 bits, "
        "so leave the window out\n"));
  }
  SECTION("Formats and sizes of a class are warnings") {
    folder.write("0.jpg", pictures::jpeg_grey());
    folder.write("1.jpg", pictures::jpeg_grey() + "1");  // not a duplicate
    write("2.png", 8, 7);
    write("3.png", 8, 8);
    write("4.png", 8, 9);
    folder.write(
        "t.csv",
        "train,Real,0.jpg\ntrain,Real,1.jpg\ntrain,Synthetic,2.png\n"
        "train,Synthetic,3.png\nval,Real,4.png\n");
    checked = check_of(folder);
    CHECK(checked.verdict == "verdict: ok");
    CHECK(contains(
        checked.text,
        "warning: formats, colours or sizes that tell the class: 4\n  " +
            folder / "0.jpg" +
            ": JPEG: 2 of 2 pictures of class \"Real\", and 0 of 2 others\n"));
  }
}

TEST_CASE(
    "Options of reading act in a check as in a training", "[train][check]") {
  const Folder folder;
  folder.write("1.png", pictures::jpeg_rgb());
  folder.write("2.png", grey(2, 3));
  folder.write(
      "t.csv", "File;Label;Fold\n1.png;Real;Train\n2.png;Synthetic;dev\n");
  const std::string columns =
      "--path-column file --class-column label --split-column fold "
      "--positive Synthetic --any-extension ";
  auto checked = check_of(folder, columns);
  CHECK(checked.status == 2);
  CHECK(contains(
      checked.text,
      "class \"Synthetic\" is in split val but not in split train"));
  folder.write(
      "t.csv", "File;Label;Fold\n1.png;Real;Train\n2.png;Synthetic;TRAIN\n");
  checked = check_of(folder, columns);
  CHECK(checked.verdict == "verdict: ok");
  checked = check_of(folder, columns + "--max-pixels 63");
  CHECK(checked.verdict == "verdict: not ok: files that cannot be read: 1");
  CHECK(contains(
      checked.text,
      "1.png: is too large: 8 x 8 pixels, the limit is 63 (--max-pixels)"));
}

TEST_CASE("A check tells of maps that are no maps", "[train][check]") {
  const Folder folder;
  folder.write("1.png", grey(1, 200));
  folder.write("2.png", grey(2, 200));
  folder.write("3.png", grey(3, 200));
  folder.write("map.png", grey(0, 200));
  folder.write("one.png", grey(0, 1));
  folder.write("flat.png", grey(0, 0));
  folder.write(
      "around.png", pictures::png(3, 3, 8, 0, {9, 9, 9, 9, 0, 9, 9, 9, 9}));
  folder.write("page.png", "<!DOCTYPE html><title>404</title>");
  const auto check = [&](const std::string& rows) {
    folder.write("t.csv", "split,class,path,saliency,wrong\n" + rows);
    return check_of(folder);
  };
  folder.write("4.png", grey(4, 200));
  const std::string others = "train,Synthetic,3.png,,\nval,Synthetic,4.png,,\n";
  auto checked = check("train,Real,1.png,./1.png,\n" + others);
  CHECK(checked.status == 2);
  CHECK(
      checked.verdict ==
      "verdict: not ok: files that are named for two things: 1");
  CHECK(
      csv_of(folder) == std::vector<std::string>{
                            "kind: line: text",
                            "same file: 2: is the picture itself, and is named "
                            "as its human map"});
  checked = check("train,Real,1.png,map.png,map.png\n" + others);
  CHECK(checked.status == 2);
  CHECK(
      csv_of(folder)[1] ==
      "same file: 2: is the human map, and is named as its mask of what is "
      "wrong");
  checked = check("train,Real,1.png,map.png,one.png\n" + others);
  CHECK(
      checked.verdict ==
      "verdict: not ok: masks of what is wrong with small values only, so that "
      "they do nearly nothing: 1");
  // Warnings.
  checked = check(
      "train,Real,1.png,map.png,\ntrain,Real,2.png,map.png,\n"
      "train,Synthetic,3.png,one.png,\nval,Real,4.png,,\n");
  CHECK(checked.status == 0);
  CHECK(contains(
      checked.text,
      "warning: human maps with small values only (if a loss does not stretch "
      "them, they guide nearly nothing): 1\n  " +
          folder / "one.png" + ": has no value above 1 of 255: were values "));
  CHECK(contains(
      checked.text,
      "warning: files that are the human map of several pictures: 1\n  " +
          folder / "map.png" + ": is the human map of 2 pictures: " +
          folder / "1.png" + ", " + folder / "2.png" + " (line 3)\n"));
  CHECK(csv_of(folder)[2].substr(0, 14) == "shared map: 2:");
  checked = check("train,Real,1.png,around.png,\n" + others);
  CHECK(contains(
      checked.text,
      "warning: human maps that look inverted (bright means salient): 1\n  " +
          folder / "around.png" +
          ": is bright along its whole border and dark inside\n"));
  checked = check(
      "train,Real,1.png,flat.png,\ntrain,Real,2.png,page.png,\n" + others);
  CHECK(checked.status == 2);
  CHECK(contains(checked.text, "flat.png: is black everywhere\n"));
  CHECK(contains(
      checked.text,
      "page.png: is mislabelled: its content is HTML, not a PNG, JPEG or BMP "
      "picture: is it the page of a download that failed?\n"));
}
