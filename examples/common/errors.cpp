// SPDX-License-Identifier: BSD-3-Clause
#include "errors.hpp"

#include <cyborg/io/file.hpp>

#include <c10/util/Exception.h>

#include <exception>
#include <utility>

namespace programs {

namespace {

/// What a person can do instead of setting an option of the library.
std::string without_options(std::string text) {
  static const std::pair<std::string, std::string> kInstead[] = {
      {" (ImageOptions::max_pixels)", "; make it smaller"},
      {"name it in TableOptions::positive", "name it with --positive"},
      {"; name all classes in TableOptions::classes", ""}};
  for (const auto& [option, instead] : kInstead) {
    const auto at = text.find(option);
    if (at != std::string::npos) {
      text.replace(at, option.size(), instead);
    }
  }
  return text;
}

std::string error_text() {
  try {
    throw;
  } catch (const cyborg::io::FileError& error) {
    const std::string what = error.what();
    const auto flag =
        what.compare(0, 2, "--") == 0 ? what.substr(0, what.find(": ")) : "";
    return flag + (flag.empty() ? "" : " ") + error.path() + ": " +
           error.reason();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

std::string current_error(const std::string& program) {
  return program + ": " + without_options(error_text()) + "\n";
}

}  // namespace programs
