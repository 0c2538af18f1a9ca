// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Options of the command line that several programs have.

#include "choices.hpp"
#include "numbers.hpp"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>

namespace programs {

/// Accepts the names of an enum's table, and "" where nothing may be chosen.
template <class Enum>
CLI::Validator choice_check(bool may_be_empty = false) {
  return CLI::Validator(
      [may_be_empty](const std::string& name) {
        try {
          if (!name.empty() || !may_be_empty) {
            choice_named<Enum>(name);
          }
          return std::string();
        } catch (const std::exception& error) {
          return std::string(error.what());
        }
      },
      "{" + choice_names<Enum>(",", ",") + "}");
}

/// An option whose value is one of an enum's. `value` holds the default, and
/// lives as long as `app`.
template <class Enum>
CLI::Option* add_choice(
    CLI::App& app, const std::string& flag, Enum& value,
    const std::string& text) {
  return app
      .add_option_function<std::string>(
          flag,
          [&value](const std::string& name) {
            value = choice_named<Enum>(name);
          },
          choice_help<Enum>(text))
      ->check(choice_check<Enum>())
      ->default_str(name_of(value));
}

/// The same for a choice that need not be made.
template <class Enum>
CLI::Option* add_choice(
    CLI::App& app, const std::string& flag, std::optional<Enum>& value,
    const std::string& text) {
  return app
      .add_option_function<std::string>(
          flag,
          [&value](const std::string& name) {
            value.reset();
            if (!name.empty()) {
              value = choice_named<Enum>(name);
            }
          },
          choice_help<Enum>(text))
      ->check(choice_check<Enum>(/*may_be_empty=*/true));
}

/// How `evaluate` and `explain` run a network. The results do not depend on
/// these options, but for rounding.
inline void add_running_options(
    CLI::App& app, std::string& device, int64_t& threads, int64_t& workers,
    int64_t& batch) {
  const auto from = [](int64_t least) {
    return whole_number(least, int64_t{1} << 20);
  };
  app.add_option("--device", device, "cpu, cuda, cuda:1, ...")
      ->capture_default_str();
  app.add_option(
         "--threads", threads,
         "threads of LibTorch; 0: as many as there are cores")
      ->check(from(0))
      ->capture_default_str();
  app.add_option("--workers", workers, "threads that read pictures in advance")
      ->check(from(0))
      ->capture_default_str();
  app.add_option("--batch", batch, "pictures in a batch")
      ->check(from(1))
      ->capture_default_str();
}

}  // namespace programs
