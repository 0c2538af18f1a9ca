// SPDX-License-Identifier: BSD-3-Clause
#include "readers.hpp"

#include <cyborg/data/picture_format.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <utility>

namespace programs {

namespace {

namespace data = cyborg::data;
using Fail = std::function<void(const std::string&)>;

constexpr std::string_view kPrefix = "data:image/png;base64,";

/// Collects annotations, each once.
class Collected {
 public:
  explicit Collected(const std::string& name) { file_.name = name; }

  /// `where` is the place of the annotation in the file.
  void add(
      const std::string& where, const std::string& picture,
      const std::string& annotator, std::string_view url, const Fail& fail) {
    const auto known = places_.emplace(std::pair(picture, annotator), where);
    if (!known.second) {
      fail(
          "annotator " + annotator + " has annotated \"" + picture + "\" at " +
          known.first->second + " already");
    }
    if (url.empty()) {  // the tool stores pictures that were only looked at
      ++empty_;
      return;
    }
    if (url.substr(0, kPrefix.size()) != kPrefix) {
      fail(
          "expected an annotation that begins with " + std::string(kPrefix) +
          ", got \"" + std::string(url.substr(0, 30)) + "\"");
    }
    auto one = std::make_shared<data::Annotation>();
    one->annotator = annotator;
    one->source = file_.name + ": " + where;
    one->alpha_png = from_base64(url.substr(kPrefix.size()), fail);
    if (data::picture_format(one->alpha_png) != data::PictureFormat::kPng) {
      fail("the content of the annotation is not a PNG");
    }
    file_.items.push_back({picture, std::move(one), ""});
  }

  data::AnnotationFile finish() {
    if (empty_ > 0) {
      file_.warnings.push_back(
          file_.name + ": " + std::to_string(empty_) +
          " annotations are empty and count as not made");
    }
    return std::move(file_);
  }

 private:
  data::AnnotationFile file_;
  std::map<std::pair<std::string, std::string>, std::string> places_;
  size_t empty_ = 0;
};

/// The key that an object has, of several names for one thing.
const char* key_of(
    const JsonFile& file, const nlohmann::json& object, const std::string& at,
    std::initializer_list<const char*> names) {
  for (const auto* name : names) {
    if (object.is_object() && object.contains(name)) {
      return name;
    }
  }
  file.fail(at, std::string("the key \"") + *names.begin() + "\" is missing");
}

}  // namespace

std::string from_base64(
    std::string_view text,
    const std::function<void(const std::string&)>& fail) {
  const std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  auto digits = text;
  for (int i = 0; i < 2 && !digits.empty() && digits.back() == '='; ++i) {
    digits.remove_suffix(1);
  }
  if (text.size() % 4 != 0 || text.empty()) {
    fail("the base64 text is cut off");
  }
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : digits) {
    const auto value = kDigits.find(c);
    if (value == std::string_view::npos) {
      fail("the text is not base64");
    }
    bits = bits << 6U | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> static_cast<unsigned>(count) & 0xFFU);
    }
  }
  return bytes;
}

data::AnnotationFile read_cvrl(const JsonFile& file) {
  const auto& content = file.content();
  const bool pages = content.is_object();  // one page of a long list
  const auto& list = pages ? file.member(content, "", "results") : content;
  if (!list.is_array()) {
    file.fail(
        pages ? "results" : "",
        "expected a list, got " + std::string(list.type_name()));
  }
  if (pages && content.contains("next") && !content.at("next").is_null()) {
    file.fail("next", "this is one page of several: save all of them as one");
  }
  Collected all(file.name());
  for (size_t i = 0; i < list.size(); ++i) {
    auto at = at_index(pages ? "results" : "", i);
    const auto* object = &list[i];
    if (object->is_object() && object->contains("fields")) {  // Django's dump
      if (object->value("model", std::string()) != "api.annotation") {
        continue;
      }
      object = &object->at("fields");
      at += ".fields";
    }
    const auto& one = *object;
    const auto* image = key_of(file, one, at, {"image", "img_id", "image_id"});
    const bool known =
        one.contains("annotator") || one.contains("annotator_id");
    const auto& url = file.member(one, at, "annotation");
    if (!url.is_string()) {
      file.fail(
          at + ".annotation",
          "expected a text, got " + std::string(url.type_name()));
    }
    all.add(
        at, file.text(one, at, image),
        known
            ? file.text(
                  one, at, key_of(file, one, at, {"annotator", "annotator_id"}))
            : "",
        url.get_ref<const std::string&>(),
        [&](const std::string& reason) { file.fail(at, reason); });
  }
  return all.finish();
}

data::AnnotationFile read_cvrl_csv(const std::filesystem::path& csv) {
  const auto fail = [&](size_t line, const std::string& reason) {
    throw cyborg::io::FileError(
        "read_annotations", csv.string() + ":" + std::to_string(line), reason);
  };
  const auto text =
      cyborg::io::read_file(csv, uint64_t{1} << 32, "read_annotations");
  const auto records = cyborg::io::parse_csv(text, fail);
  std::vector<std::string> names;
  for (const auto& field : records.at(0).fields) {
    names.push_back(cyborg::io::lower_case(field));
  }
  const auto column = [&](std::initializer_list<const char*> any) {
    size_t place = names.size();
    for (size_t c = 0; c < names.size(); ++c) {
      if (std::find(any.begin(), any.end(), names[c]) != any.end()) {
        if (place != names.size()) {
          fail(
              records[0].line, "the columns \"" + names[place] + "\" and \"" +
                                   names[c] + "\" say the same");
        }
        place = c;
      }
    }
    if (place == names.size()) {
      fail(
          records[0].line,
          std::string("the column \"") + *any.begin() + "\" is missing");
    }
    return place;
  };
  const auto image = column({"image_id", "image", "img_id"});
  const auto annotator = column({"annotator_id", "annotator"});
  const auto annotation = column({"annotation"});
  Collected all(csv.string());
  for (size_t r = 1; r < records.size(); ++r) {
    const auto& fields = records[r].fields;
    const auto line = records[r].line;
    if (fields.size() != names.size()) {
      fail(
          line, "expected " + std::to_string(names.size()) + " fields, got " +
                    std::to_string(fields.size()));
    }
    if (fields[image].empty()) {
      fail(line, "the image is empty");
    }
    all.add(
        "line " + std::to_string(line), fields[image], fields[annotator],
        fields[annotation],
        [&](const std::string& reason) { fail(line, reason); });
  }
  return all.finish();
}

}  // namespace programs
