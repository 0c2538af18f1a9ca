// SPDX-License-Identifier: BSD-3-Clause
// The pictures, rows and results of the program `methods`.

#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <common/digits.hpp>
#include <methods/decoys.hpp>
#include <methods/kept_runs.hpp>
#include <methods/results.hpp>
#include <methods/rows.hpp>
#include <methods/training.hpp>

#include <cyborg/io/file.hpp>

#include <cmath>
#include <set>
#include <string>
#include <vector>

namespace {

using methods::Decoy;
using methods::Net;
using support::close;
using support::contains;
using torch::Tensor;

const Tensor& all_digits() {
  static const Tensor all =
      programs::read_digits(CYBORG_SOURCE_DIR "/examples/data");
  return all;
}

methods::Repetition repetition(Decoy decoy, int64_t seed = 3) {
  return methods::make_repetition(
      all_digits(),
      programs::read_digit_labels(CYBORG_SOURCE_DIR "/examples/data"), decoy,
      seed);
}

/// The brightness of the patch of each picture, from where it differs.
Tensor patch_values(const methods::Pictures& part) {
  const auto differs = part.wrong.gt(0);
  std::vector<Tensor> values;
  for (int64_t i = 0; i < part.label.size(0); ++i) {
    values.push_back(part.image[i][0].masked_select(differs[i]).mean());
  }
  return torch::stack(values);
}

}  // namespace

TEST_CASE("The moving patch tells the digit, in its own way", "[methods]") {
  const auto made = repetition(Decoy::kMoving);
  CHECK(made.train.label.size(0) == 1437);
  CHECK(made.test.label.size(0) == 360);
  const auto of = [](const methods::Pictures& part) {
    return part.label.to(torch::kFloat);
  };
  CHECK(
      close(patch_values(made.train), (255 - 25 * of(made.train)) / 255, 1e-5));
  CHECK(close(patch_values(made.test), 25 * of(made.test) / 255, 1e-5));
  // The patch has 25 pixels, and none of them belongs to the digit.
  CHECK(made.train.wrong.sum({1, 2}).eq(25).all().item<bool>());
  CHECK((made.train.wrong * made.train.stroke).sum().item<double>() == 0);
  CHECK(close(made.train.clean.squeeze(1), made.train.stroke, 0));
  // It is at many places.
  const auto places = std::get<0>(
      at::_unique(made.train.wrong.flatten(1).argmax(1), /*sorted=*/true));
  CHECK(places.size(0) > 300);
}

TEST_CASE("In the corners every picture has the same mask", "[methods]") {
  const auto made = repetition(Decoy::kCorners);
  const auto& wrong = made.train.wrong;
  CHECK(wrong.eq(wrong[0]).all().item<bool>());
  CHECK(wrong[0].sum().item<double>() == 100);
  const auto changed = made.train.image.ne(made.train.clean).sum({1, 2, 3});
  CHECK(changed.le(25).all().item<bool>());
  // Of the digit's box one pixel lies in each corner.
  const auto both = (wrong * made.train.stroke).gt(0).sum({1, 2});
  CHECK(both.le(4).all().item<bool>());
}

TEST_CASE("Training and test digits are disjoint, seeds differ", "[methods]") {
  const auto one = repetition(Decoy::kMoving, 3);
  const auto again = repetition(Decoy::kMoving, 3);
  const auto other = repetition(Decoy::kMoving, 4);
  CHECK(one.train.image.equal(again.train.image));
  CHECK_FALSE(one.train.label.equal(other.train.label));
  const auto count = [](const Tensor& labels) {
    return at::bincount(labels, {}, 10);
  };
  CHECK((count(one.train.label) + count(one.test.label))
            .equal(count(other.train.label) + count(other.test.label)));
}

TEST_CASE("Every term of the registry is a row", "[methods]") {
  std::set<std::string> names;
  for (const auto& row :
       methods::rows_of(Net::kConvolutional, Decoy::kMoving)) {
    CHECK(names.insert(row.name).second);
    if (!row.of.empty()) {
      CHECK(names.count(row.of) == 1);
      CHECK(row.guide != methods::Guide::kTrue);
    }
  }
  for (const auto& kind : programs::term_kinds()) {
    INFO(kind.name);
    CHECK(names.count(kind.name) == 1);
  }
  for (const auto& row : methods::rows_of(Net::kPerceptron, Decoy::kCorners)) {
    if (row.term) {  // a perceptron has no map
      CHECK(programs::term_kind(row.term->kind).needs != 0);
    }
  }
}

