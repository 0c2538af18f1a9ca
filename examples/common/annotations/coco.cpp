// SPDX-License-Identifier: BSD-3-Clause
#include "readers.hpp"

#include <torch/types.h>

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <utility>

namespace programs {

namespace {

namespace data = cyborg::data;
using nlohmann::json;

/// A list of the file.
const json& list_of(const JsonFile& file, const char* key) {
  const auto& list = file.member(file.content(), "", key);
  if (!list.is_array()) {
    file.fail(key, "expected a list, got " + std::string(list.type_name()));
  }
  return list;
}

/// The id of the category of this name; "" for no name.
std::string category_id(const JsonFile& file, const std::string& name) {
  if (name.empty()) {
    return "";
  }
  std::string known;
  const auto& list = list_of(file, "categories");
  for (size_t i = 0; i < list.size(); ++i) {
    const auto at = at_index("categories", i);
    const auto one = file.text(list[i], at, "name");
    if (one == name) {
      return file.text(list[i], at, "id");
    }
    known += (known.empty() ? "\"" : ", \"") + one + "\"";
  }
  file.fail(
      "categories", "expected the category \"" + name + "\", got " +
                        (known.empty() ? "none" : known));
}

torch::Tensor pairs(const std::vector<double>& values) {
  return torch::tensor(values, torch::kDouble).view({-1, 2});
}

void add_polygons(
    const JsonFile& file, const json& list, const std::string& at,
    data::Annotation& to) {
  for (size_t i = 0; i < list.size(); ++i) {
    const auto place = at_index(at, i);
    const auto values = file.numbers(list[i], place);
    if (values.size() < 6 || values.size() % 2 != 0) {
      file.fail(
          place, "expected x, y of at least 3 corners, got " +
                     std::to_string(values.size()) + " numbers");
    }
    to.polygons.push_back(pairs(values));
  }
}

void add_runs(
    const JsonFile& file, const json& segmentation, const std::string& at,
    data::Annotation& to) {
  const auto& size = file.member(segmentation, at, "size");
  if (!size.is_array() || size.size() != 2) {
    file.fail(at + ".size", "expected [height, width], got " + size.dump());
  }
  data::RunLengths mask;
  for (size_t i = 0; i < 2; ++i) {
    mask.size.push_back(file.whole(size[i], at_index(at + ".size", i)));
    if (mask.size.back() < 1 || mask.size.back() > (int64_t{1} << 20)) {
      file.fail(
          at_index(at + ".size", i), "expected 1 to 1048576 pixels, got " +
                                         std::to_string(mask.size.back()));
    }
  }
  if (!to.size.empty() && to.size != mask.size) {
    file.fail(
        at + ".size", "is " + size.dump() + ", but the picture is [" +
                          std::to_string(to.size[0]) + "," +
                          std::to_string(to.size[1]) + "]");
  }
  const auto& counts = file.member(segmentation, at, "counts");
  const auto place = at + ".counts";
  if (counts.is_string()) {
    mask.runs = coco_runs(
        counts.get<std::string>(),
        [&](const std::string& reason) { file.fail(place, reason); });
  } else if (counts.is_array()) {
    for (size_t i = 0; i < counts.size(); ++i) {
      mask.runs.push_back(file.whole(counts[i], at_index(place, i)));
    }
  } else {
    file.fail(
        place,
        "expected a list or a text, got " + std::string(counts.type_name()));
  }
  const auto pixels = mask.size[0] * mask.size[1];
  int64_t sum = 0;
  for (const auto run : mask.runs) {
    sum = run >= 0 && sum >= 0 && run <= pixels - sum ? sum + run : -1;
  }
  if (sum != pixels) {
    file.fail(
        place,
        "expected runs that add up to " + std::to_string(pixels) + " pixels");
  }
  to.runs.push_back(std::move(mask));
}

/// Adds the box [x, y, width, height] of an object.
void add_box(
    const JsonFile& file, const json& box, const std::string& at,
    std::vector<double>& boxes) {
  const auto values = file.numbers(box, at);
  if (values.size() != 4 || values[2] < 0 || values[3] < 0) {
    file.fail(
        at, "expected [x, y, width, height] with width and height >= 0, got " +
                box.dump().substr(0, 60));
  }
  boxes.insert(
      boxes.end(),
      {values[0], values[1], values[0] + values[2], values[1] + values[3]});
}

}  // namespace

std::vector<int64_t> coco_runs(
    const std::string& text,
    const std::function<void(const std::string&)>& fail) {
  std::vector<int64_t> runs;
  for (size_t at = 0; at < text.size();) {
    // Five bits in each character, the lowest first; 32 says that more follow,
    // and 16 of the last one is the sign.
    uint64_t bits = 0;
    unsigned shift = 0;
    for (bool more = true; more; shift += 5) {
      const int symbol =
          at < text.size() ? static_cast<unsigned char>(text[at++]) - 48 : -1;
      if (symbol < 0 || symbol > 63 || shift > 40) {
        fail("is no compressed run length: it is damaged or cut off");
      }
      bits |= static_cast<uint64_t>(symbol & 31) << shift;
      more = (symbol & 32) != 0;
      if (!more && (symbol & 16) != 0) {
        bits |= ~uint64_t{0} << (shift + 5);
      }
    }
    auto run = static_cast<int64_t>(bits);
    if (runs.size() > 2) {  // from the third on relative to the one but last
      run += runs[runs.size() - 2];
    }
    if (run < 0 || run > (int64_t{1} << 40)) {
      fail("is no compressed run length: a run is negative or too large");
    }
    runs.push_back(run);
  }
  return runs;
}

data::AnnotationFile read_coco(
    const JsonFile& file, const std::string& category) {
  const auto wanted = category_id(file, category);
  struct Picture {
    std::string name;
    std::shared_ptr<data::Annotation> annotation;
    std::vector<double> boxes;
  };
  std::map<std::string, Picture> pictures;
  std::vector<std::string> order;
  std::map<std::string, std::string> id_of;
  const auto& images = list_of(file, "images");
  for (size_t i = 0; i < images.size(); ++i) {
    const auto at = at_index("images", i);
    const auto id = file.text(images[i], at, "id");
    const auto name = file.text(images[i], at, "file_name");
    auto annotation = std::make_shared<data::Annotation>();
    annotation->source = file.name() + ": " + at + " (" + name + ")";
    annotation->size = file.size(images[i], at);
    if (!pictures.emplace(id, Picture{name, annotation, {}}).second) {
      file.fail(at, "the id " + id + " is in the list twice");
    }
    if (!id_of.emplace(name, id).second) {
      file.fail(at, "the picture \"" + name + "\" is in the list twice");
    }
    order.push_back(id);
  }
  std::set<std::string> ids;
  std::set<std::string> marked;
  const auto& objects = list_of(file, "annotations");
  for (size_t i = 0; i < objects.size(); ++i) {
    const auto& object = objects[i];
    const auto at = at_index("annotations", i);
    const auto image = file.text(object, at, "image_id");
    if (object.contains("id") &&
        !ids.insert(file.text(object, at, "id")).second) {
      file.fail(
          at,
          "the id " + file.text(object, at, "id") + " is in the list twice");
    }
    const auto picture = pictures.find(image);
    if (picture == pictures.end()) {
      file.fail(at, "no picture has the image_id " + image);
    }
    if (!wanted.empty() && file.text(object, at, "category_id") != wanted) {
      continue;
    }
    auto& one = picture->second;
    const auto segmentation = object.find("segmentation");
    const bool has_one = segmentation != object.end() &&
                         !segmentation->is_null() && !segmentation->empty();
    const auto place = at + ".segmentation";
    if (has_one && segmentation->is_array()) {
      add_polygons(file, *segmentation, place, *one.annotation);
    } else if (has_one) {
      add_runs(file, *segmentation, place, *one.annotation);
    } else if (object.contains("bbox")) {
      add_box(file, object.at("bbox"), at + ".bbox", one.boxes);
    } else {
      file.fail(at, "has neither a segmentation nor a bbox");
    }
    marked.insert(image);
  }
  data::AnnotationFile out;
  out.name = file.name();
  for (const auto& id : order) {
    if (marked.count(id) == 0) {
      continue;  // nobody annotated it
    }
    auto& one = pictures.at(id);
    if (!one.boxes.empty()) {
      one.annotation->boxes =
          torch::tensor(one.boxes, torch::kDouble).view({-1, 4});
    }
    out.items.push_back({one.name, one.annotation, ""});
  }
  return out;
}

}  // namespace programs
