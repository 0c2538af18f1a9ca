// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <evaluate/measures.hpp>
#include <evaluate/program.hpp>
#include <evaluate/report.hpp>
#include <evaluate/scores.hpp>

#include <cyborg/io/file.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <sys/resource.h>

using evaluate::EvaluateOptions;
using evaluate::judge;
using evaluate::ProgramResult;
using evaluate::read_scores;
using evaluate::RunResult;
using evaluate::ScoresTable;
using support::contains;
using support::error_of;

namespace {

// Four live and four spoof samples to judge, and a clear threshold, .6, on
// others. In an order that no reader may rely on.
const std::string kFaces =
    "score,attack,path,split,class,label,group\n"
    ".1,,v1.png,val,live,0,a\n"
    ".4,,v2.png,val,live,0,b\n"
    ".6,print,v3.png,val,spoof,1,a\n"
    ".9,replay,v4.png,val,spoof,1,b\n"
    ".2,,1.png,test,live,0,a\n"
    ".7,,2.png,test,live,0,b\n"
    ".3,,3.png,test,live,0,a\n"
    ".1,,4.png,test,live,0,a\n"
    ".8,print,5.png,test,spoof,1,a\n"
    ".5,print,6.png,test,spoof,1,b\n"
    ".65,replay,7.png,test,spoof,1,a\n"
    ".9,replay,8.png,test,spoof,1,a\n";

// The same samples, told apart perfectly, and without types or groups.
const std::string kPerfect =
    "path,split,class,label,score\n"
    "v1,val,live,0,.1\nv2,val,spoof,1,.6\n"
    "1,test,live,0,.2\n2,test,spoof,1,.8\n";

const std::string kThree =
    "path,split,class,label,logit_0,logit_1,logit_2\n"
    "1,test,cat,0,3,1,0\n"
    "2,test,cat,0,1,2,0\n"
    "3,test,dog,1,1,2,0\n"
    "4,test,owl,2,0,1,4\n";

ScoresTable table_of(const std::string& csv) {
  const pictures::Folder folder;
  auto table = read_scores(folder.write("run.csv", csv));
  table.name = "run.csv";
  return table;
}

/// The error of a table, from the file's name on.
std::string read_error(const std::string& csv) {
  const pictures::Folder folder;
  const auto text =
      error_of([&] { read_scores(folder.write("run.csv", csv)); });
  const auto at = text.find("run.csv");
  return at == std::string::npos ? text : text.substr(at);
}

double value_of(const RunResult& run, const std::string& name) {
  for (const auto& measure : run.measures) {
    if (measure.name == name) {
      return measure.value;
    }
  }
  FAIL("no measure " << name);
  return 0;
}

bool has(const RunResult& run, const std::string& name) {
  for (const auto& measure : run.measures) {
    if (measure.name == name) {
      return true;
    }
  }
  return false;
}

ProgramResult program(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"evaluate"};
  for (const auto& one : arguments) {
    argv.push_back(one.c_str());
  }
  return evaluate::program(static_cast<int>(argv.size()), argv.data());
}

}  // namespace

TEST_CASE(
    "A table of scores is read by the names of its columns", "[evaluate]") {
  const auto table = table_of(kFaces);
  REQUIRE(table.rows.size() == 12);
  CHECK(table.classes == std::vector<std::string>{"live", "spoof"});
  CHECK(table.rows[2].path == "v3.png");
  CHECK(table.rows[2].split == "val");
  CHECK(table.rows[2].label == 1);
  CHECK(table.rows[2].score == .6);
  CHECK(table.rows[2].attack == "print");
  CHECK(table.rows[2].group == "a");
  CHECK(table.rows[2].logits.empty());
  const auto more = table_of(
      "path,split,class,label,score,colour,logit_1\na,test,x,0,.5,red,1\n");
  CHECK(
      more.notes ==
      std::vector<std::string>{
          "column \"colour\" is not used", "column \"logit_1\" is not used"});
  CHECK(more.classes == std::vector<std::string>{"x", "class 1"});
}