TEST_CASE("The share that a row recovers is paired by seed", "[methods]") {
  const std::vector<methods::Row> rows{
      {"ce"}, {"clean"}, {"half"}, {"half shuffled", "half"}};
  const auto run = [](double accuracy, double milliseconds) {
    return methods::Run{accuracy, 0.25, milliseconds};
  };
  const auto recipe = methods::recipe_of(Net::kConvolutional, Decoy::kMoving);
  const auto results = methods::summarize(
      Net::kConvolutional, Decoy::kMoving, recipe, rows, {0, 1},
      {{run(.1, 2), run(.9, 2), run(.5, 6), run(.2, 6)},
       {run(.3, 2), run(.9, 2), run(.6, 6), run(.3, 6)}});
  CHECK(results.row("half").recovered.value == Approx(.7 / 1.4));
  CHECK(results.row("half").recovered.low == Approx(.5));
  CHECK(results.row("half").recovered.high == Approx(.5));
  CHECK(results.row("half").cost == Approx(3));
  REQUIRE(results.controls.size() == 1);
  CHECK(results.controls[0].difference.difference == Approx(.3));
  const auto text = methods::to_text(results);
  CHECK(contains(text, "the patch moves, 50 epochs, 2 seeds"));
  CHECK(contains(text, "half - half shuffled: 0.300 [0.300, 0.300]"));
  CHECK(methods::to_json(results)["rows"][2]["recovered"] == Approx(.5));
}

TEST_CASE("A perceptron learns the decoy, and is freed of it", "[methods]") {
  const auto made = repetition(Decoy::kCorners);
  const auto accuracy = [&](const std::string& name) {
    for (const auto& row :
         methods::rows_of(Net::kPerceptron, Decoy::kCorners)) {
      if (row.name == name) {
        return methods::run(
                   row, made, Net::kPerceptron,
                   methods::recipe_of(Net::kPerceptron, Decoy::kCorners))
            .accuracy;
      }
    }
    return -1.0;
  };
  const double plain = accuracy("ce");
  CHECK(plain < 0.85);
  CHECK(accuracy("right-reasons") > plain + 0.1);
}

TEST_CASE(
    "Finished runs are kept for the program that made them", "[methods]") {
  const pictures::Folder folder;
  const auto file = folder / "runs.jsonl";
  const auto program = folder.write("program", "one build");
  const auto rows = methods::rows_of(Net::kConvolutional, Decoy::kMoving);
  const methods::Row& first = rows[3];
  REQUIRE(first.term);
  const auto recipe = methods::recipe_of(Net::kConvolutional, Decoy::kMoving);
  {
    methods::KeptRuns kept(file, program);
    CHECK(kept.size() == 0);
    kept.add(
        Net::kConvolutional, Decoy::kMoving, first, recipe, 7, {0.25, 0.5, 3});
    kept.add(
        Net::kConvolutional, Decoy::kMoving, first, recipe, 8,
        {0.75, std::nan(""), 3});
  }
  SECTION("They are found by network, decoy, row, strength, epochs and seed") {
    const methods::KeptRuns kept(file, program);
    CHECK(kept.size() == 2);
    const auto found =
        kept.find(Net::kConvolutional, Decoy::kMoving, first, recipe, 7);
    REQUIRE(found);
    CHECK(found->accuracy == 0.25);
    CHECK(found->wrong_reason == 0.5);
    CHECK(found->milliseconds == 3);
    const auto without_map =
        kept.find(Net::kConvolutional, Decoy::kMoving, first, recipe, 8);
    REQUIRE(without_map);
    CHECK(std::isnan(without_map->wrong_reason));
    CHECK(!kept.find(Net::kConvolutional, Decoy::kMoving, first, recipe, 9));
    CHECK(!kept.find(Net::kConvolutional, Decoy::kCorners, first, recipe, 7));
    CHECK(!kept.find(Net::kPerceptron, Decoy::kMoving, first, recipe, 7));
    CHECK(!kept.find(Net::kConvolutional, Decoy::kMoving, rows[4], recipe, 7));
    auto stronger = first;
    stronger.term->strength *= 2;
    CHECK(!kept.find(Net::kConvolutional, Decoy::kMoving, stronger, recipe, 7));
    auto longer = recipe;
    longer.epochs *= 2;
    CHECK(!kept.find(Net::kConvolutional, Decoy::kMoving, first, longer, 7));
    auto control = first;
    control.guide = methods::Guide::kInverted;
    CHECK(!kept.find(Net::kConvolutional, Decoy::kMoving, control, recipe, 7));
  }
  SECTION("A line that was cut off is run again") {
    auto text = cyborg::io::read_file(file);
    text.resize(text.size() - 10);
    cyborg::io::write_file(file, text);
    methods::KeptRuns kept(file, program);
    CHECK(kept.size() == 1);
    kept.add(
        Net::kConvolutional, Decoy::kMoving, first, recipe, 8, {0.5, 0.5, 3});
    CHECK(methods::KeptRuns(file, program).size() == 2);
  }
  SECTION("Runs of another build do not count") {
    folder.write("program", "another build");
    CHECK(methods::KeptRuns(file, program).size() == 0);
  }
}
