// SPDX-License-Identifier: BSD-3-Clause
#include "errors.hpp"

#include <cyborg/io/file.hpp>

#include <c10/util/Exception.h>

#include <exception>
#include <regex>

namespace programs {

namespace {

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

std::string with_flags(const std::string& text, const std::string& program) {
  static const std::regex kBoth(
      "[A-Za-z_:]+; (--[a-z-]+( [a-z]+)?) in the programs");
  return std::regex_replace(
      text, kBoth, program == "train" ? "$1" : "$1 of train");
}

std::string current_error(const std::string& program) {
  return program + ": " + with_flags(error_text(), program) + "\n";
}

}  // namespace programs
