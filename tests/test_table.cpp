// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/data/table.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace data = cyborg::data;
using data::read_folders;
using data::read_table;
using data::TableOptions;
using pictures::Folder;
using support::contains;
using support::error_of;

namespace {

using Strings = std::vector<std::string>;

/// The table of a CSV with this text.
data::Table table_of(
    const Folder& folder, const std::string& text,
    const TableOptions& options = {}) {
  return read_table(folder.write("t.csv", text), options);
}

/// The error of `read_table` for this text, from the name of the file on.
std::string error_in(
    const Folder& folder, const std::string& text,
    const TableOptions& options = {}) {
  const auto error = error_of([&] { table_of(folder, text, options); });
  const auto start = "cyborg::data::read_table: " + folder / "";
  return error.compare(0, start.size(), start) == 0 ? error.substr(start.size())
                                                    : error;
}

}  // namespace

TEST_CASE("A CSV of the published format has no header", "[data][table]") {
  const Folder folder;
  const auto table = table_of(
      folder,
      "train,Real,faces/1.png,maps/1.png\n"
      "train,Synthetic,faces/2.png\n"
      "test,Real,/elsewhere/3.png,\n");
  REQUIRE(table.rows.size() == 3);
  CHECK(table.classes == Strings{"Real", "Synthetic"});
  CHECK(table.rows[0].split == "train");
  CHECK(table.rows[0].cls == "Real");
  CHECK(table.rows[0].label == 0);
  CHECK(table.rows[0].path == folder / "faces/1.png");
  CHECK(table.rows[0].saliency == Strings{folder / "maps/1.png"});
  CHECK(table.rows[0].line == 1);
  CHECK(table.rows[1].label == 1);
  CHECK(table.rows[1].saliency.empty());
  CHECK(table.rows[2].path == "/elsewhere/3.png");
  CHECK(table.rows[2].saliency == Strings{""});
}

TEST_CASE("A header names the columns in any order", "[data][table]") {
  const Folder folder;
  const auto table = table_of(
      folder,
      "subject,path,Saliency_anna,class,split,saliency_ben,attack,group,age\n"
      "s1,1.png,a.png,normal,train,b.png,,north,7\n"
      "s2,2.png,,abnormal,val,c.png,print,south,8\n");
  REQUIRE(table.rows.size() == 2);
  CHECK(table.rows[0].saliency == Strings{folder / "a.png", folder / "b.png"});
  CHECK(table.rows[1].saliency == Strings{"", folder / "c.png"});
  CHECK(table.rows[0].subject == "s1");
  CHECK(table.rows[1].attack == "print");
  CHECK(table.rows[1].group == "south");
  CHECK(table.rows[1].line == 3);
  CHECK(table.classes == Strings{"normal", "abnormal"});
  REQUIRE(table.warnings.size() == 1);
  CHECK(contains(table.warnings[0], "t.csv: column \"age\" is not used"));
}

TEST_CASE(
    "Quotes, line ends, a byte order mark and blank lines", "[data][table]") {
  const Folder folder;
  const auto table = table_of(
      folder,
      "\xEF\xBB\xBF\r\n"
      "train , Real , \"a, b.png\"\r\n"
      "\r\n"
      "  \t\n"
      "val,Synthetic,\"say \"\"hi\"\".png\" ,\r"
      "\"test\",Real,\"two\nlines.png\"\n"
      "test,Real,last.png");
  REQUIRE(table.rows.size() == 4);
  CHECK(table.rows[0].path == folder / "a, b.png");
  CHECK(table.rows[0].cls == "Real");
  CHECK(table.rows[0].line == 2);
  CHECK(table.rows[1].path == folder / "say \"hi\".png");
  CHECK(table.rows[1].line == 5);
  CHECK(table.rows[2].path == folder / "two\nlines.png");
  CHECK(table.rows[3].line == 8);
  CHECK(table.warnings.empty());
}

