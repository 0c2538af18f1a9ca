// SPDX-License-Identifier: BSD-3-Clause
// What a few pictures and maps show before a training begins.
#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <common/sample_check.hpp>

#include <cyborg/data/image.hpp>
#include <cyborg/data/table.hpp>

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

using support::contains;

namespace {

/// Four pictures of each class, of 16 x 16, with maps: `value(label)` is the
/// largest stored value of a picture of 16 bits.
template <class Value>
cyborg::data::Table deep_table(
    const pictures::Folder& folder, const Value& value,
    const torch::Tensor& map) {
  std::string csv = "split,class,path,saliency\n";
  for (int i = 0; i < 8; ++i) {
    const auto name = std::to_string(i) + ".png";
    std::vector<uint32_t> samples;
    for (uint32_t k = 0; k < 256; ++k) {
      samples.push_back(k * value(i % 2) / 255);
    }
    folder.write(name, pictures::png(16, 16, 16, 0, samples));
    cyborg::data::write_png(folder / ("map" + name), map);
    csv += std::string("train,") + (i % 2 == 0 ? "live," : "spoof,") + name +
           ",map" + name + "\n";
  }
  return cyborg::data::read_table(folder.write("deep.csv", csv));
}

}  // namespace

TEST_CASE("A few pictures are looked at before a training", "[train][check]") {
  const pictures::Folder folder;
  auto map = torch::zeros({16, 16});
  map.narrow(0, 4, 6).narrow(1, 4, 6).fill_(1);
  programs::Settings settings;
  const auto warnings = [&](const cyborg::data::Table& table, bool allowed) {
    return programs::check_sample(
        table, cyborg::data::TableHeaders(table), allowed, settings);
  };
  const auto all = [](uint32_t largest) {
    return [largest](int /*label*/) { return largest; };
  };
  const auto by_class = [](int label) { return label == 0 ? 4095U : 65535U; };

  CHECK(warnings(deep_table(folder, all(65535), map), false).empty());
  CHECK(warnings(deep_table(folder, all(4095), map), false).empty());
  SECTION("Values of 12 bits in one class alone are refused") {
    const auto table = deep_table(folder, by_class, map);
    const auto text = support::error_of([&] { warnings(table, false); });
    CHECK(contains(text, table.name));
    CHECK(contains(
        text,
        "the range of the values tells the class, so a network can learn it in "
        "place of what the pictures show. Among the pictures that were looked "
        "at:\n  "));
    CHECK(contains(
        text,
        "dark in 16 bits: 4 of 4 pictures of class \"live\", and 0 of 4 "
        "others"));
    CHECK(contains(text, "--allow-bits-by-class"));
    CHECK(warnings(table, true).size() == 1);
    settings.window = {0, 4095};
    const auto cut = warnings(table, false);
    REQUIRE(cut.size() == 1);
    CHECK(
        cut[0] ==
        "the window 0 to 4095 cuts 94 % of the values of class \"spoof\" and 0 "
        "% of class \"live\": a network can learn that in place of what the "
        "pictures show");
  }
  SECTION("Maps are warned of") {
    const auto inverted =
        warnings(deep_table(folder, all(65535), 1 - map), false);
    REQUIRE(inverted.size() == 1);
    CHECK(contains(
        inverted[0],
        "of 8 training pictures that were looked at, 8 have a human map that "
        "looks inverted: bright is salient (--check looks at all):\n  " +
            folder / "map0.png" +
            " (line 2): is bright along its whole border "
            "and dark inside"));
    const auto dark =
        warnings(deep_table(folder, all(65535), map / 255), false);
    REQUIRE(dark.size() == 1);
    CHECK(contains(dark[0], "8 have a human map with small values only"));
  }
  SECTION("Pictures that show nothing are warned of") {
    const auto blank = warnings(deep_table(folder, all(0), map), false);
    REQUIRE(blank.size() == 1);
    CHECK(contains(
        blank[0],
        "of 8 training pictures that were looked at, 8 show nothing"));
  }
}
