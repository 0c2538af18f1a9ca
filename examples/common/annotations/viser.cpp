// SPDX-License-Identifier: BSD-3-Clause
#include "readers.hpp"

#include <cstddef>
#include <set>

namespace programs {

cyborg::data::AnnotationFile read_viser(
    const JsonFile& file, const std::string& configuration) {
  const auto& list = file.content();
  std::set<std::string> known;
  for (size_t i = 0; i < list.size(); ++i) {
    const auto at = at_index("", i);
    const auto& maps = file.member(list[i], at, "saliencyMaps");
    if (!maps.is_object()) {
      file.fail(
          at + ".saliencyMaps",
          "expected an object, got " + std::string(maps.type_name()));
    }
    for (const auto& entry : maps.items()) {
      known.insert(entry.key());
    }
  }
  std::string names;
  for (const auto& name : known) {
    names += (names.empty() ? "\"" : ", \"") + name + "\"";
  }
  if (configuration.empty() ? known.size() != 1
                            : known.count(configuration) == 0) {
    file.fail(
        "saliencyMaps",
        configuration.empty()
            ? "choose one of the configurations with --annotation-name: " +
                  names
            : "expected the configuration \"" + configuration + "\", got " +
                  names);
  }
  const auto chosen = configuration.empty() ? *known.begin() : configuration;
  const auto folder = std::filesystem::path(file.name()).parent_path();
  cyborg::data::AnnotationFile out;
  out.name = file.name();
  std::set<std::string> pictures;
  for (size_t i = 0; i < list.size(); ++i) {
    const auto at = at_index("", i);
    const auto picture = file.text(list[i], at, "irisImageLink");
    if (!pictures.insert(picture).second) {
      file.fail(at, "the picture \"" + picture + "\" is in the list twice");
    }
    const auto& maps = list[i].at("saliencyMaps");
    if (maps.contains(chosen)) {
      const auto path = file.text(maps, at + ".saliencyMaps", chosen);
      out.items.push_back({picture, nullptr, (folder / path).string()});
    }
  }
  return out;
}

}  // namespace programs