TEST_CASE(
    "The positive class is known or named, never guessed", "[data][table]") {
  const Folder folder;
  const auto classes = [&](const std::string& a, const std::string& b,
                           const TableOptions& options = {}) {
    return table_of(
               folder, "train," + a + ",1.png\nval," + b + ",2.png\n", options)
        .classes;
  };
  CHECK(classes("Synthetic", "Real") == Strings{"Real", "Synthetic"});
  CHECK(classes("spoof", "live") == Strings{"live", "spoof"});
  CHECK(classes("normal", "abnormal") == Strings{"normal", "abnormal"});
  CHECK(classes("Real", "Real") == Strings{"Real", "Synthetic"});
  CHECK(classes("Spoof", "Spoof") == Strings{"Live", "Spoof"});
  CHECK(classes("a", "b", TableOptions().positive("a")) == Strings{"b", "a"});
  CHECK(
      classes("Real", "Synthetic", TableOptions().positive("Real")) ==
      Strings{"Synthetic", "Real"});
  CHECK(
      classes("b", "b", TableOptions().classes({"c", "b", "a"})) ==
      Strings{"c", "b", "a"});
  CHECK(
      error_in(folder, "train,a,1.png\nval,b,2.png\n") ==
      "t.csv: expected to know which of \"a\" and \"b\" is the positive class; "
      "name it (TableOptions::positive; --positive in the programs)");
  CHECK(
      error_in(folder, "train,Real,1.png\nval,Spoof,2.png\n") ==
      "t.csv: expected to know which of \"Real\" and \"Spoof\" is the positive "
      "class; name it (TableOptions::positive; --positive in the programs)");
  CHECK(
      error_in(folder, "train,a,1.png\n") ==
      "t.csv: expected two or more classes, got only \"a\"; or name all "
      "classes (classes in TableOptions)");
  CHECK(
      error_in(
          folder, "train,a,1.png\nval,b,2.png\n",
          TableOptions().positive("c")) ==
      "t.csv: expected two classes, one of them the positive \"c\", got \"a\", "
      "\"b\"");
  CHECK(
      error_in(folder, "train,Real,1.png\nval,real,2.png\n") ==
      "t.csv: classes \"Real\" and \"real\" differ only in case");
  CHECK(
      error_in(
          folder, "train,c,1.png\nval,b,2.png\ntest,a,3.png\n",
          TableOptions().positive("a")) ==
      "t.csv: expected two classes, one of them the positive \"a\", got \"a\", "
      "\"b\", \"c\"");
  CHECK(
      error_in(
          folder, "train,a,1.png\nval,d,2.png\n",
          TableOptions().classes({"a", "b"})) ==
      "t.csv:2: unknown class \"d\"");
}

TEST_CASE("Three or more classes are numbered by name", "[data][table]") {
  const Folder folder;
  const auto table =
      table_of(folder, "train,c,1.png\ntrain,a,2.png\nval,b,3.png\n");
  CHECK(table.classes == Strings{"a", "b", "c"});
  CHECK(table.rows[0].label == 2);
  CHECK(table.rows[1].label == 0);
  CHECK(table.rows[2].label == 1);
}

TEST_CASE(
    "Without val rows the test rows are used for validation, with a warning",
    "[data][table]") {
  const Folder folder;
  const auto table = table_of(
      folder, "train,Real,1.png\ntest,Synthetic,2.png\ntest,Real,3.png\n");
  CHECK(table.rows_of("val").size() == 2);
  CHECK(table.rows_of("test").size() == 2);
  CHECK(table.rows_of("train").size() == 1);
  CHECK(!table.has("val"));
  REQUIRE(table.warnings.size() == 1);
  CHECK(contains(
      table.warnings[0],
      "t.csv: no val rows: the test rows are used for validation, as in the "
      "published code"));

  SECTION("no warning if there are val rows") {
    const auto three =
        table_of(folder, "train,Real,1.png\ntest,Real,2.png\nval,Real,3.png\n");
    CHECK(three.rows_of("val").size() == 1);
    CHECK(three.rows_of("val")[0].path == folder / "3.png");
    CHECK(three.warnings.empty());
  }
  SECTION("neither val nor test rows") {
    const auto alone = table_of(folder, "train,Real,1.png\n");
    CHECK(alone.rows_of("val").empty());
    REQUIRE(alone.warnings.size() == 1);
    CHECK(contains(
        alone.warnings[0], "neither val nor test rows: no validation"));
  }
  SECTION("no warning if there are no train rows") {
    CHECK(table_of(folder, "test,Real,1.png\n").warnings.empty());
  }
}