TEST_CASE("A table that cannot be used is reported by its line", "[evaluate]") {
  const std::string head = "path,split,class,label,score\n";
  CHECK(
      read_error("path,split,label,score\n1,test,0,.5\n") ==
      "run.csv:1: no column \"class\", found \"path\", \"split\", \"label\", "
      "\"score\": the first line must name path, split, class, label, and "
      "score "
      "or logit_0, logit_1, ...");
  CHECK(contains(
      read_error("image,split,score\n1,test,.5\n"),
      "run.csv:1: no columns \"path\", \"class\", \"label\", found \"image\", "
      "\"split\", \"score\": "));
  CHECK(contains(
      read_error("a,b,c,d,e,f,g,h,i,j,k,l,m\n"
                 "1,2,3,4,5,6,7,8,9,10,11,12,13\n"),
      "\"k\", \"l\", ...: "));
  CHECK(
      read_error("path,split,class,label\n1,test,x,0\n") ==
      "run.csv:1: neither a column \"score\" nor \"logit_0\", \"logit_1\", "
      "..., found \"path\", \"split\", \"class\", \"label\": write one of "
      "them");
  CHECK(
      read_error("path,path,split,class,label,score\n1,1,test,x,0,.5\n") ==
      "run.csv:1: two columns are named \"path\": leave one of them out");
  CHECK(
      read_error(head + "1,test,x,0,.5\n2,test,x,0\n") ==
      "run.csv:3: expected 5 fields, got 4: quote a field that holds a comma");
  CHECK(
      read_error(head + "1,test,x,first,.5\n") ==
      "run.csv:2: the label is \"first\": write the number of the class, 0, "
      "1, ...");
  for (const auto* score : {"1.5", "-.1", "nan", "", "high"}) {
    CHECK(
        read_error(head + "1,test,x,0," + score + "\n") ==
        "run.csv:2: the score is \"" + std::string(score) +
            "\": write the probability of label 1, in [0, 1], or logits in "
            "columns logit_0, logit_1, ... instead");
  }
  CHECK(
      read_error("path,split,class,label,logit_0\n1,test,x,0,inf\n") ==
      "run.csv:2: logit_0 is \"inf\": write a finite number");
  CHECK(
      read_error(head + "1,test,x,0,.5\n2,test,y,0,.5\n") ==
      "run.csv:3: label 0 is class \"y\" here and \"x\" above: give each "
      "class its own label");
  CHECK(
      read_error(head + "1,test,x,0,.5\n2,test,x,1,.5\n") ==
      "run.csv:3: class \"x\" has label 1 here and 0 above: give each class "
      "one label");
  CHECK(
      read_error(head + "1,test,,0,.5\n") ==
      "run.csv:2: the class is empty: write its name");
  CHECK(
      read_error(head + "1,test,x,2,.5\n") ==
      "run.csv:2: label 2 with one score: more than two classes need the "
      "columns logit_0, logit_1, ..., one a class");
  CHECK(
      read_error(
          "path,split,class,label,logit_0,logit_1\n1,test,x,2,.5,.5\n") ==
      "run.csv:2: label 2 has no column logit_2: write one logit a class");
  CHECK(
      read_error(head) ==
      "run.csv: holds no rows below its first line: write one a sample");
  CHECK(contains(error_of([] { read_scores("no/such.csv"); }), "no such file"));
}

