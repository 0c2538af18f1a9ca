// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <common/report/html.hpp>
#include <common/report/thumbnail.hpp>

#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>

#include <clocale>
#include <cmath>
#include <string>
#include <vector>

using cyborg::io::base64;
using cyborg::io::escape;
using cyborg::io::number;
using programs::report::HtmlPage;
using programs::report::NoteKind;
using support::contains;
using support::error_of;

TEST_CASE("Numbers are written with a point and so many decimals", "[report]") {
  CHECK(number(0.98765, 3) == "0.988");
  CHECK(number(2, 0) == "2");
  CHECK(number(-1.5, 2) == "-1.50");
  CHECK(number(-0.0001, 3) == "0.000");
  CHECK(number(-0.0, 0) == "0");
  CHECK(number(std::nan(""), 2) == "n/a");
  CHECK(number(HUGE_VAL, 2) == "inf");
  CHECK(number(-HUGE_VAL, 2) == "-inf");
  CHECK(number(1e300, 17).size() == 301 + 18);
  CHECK(error_of([] {
          number(1, 18);
        }) == "cyborg::io::number: expected 0 to 17 digits, got 18");
}

TEST_CASE("Escaped text has no markup left", "[report]") {
  CHECK(
      escape("<a href=\"x\" id='y'>&</a>") ==
      "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;&lt;/a&gt;");
  CHECK(escape("α ± 1\n\tend") == "α ± 1\n\tend");
  CHECK(escape(std::string("a\0b\x01\x1b", 5)) == "ab");
  CHECK(escape("") == "");
}

TEST_CASE("Base64 meets the examples of RFC 4648", "[report]") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foob") == "Zm9vYg==");
  CHECK(base64("fooba") == "Zm9vYmE=");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xff\xfe\xfd") == "//79");
}

TEST_CASE("A CSV field has quotes where it needs them", "[report]") {
  using cyborg::io::csv_field;
  CHECK(csv_field("") == "");
  CHECK(csv_field("a b") == "a b");
  CHECK(csv_field("a,b") == "\"a,b\"");
  CHECK(csv_field("say \"a\"") == "\"say \"\"a\"\"\"");
  CHECK(csv_field("a\nb") == "\"a\nb\"");
  CHECK(csv_field("a\rb") == "\"a\rb\"");
  // What was quoted is read as it was.
  for (const std::string text : {"a,b", "\"", "\"\"", "a\r\nb", "plain"}) {
    const auto records = cyborg::io::parse_csv(
        csv_field(text) + ",end\n",
        [](size_t, const std::string& reason) { FAIL(reason); });
    REQUIRE(records.size() == 1);
    CHECK(records[0].fields == std::vector<std::string>{text, "end"});
  }
}

TEST_CASE("A page holds what was added, escaped, in order", "[report]") {
  HtmlPage page("T<1>", "lead & more");
  page.section("S<2>")
      .paragraph("p & q")
      .note("well", NoteKind::kGood)
      .note("ill", NoteKind::kBad)
      .table({"cap<3>", {"h<4>", "v"}, {{"r<5>", "1<6>"}, {"r", "2"}}, {1}})
      .chart("<svg id='wide'></svg>", "chart", "<svg id='narrow'></svg>")
      .pictures({"pics", {"in"}, {{"row<7>", {"PNG"}}, {"none", {""}}}})
      .markup("<hr id='raw'>");
  const auto html = page.str();
  CHECK(html.rfind("<!doctype html>", 0) == 0);
  CHECK(contains(html, "<title>T&lt;1&gt;</title>"));
  CHECK(contains(html, "lead &amp; more"));
  CHECK(contains(html, "<h2>S&lt;2&gt;</h2>\n<p>p &amp; q</p>"));
  CHECK(contains(html, "<p class='note good'>well</p>"));
  CHECK(contains(html, "<p class='note bad'>ill</p>"));
  CHECK(contains(html, "<th scope='col'>h&lt;4&gt;</th>"));
  CHECK(contains(
      html, "<tr><th scope='row'>r&lt;5&gt;</th><td>1&lt;6&gt;</td></tr>"));
  CHECK(contains(html, "<tr class='marked'><th scope='row'>r</th><td>2</td>"));
  CHECK(contains(html, "<figcaption>cap&lt;3&gt;</figcaption>"));
  CHECK(contains(
      html, "<div class='scroll wide' tabindex='0'><svg id='wide'></svg>"));
  CHECK(contains(
      html, "<div class='scroll narrow' tabindex='0'><svg id='narrow'></svg>"));
  CHECK(contains(html, "src='data:image/png;base64,UE5H'"));
  CHECK(contains(html, "alt='row&lt;7&gt;: in'"));
  CHECK(contains(html, "<hr id='raw'>"));
  CHECK(html.find("<hr id='raw'>") > html.find("UE5H"));
}