TEST_CASE(
    "A subject or a picture in two splits gives a warning", "[data][table]") {
  const Folder folder;
  const auto table = table_of(
      folder,
      "split,class,path,subject\n"
      "train,Real,1.png,anna\n"
      "train,Real,2.png,anna\n"
      "val,Real,3.png,anna\n"
      "val,Real,4.png,ben\n"
      "test,Real,5.png,ben\n"
      "test,Real,1.png,\n"
      "val,Real,6.png,\n");
  REQUIRE(table.warnings.size() == 2);
  CHECK(contains(
      table.warnings[0],
      "t.csv: 2 subjects are in more than one split, e.g. \"anna\""));
  CHECK(contains(
      table.warnings[1], "t.csv: 1 picture is in more than one split, e.g. "));
}

TEST_CASE("Maps are found by the name of the picture", "[data][table]") {
  const Folder folder;
  folder.write("maps/1.jpg", "x");
  folder.write("maps/Real/2.png", "x");
  folder.write("maps/train/Real/3.png", "x");
  const auto table = table_of(
      folder,
      "train,Real,a/1.jpg\n"
      "train,Real,a/2.jpg\n"
      "train,Real,a/3.jpg,\n"
      "train,Real,a/4.jpg\n"
      "val,Real,a/5.jpg,own.png\n",
      TableOptions().saliency(folder / "maps"));
  CHECK(table.rows[0].saliency == Strings{folder / "maps/1.jpg"});
  CHECK(table.rows[1].saliency == Strings{folder / "maps/Real/2.png"});
  CHECK(table.rows[2].saliency == Strings{folder / "maps/train/Real/3.png"});
  CHECK(table.rows[3].saliency.empty());
  CHECK(table.rows[4].saliency == Strings{folder / "own.png"});
  CHECK(table.warnings.empty());

  SECTION("the first choice is split/class") {
    folder.write("maps/Real/1.png", "x");
    folder.write("maps/Real/3.png", "x");
    folder.write("maps/2.png", "x");
    folder.write("maps/train/Real/2.jpg", "x");
    const auto again = table_of(
        folder,
        "train,Real,a/1.jpg\ntrain,Real,a/2.jpg\ntrain,Real,a/3.jpg\n"
        "val,Real,a/3.jpg\ntrain,Real,a/1.jpg\n",
        TableOptions().saliency(folder / "maps"));
    const auto found = [&](size_t i) { return again.rows[i].saliency; };
    CHECK(found(0) == Strings{folder / "maps/Real/1.png"});
    CHECK(found(1) == Strings{folder / "maps/train/Real/2.jpg"});
    CHECK(found(2) == Strings{folder / "maps/train/Real/3.png"});
    CHECK(found(3) == Strings{folder / "maps/Real/3.png"});
    CHECK(found(4) == found(0));  // the same picture twice is allowed
  }
  SECTION("a row with the map of one annotator gets no other map") {
    const auto two = table_of(
        folder,
        "split,class,path,saliency_a,saliency_b\n"
        "train,Real,1.jpg,,own.png\nval,Real,1.jpg,,\n",
        TableOptions().saliency(folder / "maps"));
    CHECK(two.rows[0].saliency == Strings{"", folder / "own.png"});
    CHECK(two.rows[1].saliency == Strings{folder / "maps/1.jpg"});
  }
  SECTION("two pictures must not have the same map") {
    CHECK(contains(
        error_of([&] {
          table_of(
              folder, "train,Real,a/1.jpg\nval,Real,b/1.jpg\n",
              TableOptions().saliency(folder / "maps"));
        }),
        "maps/1.jpg: is the human map of two pictures of the same name, "));
  }
  SECTION("a folder with no map for these pictures gives a warning") {
    const auto none = table_of(
        folder, "train,Real,x.jpg\nval,Real,y.jpg\n",
        TableOptions().saliency(folder / "maps"));
    REQUIRE(none.warnings.size() == 1);
    CHECK(contains(
        none.warnings[0], "maps holds no human map for a picture of "));
  }
  SECTION("the folder must exist") {
    CHECK(contains(
        error_of([&] {
          table_of(
              folder, "train,Real,x.jpg\n",
              TableOptions().saliency(folder / "none"));
        }),
        "none: is not a folder of human maps"));
  }
}