TEST_CASE("Two classes are judged at the threshold of others", "[evaluate]") {
  const auto run = judge(table_of(kFaces), EvaluateOptions());
  CHECK(run.threshold == .6);
  CHECK(run.threshold_origin == "equal errors on split \"val\"");
  CHECK(run.notes.empty());
  CHECK(value_of(run, "AUC") == 14. / 16);
  CHECK(value_of(run, "EER") == .25);
  CHECK(value_of(run, "TPR at FPR 0.01") == .5);
  CHECK(value_of(run, "accuracy") == .75);
  CHECK(value_of(run, "balanced accuracy") == .75);
  CHECK(value_of(run, "APCER") == .5);
  CHECK(value_of(run, "APCER, print") == .5);
  CHECK(value_of(run, "APCER, replay") == 0);
  CHECK(value_of(run, "APCER, all attacks together") == .25);
  CHECK(value_of(run, "BPCER") == .25);
  CHECK(value_of(run, "ACER") == .375);
  CHECK(value_of(run, "BPCER10") == .25);
  CHECK(value_of(run, "APCER at BPCER 0.01") == .5);
  CHECK(value_of(run, "accuracy, a") == 1);
  CHECK(value_of(run, "accuracy, b") == 0);
  CHECK(value_of(run, "accuracy, worst group") == 0);
  CHECK(value_of(run, "accuracy, mean of groups") == .5);
  CHECK(run.samples == std::vector<int64_t>{4, 4});
  CHECK(run.confusion == std::vector<std::vector<int64_t>>{{3, 1}, {1, 3}});
  const auto plain = judge(table_of(kPerfect), EvaluateOptions());
  CHECK(value_of(plain, "AUC") == 1);
  CHECK(!has(plain, "APCER, all attacks together"));
  CHECK(!has(plain, "accuracy, worst group"));
}

TEST_CASE("The other class can be the positive one", "[evaluate]") {
  for (const auto* name : {"live", "0"}) {
    EvaluateOptions options;
    options.positive = name;
    const auto run = judge(table_of(kFaces), options);
    CHECK(run.positive == 0);
    CHECK(run.threshold == Approx(.6));
    CHECK(value_of(run, "AUC") == 14. / 16);
    CHECK(value_of(run, "APCER") == .25);  // live .7 counts as .3
    CHECK(value_of(run, "BPCER") == 0);
    CHECK(run.confusion == std::vector<std::vector<int64_t>>{{3, 1}, {0, 4}});
  }
  EvaluateOptions options;
  options.positive = "fake";
  CHECK(
      error_of([&] { judge(table_of(kFaces), options); }) ==
      "evaluate: run.csv: no class \"fake\": choose one of \"live\", "
      "\"spoof\" with --positive");
}

TEST_CASE("Logits become scores in one of two ways", "[evaluate]") {
  // ln 3 is 1.0986...: softmax 1/2, sigmoid 3/4; then softmax 1/4, sigmoid 1/2.
  const auto table = table_of(
      "path,split,class,label,logit_0,logit_1\n"
      "1,test,live,0,1.0986122886681098,0\n"
      "2,test,spoof,1,1.0986122886681098,1.0986122886681098\n");
  EvaluateOptions options;
  const auto softmax = judge(table, options);
  CHECK(softmax.positive_scores[0] == Approx(.5));
  CHECK(softmax.negative_scores[0] == Approx(.25));
  options.score = evaluate::ScoreFrom::kSigmoid;
  options.score_asked = true;
  const auto sigmoid = judge(table, options);
  CHECK(sigmoid.positive_scores[0] == Approx(.75));
  CHECK(sigmoid.negative_scores[0] == Approx(.5));
  CHECK(
      error_of([&] { judge(table_of(kFaces), options); }) ==
      "evaluate: run.csv: no columns logit_0, logit_1, ..., which --score "
      "needs: leave that option out, and the column \"score\" is taken");
  // Far logits neither overflow nor become NaN.
  const auto far = judge(
      table_of("path,split,class,label,logit_0,logit_1\n"
               "1,test,live,0,2000,-2000\n2,test,spoof,1,-2000,2000\n"),
      EvaluateOptions());
  CHECK(far.negative_scores[0] == 0);
  CHECK(far.positive_scores[0] == 1);
}