TEST_CASE(
    "A page needs nothing from elsewhere, and has two colour schemes",
    "[report]") {
  const auto html = HtmlPage("t").str();
  CHECK_FALSE(contains(html, "http"));
  CHECK_FALSE(contains(html, "<script"));
  CHECK_FALSE(contains(html, "@import"));
  CHECK_FALSE(contains(html, "url("));
  CHECK(contains(html, "prefers-color-scheme:dark"));
  CHECK(contains(html, "width=device-width"));
}

TEST_CASE("A thumbnail is small, and keeps its proportions", "[report]") {
  using programs::report::shrunk;
  const auto size = [](int64_t height, int64_t width, int64_t side) {
    return shrunk(torch::zeros({1, height, width}), side).sizes().vec();
  };
  using Size = std::vector<int64_t>;
  CHECK(size(300, 400, 100) == Size{1, 75, 100});
  CHECK(size(400, 300, 100) == Size{1, 100, 75});
  CHECK(size(100, 60, 100) == Size{1, 100, 60});  // no larger than before
  CHECK(size(3000, 2, 100) == Size{1, 100, 1});   // never without pixels
  CHECK(size(300, 400, 0) == Size{1, 300, 400});
  // Antialiased: stripes of one pixel become grey, and do not vanish.
  const auto stripes = torch::tensor({0.0F, 1.0F}).repeat({400, 200});
  const auto small = shrunk(stripes.unsqueeze(0), 100);
  CHECK((small - .5).abs().max().item<double>() < .1);
  torch::manual_seed(1);
  // 3 bytes a pixel, which no PNG of noise can make smaller.
  CHECK(
      programs::report::thumbnail(torch::rand({3, 1500, 2000})).size() <
      320 * 240 * 3 + 2000);
}

TEST_CASE("Only a picture that is enlarged keeps its edges", "[report]") {
  const auto style = [](int64_t height, int64_t width) {
    programs::report::HtmlPictures grid;
    grid.head = {"a", "b"};
    grid.pixels = 160;
    grid.absent = "no <map>";
    grid.rows = {
        {"r",
         {cyborg::data::encode_png(torch::zeros({1, height, width})), ""}}};
    const auto html = HtmlPage("t").pictures(grid).str();
    CHECK(contains(html, "<td>no &lt;map&gt;</td>"));
    const auto at = html.find("style='width") + 7;
    return html.substr(at, html.find('\'', at) - at);
  };
  CHECK(style(28, 28) == "width:160px;image-rendering:pixelated");
  CHECK(style(320, 320) == "width:160px");
  CHECK(style(320, 240) == "width:120px");  // the longest side is the height
  CHECK(style(20, 80) == "width:160px;image-rendering:pixelated");
  CHECK(style(2000, 1) == "width:1px");
}

TEST_CASE("A page refuses rows that do not fit their head", "[report]") {
  CHECK(
      error_of([] { HtmlPage("t").table({"", {"a", "b"}, {{"1"}}}); }) ==
      "programs::report::HtmlPage::table: expected 2 cells in row 0, got 1");
  CHECK(
      error_of([] { HtmlPage("t").pictures({"", {"a"}, {{"r", {}}}}); }) ==
      "programs::report::HtmlPage::pictures: expected 1 pictures in row 'r', "
      "got 0");
}

TEST_CASE("A page is written whole, or an error names the file", "[report]") {
  const pictures::Folder folder;
  const HtmlPage page("written");
  page.write(folder / "page.html");
  CHECK(cyborg::io::read_file(folder / "page.html") == page.str());
  CHECK(contains(
      error_of([&] { page.write(folder / "no/page.html"); }),
      "programs::report::HtmlPage::write: "));
}