TEST_CASE("Rows of the split ignore are left out", "[data][table]") {
  const Folder folder;
  // What else such a row holds is not read: it may be broken.
  const auto table = cyborg::data::read_table(folder.write(
      "t.csv",
      "split,class,path,boxes\nIgnore,,,nonsense\ntrain,Real,1.png,\n"
      "train,Synthetic,2.png,\nignore,third,3.png,\n"));
  REQUIRE(table.rows.size() == 2);
  CHECK(table.classes == std::vector<std::string>{"Real", "Synthetic"});
  CHECK(contains(
      table.warnings_text(), "t.csv: 2 rows of the split ignore are left out"));
  // Without a header, too.
  CHECK(
      cyborg::data::read_table(
          folder.write(
              "t.csv",
              "ignore,Real,0.png\ntrain,Real,1.png\ntrain,Synthetic,2.png\n"))
          .rows.size() == 2);
  CHECK(contains(
      error_in(folder, "ignore,Real,1.png\n"), "t.csv: holds no rows"));
}

TEST_CASE(
    "An invalid row is an error with file and line", "[data][table][error]") {
  const Folder folder;
  const std::string good = "train,Real,1.png\n";
  CHECK(
      error_in(folder, good + "\nvalue,Real,2.png\n") ==
      "t.csv:3: unknown split \"value\", expected train, val, test or ignore");
  CHECK(
      error_in(folder, good + "val,Real\n") ==
      "t.csv:2: expected 3 or 4 fields, got 2");
  CHECK(
      error_in(folder, good + "val,Real,a,b,c\n") ==
      "t.csv:2: expected 3 or 4 fields, got 5; more columns need a header that "
      "names them");
  CHECK(
      error_in(folder, "split,class,path\ntrain,Real\n") ==
      "t.csv:2: expected 3 fields, got 2");
  CHECK(
      error_in(folder, good + "val,,2.png\n") == "t.csv:2: the class is empty");
  CHECK(error_in(folder, good + "val,Real,\n") == "t.csv:2: the path is empty");
  CHECK(
      error_in(folder, good + "val,Real,\"2.png\n\n") ==
      "t.csv:2: a quote is opened and never closed");
  CHECK(
      error_in(folder, good + "val,Real,\"2\".png\n") ==
      "t.csv:2: text follows a closing quote");
  CHECK(
      error_in(folder, good + "val,Real,2\".png\n") ==
      "t.csv:2: an unquoted field contains a quote");
  CHECK(
      error_in(folder, good + std::string("val,Re\0al,2.png\n", 17)) ==
      "t.csv:2: contains a zero byte: this is not a text file");
  CHECK(
      error_in(folder, "trian,Real,1.png\n") ==
      "t.csv:1: expected a header with split, class and path, or a row that "
      "begins with train, val or test, got \"trian\"");
  CHECK(
      error_in(folder, "split,class,path,class\ntrain,a,b,c\n") ==
      "t.csv:1: two columns are named \"class\"");
  CHECK(
      error_in(folder, "\nPath,Subject,subject,CLASS,Split\n") ==
      "t.csv:2: two columns are named \"subject\"");
  CHECK(
      error_in(folder, "split,path\ntrain,1.png\n") ==
      "t.csv:1: the column \"class\" is missing; the header is \"split\", "
      "\"path\" (class_column; --class-column in the programs says what it is "
      "called)");
  CHECK(
      error_in(folder, "split,class,path\ntrain,Real,1.png,2.png\n") ==
      "t.csv:2: expected 3 fields, got 4");
  // An empty quoted field is a field, so this line is not blank.
  CHECK(
      error_in(folder, good + "\"\"\n") ==
      "t.csv:2: expected 3 or 4 fields, got 1");
}

TEST_CASE("A missing or empty table is an error", "[data][table][error]") {
  const Folder folder;
  CHECK(error_in(folder, "") == "t.csv: is empty (0 bytes)");
  CHECK(error_in(folder, "\n\n") == "t.csv: holds no rows");
  CHECK(error_in(folder, "split,class,path\n") == "t.csv: holds no rows");
  const auto large = folder.write("large.csv", "train,Real,1.png\n");
  std::filesystem::resize_file(large, (uint64_t{1} << 31) + 1);  // sparse
  CHECK(
      error_of([&] { read_table(large); }) ==
      "cyborg::data::read_table: " + large +
          ": is too large: 2147483649 bytes, the limit is 2147483648");
  CHECK(
      error_of([&] { read_table(folder / "none.csv"); }) ==
      "cyborg::data::read_table: " + folder / "none.csv" + ": no such file");
}