TEST_CASE("A single logit speaks for label 1", "[evaluate]") {
  const auto table = table_of(
      "path,split,class,label,logit_0\n"
      "1,test,live,0,-1.0986122886681098\n2,test,spoof,1,0\n");
  EvaluateOptions options;
  const auto run = judge(table, options);
  CHECK(run.positive_scores[0] == Approx(.5));
  CHECK(run.negative_scores[0] == Approx(.25));
  options.score_asked = true;
  CHECK(
      error_of([&] { judge(table, options); }) ==
      "evaluate: run.csv: one logit a row has no softmax: use --score sigmoid");
}

TEST_CASE("A threshold is given, chosen, or said to be missing", "[evaluate]") {
  EvaluateOptions options;
  options.threshold_asked = true;
  options.threshold_from = "0.25";
  const auto given = judge(table_of(kFaces), options);
  CHECK(given.threshold == .25);
  CHECK(given.threshold_origin == "given");
  CHECK(value_of(given, "BPCER") == .5);

  options.threshold_from = "test";
  const auto same = judge(table_of(kFaces), options);
  REQUIRE(same.notes.size() == 1);
  CHECK(contains(same.notes[0], "the error rates are too good"));

  options.threshold_from = "extra";
  CHECK(
      error_of([&] { judge(table_of(kFaces), options); }) ==
      "evaluate: run.csv: no rows of split \"extra\": a threshold cannot be "
      "chosen there; give another split or a number with --threshold-from");

  // Nobody asked: 0.5, and a note.
  const auto fallback = judge(
      table_of("path,split,class,label,score\n1,test,x,0,.2\n2,test,y,1,.8\n"),
      EvaluateOptions());
  CHECK(fallback.threshold == .5);
  CHECK(
      fallback.notes ==
      std::vector<std::string>{"no rows of split \"val\": the threshold is "
                               "0.5; choose one with --threshold-from"});
  const auto one_class = judge(
      table_of("path,split,class,label,score\n1,test,x,0,.2\n2,test,y,1,.8\n"
               "3,val,x,0,.1\n"),
      EvaluateOptions());
  CHECK(one_class.threshold == .5);
  CHECK(contains(one_class.notes[0], "are of one class"));
}

TEST_CASE("Subjects of both splits are reported", "[evaluate]") {
  const auto run = judge(
      table_of("path,split,class,label,score,subject\n"
               "1,test,x,0,.2,ann\n2,test,y,1,.8,bob\n3,val,x,0,.1,ann\n"
               "4,val,y,1,.7,eve\n"),
      EvaluateOptions());
  CHECK(
      run.notes ==
      std::vector<std::string>{"subjects of both split \"val\" and \"test\": "
                               "1; the threshold has seen them"});
}

TEST_CASE("A split that cannot be judged is reported", "[evaluate]") {
  EvaluateOptions options;
  options.split = "train";
  CHECK(
      error_of([&] { judge(table_of(kFaces), options); }) ==
      "evaluate: run.csv: no rows of split \"train\": choose one of \"test\", "
      "\"val\" with --split");
}

TEST_CASE("More classes have an AUC each, against the rest", "[evaluate]") {
  const auto run = judge(table_of(kThree), EvaluateOptions());
  CHECK(value_of(run, "accuracy") == .75);
  CHECK(value_of(run, "balanced accuracy") == Approx((.5 + 1 + 1) / 3));
  CHECK(value_of(run, "AUC, owl against the rest") == 1);
  // The second cat and the dog have the same logits: a tie.
  CHECK(value_of(run, "AUC, cat against the rest") == 3.5 / 4);
  CHECK(value_of(run, "AUC, dog against the rest") == Approx(2.5 / 3));
  CHECK(
      value_of(run, "AUC, mean of one against the rest") ==
      Approx((1 + 3.5 / 4 + 2.5 / 3) / 3));
  CHECK(
      run.confusion ==
      std::vector<std::vector<int64_t>>{{1, 1, 0}, {0, 1, 0}, {0, 0, 1}});
  CHECK(std::isnan(run.threshold));
  CHECK(!has(run, "EER"));
  EvaluateOptions options;
  options.positive = "owl";
  CHECK(
      error_of([&] { judge(table_of(kThree), options); }) ==
      "evaluate: run.csv: has 3 classes, and --positive is for two: leave it "
      "out");
  // A class without samples has none.
  const auto two =
      judge(table_of(kThree.substr(0, kThree.find("4,"))), EvaluateOptions());
  CHECK(!has(two, "balanced accuracy"));
  CHECK(!has(two, "AUC, class 2 against the rest"));
  CHECK(two.notes.size() == 2);
}

