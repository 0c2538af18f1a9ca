// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// JSON files of annotations: read with errors that say where.

#include <cyborg/io/file.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace programs {

/// A file, and the place in it that is read.
class JsonFile {
 public:
  /// Reads a file.
  /// Throws: `cyborg::io::FileError` for a file that is no JSON, with line and
  /// column, and for a key that an object has twice.
  explicit JsonFile(std::filesystem::path path);

  const nlohmann::json& content() const { return content_; }
  std::string name() const { return path_.string(); }

  /// Throws a `cyborg::io::FileError`: "FILE: KEY: reason". `key` is a place in
  /// the file, such as "annotations[3].bbox".
  [[noreturn]] void fail(
      const std::string& key, const std::string& reason) const;

  /// The value of a key of `object`, which is at the place `at`. Throws where
  /// the key is missing.
  const nlohmann::json& member(
      const nlohmann::json& object, const std::string& at,
      const std::string& key) const;

  /// A text, or a number as text, such as the id of an object.
  std::string text(
      const nlohmann::json& object, const std::string& at,
      const std::string& key) const;

  /// A list of finite numbers of at most 1e9.
  std::vector<double> numbers(
      const nlohmann::json& list, const std::string& at) const;

  /// The size {H, W} of the keys `height` and `width`; empty if there are none.
  std::vector<int64_t> size(
      const nlohmann::json& object, const std::string& at) const;

  /// A whole number of at least 0.
  int64_t whole(const nlohmann::json& value, const std::string& at) const;

 private:
  std::filesystem::path path_;
  nlohmann::json content_;
};

/// "annotations[3]"
std::string at_index(const std::string& list, size_t index);

}  // namespace programs