TEST_CASE("A table is read from folders split/class", "[data][table]") {
  const Folder folder;
  for (const auto* name :
       {"train/Real/b.png", "train/Real/a.JPG", "train/Synthetic/c.bmp",
        "test/Real/d.jpeg"}) {
    folder.write(name, "x");
  }
  const auto table = read_folders(folder.path());
  REQUIRE(table.rows.size() == 4);
  CHECK(table.rows[0].path == folder / "test/Real/d.jpeg");
  CHECK(table.rows[1].path == folder / "train/Real/a.JPG");
  CHECK(table.rows[2].path == folder / "train/Real/b.png");
  CHECK(table.rows[3].split == "train");
  CHECK(table.rows[3].cls == "Synthetic");
  CHECK(table.rows[3].label == 1);
  REQUIRE(table.warnings.size() == 1);  // no val rows

  SECTION("files that are not used give one warning for each folder") {
    folder.write("maps/1.png", "x");
    folder.write("train/Real/notes.txt", "x");
    folder.write("train/Real/more.txt", "x");
    const auto again = read_folders(folder.path());
    CHECK(again.rows.size() == 4);
    REQUIRE(again.warnings.size() == 3);
    CHECK(again.warnings[0] == folder / "maps" + " is not used");
    CHECK(
        again.warnings[1] == folder / "train/Real" +
                                 ": 2 files are not used, e.g. more.txt: PNG, "
                                 "JPEG and BMP are read");
  }
  SECTION("files next to the folders give warnings") {
    folder.write("about.txt", "x");
    folder.write("train/1.png", "x");
    const auto again = read_folders(folder.path());
    CHECK(again.rows.size() == 4);
    REQUIRE(again.warnings.size() == 3);
    CHECK(again.warnings[0] == folder / "about.txt" + " is not used");
    CHECK(again.warnings[1] == folder / "train/1.png" + " is not used");
    CHECK(
        again.warnings[2] == folder.path().string() +
                                 ": no val rows: the test rows are used for "
                                 "validation, as in the published code");
  }
  SECTION("options name the positive class and the folder of maps") {
    folder.write("looks/train/Real/b.png", "x");
    const auto again = read_folders(
        folder.path(),
        TableOptions().positive("Real").saliency(folder / "looks"));
    CHECK(again.name == folder.path().string());
    CHECK(again.classes == Strings{"Synthetic", "Real"});
    CHECK(again.rows[2].saliency == Strings{folder / "looks/train/Real/b.png"});
    CHECK(again.rows[3].saliency.empty());
    CHECK(again.rows[3].line == 0);
    CHECK(
        error_of([&] {
          read_folders(folder.path(), TableOptions().classes({"Real", "Fake"}));
        }) == "cyborg::data::read_folders: " + folder.path().string() +
                  ": unknown class \"Synthetic\"");
  }
  SECTION("errors") {
    const Folder empty;
    CHECK(contains(
        error_of([&] { read_folders(empty.path()); }),
        ": holds no pictures in folders split/class, where split is train, val "
        "or test"));
    CHECK(contains(
        error_of([&] { read_folders(empty / "none"); }),
        "none: is not a folder"));
  }
}

TEST_CASE("Names of pictures are told from other names", "[table]") {
  for (const char* name : {"1.png", "a/1.JPG", "b.c/1.jpeg", "1.Bmp"}) {
    INFO(name);
    CHECK(data::is_picture(name));
  }
  for (const char* name : {"1.txt", "png", "a.png/1", "1.gif", ""}) {
    INFO(name);
    CHECK_FALSE(data::is_picture(name));
  }
}

TEST_CASE("A table that was made by hand finds its maps", "[table]") {
  const Folder folder;
  folder.write("maps/train/a/1.png", "");
  folder.write("maps/2.png", "");
  data::Table table;
  for (const char* path : {"x/1.jpg", "x/2.png", "x/3.png"}) {
    data::Row row;
    row.split = "train";
    row.cls = "a";
    row.path = path;
    table.rows.push_back(row);
  }
  data::find_maps(table, TableOptions().saliency(folder / "maps"));
  CHECK(table.rows[0].saliency == Strings{folder / "maps/train/a/1.png"});
  CHECK(table.rows[1].saliency == Strings{folder / "maps/2.png"});
  CHECK(table.rows[2].saliency.empty());
  CHECK(contains(
      error_of([&] {
        data::find_maps(table, TableOptions().saliency(folder / "none"));
      }),
      "cyborg::data::find_maps"));
}