TEST_CASE("Several runs have a mean and a spread", "[evaluate]") {
  const std::vector<RunResult> runs = {
      judge(table_of(kFaces), EvaluateOptions()),
      judge(table_of(kPerfect), EvaluateOptions())};
  const auto rows = evaluate::summarize(runs);
  CHECK(rows[0].name == "AUC");
  CHECK(rows[0].values == std::vector<double>{.875, 1});
  CHECK(rows[0].mean_std.mean == .9375);
  CHECK(rows[0].mean_std.std == Approx(.125 / std::sqrt(2.)));
  for (const auto& row : rows) {  // what one run lacks has no mean
    if (row.name == "APCER, print") {
      CHECK(std::isnan(row.values[1]));
      CHECK(std::isnan(row.mean_std.mean));
    }
  }
  const auto text = evaluate::to_text(runs);
  CHECK(contains(
      text,
      "4 live, 4 spoof; \"spoof\" is predicted at score >= "
      "0.6000 (equal errors on split \"val\")"));
  CHECK(contains(text, "0.8750"));
  CHECK(contains(text, "0.9375 ± 0.0884"));
  const auto csv = evaluate::to_csv(runs);
  CHECK(contains(csv, "run,threshold,AUC,EER,"));
  CHECK(contains(csv, "\"APCER, print\""));
  CHECK(contains(csv, "\nrun.csv,0.6,0.875,"));
  CHECK(contains(csv, "\nmean,,0.9375,"));
}

TEST_CASE("The report shows what the run was", "[evaluate]") {
  auto table = table_of(kFaces);
  table.name = "a<b.csv";
  const auto page =
      evaluate::to_html({judge(table, EvaluateOptions())}, EvaluateOptions());
  CHECK(contains(page, "<svg"));
  CHECK(contains(page, "a&lt;b.csv"));
  CHECK(contains(page, "predicted spoof"));
  CHECK(contains(page, "ROC curve of each run"));
  CHECK(contains(page, "Histogram of the scores"));
  const auto more = evaluate::to_html(
      {judge(table_of(kThree), EvaluateOptions())}, EvaluateOptions());
  CHECK(contains(more, "More than two classes"));
  CHECK(!contains(more, "<svg"));
}

TEST_CASE("The program writes what it is told to", "[evaluate]") {
  const pictures::Folder folder;
  const auto first = folder.write("one.csv", kFaces);
  const auto second = folder.write("two.csv", kPerfect);
  const auto outcome = program(
      {first, second, "--fpr", "0.1,0.2", "--json", folder / "out.json",
       "--csv", folder / "out.csv", "--html", folder / "out.html"});
  CHECK(outcome.error.empty());
  REQUIRE(outcome.code == 0);
  CHECK(contains(outcome.out, "TPR at FPR 0.1 "));
  CHECK(!contains(outcome.out, "TPR at FPR 0.01"));
  const auto json =
      nlohmann::json::parse(cyborg::io::read_file(folder / "out.json"));
  CHECK(json["split"] == "test");
  CHECK(json["runs"].size() == 2);
  CHECK(json["runs"][0]["measures"]["AUC"] == .875);
  CHECK(json["runs"][0]["threshold"] == .6);
  CHECK(json["runs"][0]["positive"] == "spoof");
  CHECK(json["runs"][1]["measures"]["d'"].is_null());  // infinite
  CHECK(json["summary"]["AUC"]["mean"] == .9375);
  CHECK(folder.entries() == 5);
}

