// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "style.hpp"

#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

// A page of results in one file: text, tables, charts and pictures. It is
// opened from the disk, needs no network, and is light or dark as the reader's
// system.

namespace programs::report {

/// A table of a page: cells are plain text, escaped when the page is written.
struct HtmlTable {
  std::string caption;
  std::vector<std::string> head;               ///< names of the columns
  std::vector<std::vector<std::string>> rows;  ///< as long as head, each
  std::vector<size_t> marked = {};  ///< indices of rows that stand out
};

/// A row of pictures with a label.
struct HtmlPictureRow {
  std::string label;
  /// The bytes of a PNG file for each column, which become a part of the page:
  /// make them with `thumbnail`. Empty: there is no picture.
  std::vector<std::string> png;
};

/// A grid of pictures; small ones are enlarged without smoothing.
struct HtmlPictures {
  std::string caption;
  std::vector<std::string> head;  ///< one name a column
  std::vector<HtmlPictureRow> rows;
  int pixels = 96;          ///< longest side of a picture in CSS pixels
  std::string absent = {};  ///< text where there is no picture
};

/// What a note says about the text in it.
enum class NoteKind { kPlain, kGood, kBad };

/// A self-contained HTML page, written from top to bottom.
///
/// All text is escaped, except that of `chart` and `markup`: these take HTML
/// and SVG that the program made itself, and never text from elsewhere.
///
/// Example:
///   programs::report::HtmlPage page("Results", "Ten runs each.");
///   page.section("Table")
///       .table({"AUC", {"row", "mean"}, {{"plain", "0.95"}}})
///       .chart(programs::report::line_chart(lines), "Loss over the steps");
///   page.write("report.html");
class HtmlPage {
 public:
  explicit HtmlPage(std::string title, std::string lead = "")
      : title_(std::move(title)), lead_(std::move(lead)) {}

  /// A heading, and a new section of the page.
  HtmlPage& section(const std::string& heading) {
    body_ += "<h2>" + cyborg::io::escape(heading) + "</h2>\n";
    return *this;
  }

  /// A paragraph of plain text.
  HtmlPage& paragraph(const std::string& text) {
    body_ += "<p>" + cyborg::io::escape(text) + "</p>\n";
    return *this;
  }

  /// A framed paragraph: the one sentence to remember.
  HtmlPage& note(const std::string& text, NoteKind kind = NoteKind::kPlain) {
    const char* name = kind == NoteKind::kGood  ? " good"
                       : kind == NoteKind::kBad ? " bad"
                                                : "";
    body_ += "<p class='note" + std::string(name) + "'>" +
             cyborg::io::escape(text) + "</p>\n";
    return *this;
  }

  /// A table. Where the page is narrow, the table alone scrolls sideways.
  ///
  /// Throws: `c10::ValueError` for a row whose length is not the head's.
  HtmlPage& table(const HtmlTable& table) {
    body_ += "<figure><div class='scroll' tabindex='0'><table><thead><tr>";
    for (const auto& cell : table.head) {
      body_ += "<th scope='col'>" + cyborg::io::escape(cell) + "</th>";
    }
    body_ += "</tr></thead><tbody>\n";
    for (size_t i = 0; i < table.rows.size(); ++i) {
      const auto& row = table.rows[i];
      TORCH_CHECK_VALUE(
          row.size() == table.head.size(),
          "programs::report::HtmlPage::table: expected ", table.head.size(),
          " cells in row ", i, ", got ", row.size());
      bool marked = false;
      for (const auto index : table.marked) {
        marked = marked || index == i;
      }
      body_ += marked ? "<tr class='marked'>" : "<tr>";
      for (size_t k = 0; k < row.size(); ++k) {
        body_ += (k == 0 ? "<th scope='row'>" : "<td>") +
                 cyborg::io::escape(row[k]) + (k == 0 ? "</th>" : "</td>");
      }
      body_ += "</tr>\n";
    }
    body_ += "</tbody></table></div>" + caption(table.caption) + "</figure>\n";
    return *this;
  }