TEST_CASE("A wrong input ends with 2 and writes nothing", "[evaluate]") {
  const pictures::Folder folder;
  const auto good = folder.write("good.csv", kFaces);
  const auto bad =
      folder.write("bad.csv", "path,split,class,label,score\n1,test,x,0,2\n");
  const auto out = folder / "out.json";
  const auto outcome = program({good, bad, "--json", out});
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(contains(outcome.error, "evaluate: " + bad + ":2: the score is"));
  CHECK(program({}).code == 2);
  CHECK(program({good, "--score", "max"}).code == 2);
  CHECK(program({good, "--fpr", "2"}).code == 2);
  CHECK(program({folder / "none.csv"}).code == 2);
  const auto three = folder.write("three.csv", kThree);
  const auto mixed = program({good, three, "--json", out});
  CHECK(mixed.code == 2);
  CHECK(contains(mixed.error, "its classes are not those of"));
  // An output that would replace an input, another output, or cannot be.
  CHECK(
      program({good, "--csv", good}).error ==
      "evaluate: --csv " + good +
          ": is an input or another output, too: choose another file\n");
  CHECK(contains(
      program({good, "--csv", out, "--html", out}).error,
      "evaluate: --html " + out + ": is an input or another output, too"));
  CHECK(
      program({good, "--csv", out, "--html", folder / "no/a.html"}).error ==
      "evaluate: --html " + folder / "no/a.html" +
          ": cannot be written: the folder " + folder / "no" +
          " does not exist; make it first\n");
  CHECK(cyborg::io::read_file(good) == kFaces);
  CHECK(folder.entries() == 3);
}

TEST_CASE("The names of columns may be in any case", "[evaluate]") {
  const auto table = table_of(
      "Path, SPLIT ,Class,Label,Logit_0,LOGIT_1,Attack,Group,Subject\n"
      "1,Test,x,0,1,2,print,g,ann\n2,TEST,y,1,1,2,,,\n3,Valid,x,0,1,2,,,\n"
      "4,validation,y,1,1,3,,,\n");
  CHECK(table.notes.empty());
  CHECK(table.rows[0].logits == std::vector<double>{1, 2});
  CHECK(table.rows[0].subject == "ann");
  for (const auto* split : {"test", "TEST", "Test"}) {
    EvaluateOptions options;
    options.split = split;
    const auto run = judge(table, options);
    CHECK(run.samples == std::vector<int64_t>{1, 1});
    CHECK(run.threshold_origin == "equal errors on split \"val\"");
  }
}

TEST_CASE(
    "A separator that is not a comma is an error that names it", "[evaluate]") {
  for (const auto& [separator, name] :
       {std::pair(";", "semicolons"), std::pair("\t", "tabs"),
        std::pair("|", "bars")}) {
    std::string csv = "path,split,class,label,score\n1,test,x,0,.5\n";
    for (size_t at = csv.find(','); at != std::string::npos;
         at = csv.find(',')) {
      csv.replace(at, 1, separator);
    }
    CHECK(
        read_error(csv) == "run.csv:1: the columns are separated by " +
                               std::string(name) +
                               ": separate them by commas, and write numbers "
                               "with a decimal point");
  }
}

TEST_CASE("A set of attacks alone has an APCER", "[evaluate]") {
  // Of kFaces: the attacks of the test split, and the threshold .6 from val.
  const auto attacks = table_of(
      kFaces.substr(0, kFaces.find(".2,,1.png")) +
      kFaces.substr(kFaces.find(".8,print")));
  const auto run = judge(attacks, EvaluateOptions());
  CHECK(run.threshold == .6);
  CHECK(value_of(run, "APCER") == .5);
  CHECK(value_of(run, "APCER, print") == .5);
  CHECK(value_of(run, "APCER, replay") == 0);
  CHECK(value_of(run, "APCER, all attacks together") == .25);
  CHECK(value_of(run, "accuracy") == .75);
  for (const auto* name :
       {"AUC", "EER", "TPR at FPR 0.01", "d'", "balanced accuracy", "BPCER",
        "ACER", "BPCER10", "BPCER20", "BPCER100", "APCER at BPCER 0.01"}) {
    INFO(name);
    CHECK(std::isnan(value_of(run, name)));
  }
  CHECK(
      run.notes ==
      std::vector<std::string>{
          "all rows of split \"test\" are of class \"spoof\": measures that "
          "need both classes are empty; APCER is the share of errors at the "
          "threshold"});
  CHECK(run.samples == std::vector<int64_t>{0, 4});
  CHECK(run.confusion == std::vector<std::vector<int64_t>>{{0, 0}, {1, 3}});
  EvaluateOptions given;
  given.threshold_from = "0.7";
  CHECK(value_of(judge(attacks, given), "APCER") == .5);
  CHECK(value_of(judge(attacks, given), "APCER, replay") == .5);

  // What a person reads: no NaN.
  const auto text = evaluate::to_text({run});
  CHECK(contains(text, "\nAUC" + std::string(33, ' ') + "–\n"));
  CHECK(!contains(text, "nan"));
  const auto csv = evaluate::to_csv({run});
  CHECK(contains(csv, "\nrun.csv,0.6,,,,,,,,0.75,,"));
  const auto json = nlohmann::json::parse(evaluate::to_json({run}, {}));
  CHECK(json["runs"][0]["measures"]["AUC"].is_null());
  CHECK(json["runs"][0]["measures"]["APCER"] == .5);
  CHECK(json["summary"]["EER"]["mean"].is_null());
  const auto page = evaluate::to_html({run}, {});
  CHECK(contains(page, "need both classes are empty"));
  CHECK(!contains(page, "ROC curve of each run"));
  CHECK(contains(page, "Histogram of the scores"));
  CHECK(!contains(page, "nan"));
}

TEST_CASE("A set of bona fide samples alone has a BPCER", "[evaluate]") {
  const auto bona_fide = table_of(kFaces.substr(0, kFaces.find(".8,print")));
  const auto run = judge(bona_fide, EvaluateOptions());
  CHECK(value_of(run, "BPCER") == .25);
  CHECK(std::isnan(value_of(run, "APCER")));
  CHECK(std::isnan(value_of(run, "ACER")));
  CHECK(contains(run.notes[0], "are of class \"live\""));
  CHECK(contains(run.notes[0], "BPCER is the share of errors"));
  // The other class as the positive one.
  EvaluateOptions other;
  other.positive = "live";
  const auto turned = judge(bona_fide, other);
  CHECK(value_of(turned, "APCER") == .25);
  CHECK(std::isnan(value_of(turned, "BPCER")));
  // Without another split and without a number, 0.5, and both are said.
  const auto alone = judge(
      table_of("path,split,class,label,score\n1,test,x,0,.2\n2,test,x,0,.7\n"),
      EvaluateOptions());
  CHECK(alone.threshold == .5);
  CHECK(value_of(alone, "BPCER") == .5);
  CHECK(alone.notes.size() == 2);
  // With a run of both classes beside it.
  const auto rows =
      evaluate::summarize({judge(table_of(kFaces), EvaluateOptions()), run});
  CHECK(rows[0].values[0] == .875);
  CHECK(std::isnan(rows[0].values[1]));
  CHECK(contains(
      evaluate::to_html({judge(table_of(kFaces), EvaluateOptions()), run}, {}),
      "ROC curve of each run"));
}

TEST_CASE("A threshold that is no score is refused", "[evaluate]") {
  EvaluateOptions options;
  options.threshold_asked = true;
  for (const auto* wrong : {"50", "-0.1", "1.01"}) {
    options.threshold_from = wrong;
    CHECK(
        error_of([&] { judge(table_of(kFaces), options); }) ==
        "--threshold-from: expected a number in [0, 1], as scores are, or a "
        "split, got " +
            std::string(wrong));
  }
  for (const auto* right : {"0", "1", "1e-3"}) {
    options.threshold_from = right;
    judge(table_of(kFaces), options);
  }
}