  /// A chart as SVG, and the same chart drawn again for narrow pages. Without
  /// the second one, the chart scrolls sideways on a narrow page.
  HtmlPage& chart(
      const std::string& svg, const std::string& caption_text,
      const std::string& narrow_svg = "") {
    body_ += "<figure><div class='scroll" +
             std::string(narrow_svg.empty() ? "" : " wide") +
             "' tabindex='0'>" + svg + "</div>";
    if (!narrow_svg.empty()) {
      body_ +=
          "<div class='scroll narrow' tabindex='0'>" + narrow_svg + "</div>";
    }
    body_ += caption(caption_text) + "</figure>\n";
    return *this;
  }

  /// A grid of pictures, which become a part of the page.
  ///
  /// Throws: `c10::ValueError` for a row whose length is not the head's.
  HtmlPage& pictures(const HtmlPictures& grid) {
    body_ +=
        "<figure><div class='scroll' tabindex='0'>"
        "<table class='pictures'><thead><tr><td></td>";
    for (const auto& cell : grid.head) {
      body_ += "<th scope='col'>" + cyborg::io::escape(cell) + "</th>";
    }
    body_ += "</tr></thead><tbody>\n";
    for (const auto& row : grid.rows) {
      TORCH_CHECK_VALUE(
          row.png.size() == grid.head.size(),
          "programs::report::HtmlPage::pictures: expected ", grid.head.size(),
          " pictures in row '", row.label, "', got ", row.png.size());
      body_ += "<tr><th scope='row'>" + cyborg::io::escape(row.label) + "</th>";
      for (size_t k = 0; k < row.png.size(); ++k) {
        body_ += "<td>";
        if (row.png[k].empty()) {
          body_ += cyborg::io::escape(grid.absent);
        } else {
          body_ += "<img alt='" +
                   cyborg::io::escape(row.label + ": " + grid.head[k]) +
                   "' style='" + picture_style(row.png[k], grid.pixels) +
                   "' src='data:image/png;base64," +
                   cyborg::io::base64(row.png[k]) + "'>";
        }
        body_ += "</td>";
      }
      body_ += "</tr>\n";
    }
    body_ += "</tbody></table></div>" + caption(grid.caption) + "</figure>\n";
    return *this;
  }

  /// Adds HTML without a change.
  HtmlPage& markup(const std::string& html) {
    body_ += html + "\n";
    return *this;
  }

  /// The whole page.
  std::string str() const {
    return "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
           "<meta name='viewport' content='width=device-width'>\n"
           "<meta name='color-scheme' content='light dark'>\n<title>" +
           cyborg::io::escape(title_) + "</title>\n<style>" + page_style() +
           "</style>\n</head>\n<body>\n<main>\n<h1>" +
           cyborg::io::escape(title_) + "</h1>\n" +
           (lead_.empty()
                ? ""
                : "<p class='lead'>" + cyborg::io::escape(lead_) + "</p>\n") +
           body_ + "</main>\n</body>\n</html>\n";
  }

  /// Writes the page; the file is either the old one or the whole new one.
  ///
  /// Throws: `cyborg::io::FileError` for a file that cannot be written.
  void write(const std::filesystem::path& path) const {
    cyborg::io::write_file(path, str(), "programs::report::HtmlPage::write");
  }

 private:
  static std::string caption(const std::string& text) {
    return text.empty()
               ? ""
               : "<figcaption>" + cyborg::io::escape(text) + "</figcaption>";
  }

  /// The width of a PNG file whose longest side is shown with so many pixels.
  /// Only a picture that is enlarged keeps the edges of its pixels.
  static std::string picture_style(const std::string& png, int pixels) {
    const auto number_at = [&](size_t i) {  // four bytes, the highest first
      int64_t value = 0;
      for (size_t k = 0; k < 4; ++k) {
        value =
            value << 8 |
            (i + k < png.size() ? static_cast<unsigned char>(png[i + k]) : 0);
      }
      return value;
    };
    const auto width = number_at(16);  // in the header of every PNG file
    const auto height = number_at(20);
    const auto longest = std::max(width, height);
    const auto shown =
        longest == 0 ? pixels : std::max<int64_t>(1, pixels * width / longest);
    return "width:" + std::to_string(shown) + "px" +
           (longest < pixels ? ";image-rendering:pixelated" : "");
  }

  std::string title_;
  std::string lead_;
  std::string body_;
};

}  // namespace programs::report