TEST_CASE("Names that are not UTF-8 do not lose the results", "[evaluate]") {
  const pictures::Folder folder;
  std::string csv = kFaces;
  for (size_t at = csv.find("print"); at != std::string::npos;
       at = csv.find("print")) {
    csv.replace(at, 5, "\xE4");  // Latin-1
  }
  const auto outcome =
      program({folder.write("one.csv", csv), "--json", folder / "out.json"});
  CHECK(outcome.error.empty());
  CHECK(contains(
      cyborg::io::read_file(folder / "out.json"), "APCER, \xEF\xBF\xBD"));
}

TEST_CASE(
    "An output that cannot be written is reported at once", "[evaluate]") {
  const pictures::Folder folder;
  const auto good = folder.write("good.csv", kFaces);
  CHECK(
      program({good, "--json", folder.path().string()}).error ==
      "evaluate: --json " + folder.path().string() +
          ": is a folder: name a file, for example " + folder / "result.json" +
          "\n");
  // A device is not replaced by a file.
  for (const auto* device : {"/dev/full", "/dev/null", "/dev/stdout"}) {
    CHECK(
        program({good, "--html", device}).error ==
        "evaluate: --html " + std::string(device) +
            ": is not a regular file: it would be replaced; name another "
            "file\n");
    CHECK(!std::filesystem::is_regular_file(
        std::filesystem::symlink_status(device)));
  }
  CHECK(
      program({good, "--csv", "/proc/out.csv"})
          .error.rfind(
              "evaluate: --csv /proc/out.csv: cannot be written: ", 0) == 0);
  // A link stays a link, and leads to the results.
  folder.write("real/old.json", "old");
  std::filesystem::create_symlink(
      folder / "real/old.json", folder / "link.json");
  CHECK(program({good, "--json", folder / "link.json"}).code == 0);
  CHECK(std::filesystem::is_symlink(folder / "link.json"));
  CHECK(contains(cyborg::io::read_file(folder / "real/old.json"), "AUC"));
}

TEST_CASE(
    "On a full disk the results are printed, and no half file stays",
    "[evaluate]") {
  const pictures::Folder folder;
  const auto good = folder.write("good.csv", kFaces);
  folder.write("out.html", "old");
  // As a full disk: files may have 3,000 bytes, and a page has more.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 3000;
  setrlimit(RLIMIT_FSIZE, &small);
  const auto outcome = program(
      {good, "--html", folder / "out.html", "--csv", folder / "out.csv"});
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(outcome.code == 2);
  CHECK(contains(outcome.error, "out.html: cannot be written: "));
  CHECK(contains(outcome.out, "AUC"));
  CHECK(cyborg::io::read_file(folder / "out.html") == "old");
  CHECK(contains(cyborg::io::read_file(folder / "out.csv"), "0.875"));
  CHECK(folder.entries() == 3);  // good.csv, out.html, out.csv
}

TEST_CASE("The help names every option and its default", "[evaluate]") {
  const auto help = program({"--help"});
  CHECK(help.code == 0);
  CHECK(help.error.empty());
  // Versions of CLI11 differ in "=" or " [" before a default.
  for (const auto& [option, by_default] :
       std::vector<std::pair<std::string, std::string>>{
           {"--split TEXT", "test"},
           {"--threshold-from TEXT", "val"},
           {"--positive TEXT", "label 1"},
           {"--score TEXT:{softmax,sigmoid}", "softmax"},
           {"--fpr FLOAT", "0.001,0.002,0.01,0.05"},
           {"--csv TEXT", "none"},
           {"--json TEXT", "none"},
           {"--html TEXT", "none"}}) {
    INFO(option << " in\n" << help.out);
    CHECK(
        (contains(help.out, option + "=" + by_default) ||
         contains(help.out, option + " [" + by_default)));
  }
  CHECK(contains(help.out, "files TEXT ... REQUIRED"));
}
