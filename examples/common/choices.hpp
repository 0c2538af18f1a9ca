// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Choices that a person makes by name: an `enum class`, and one table of its
// values. Parsing, help, error texts and checkpoints all read that table, so
// that a name that it lacks is an error everywhere.

#include <nlohmann/json.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace programs {

/// One value of an enum.
template <class Enum>
struct Choice {
  Enum value;
  const char* name;  ///< on the command line and in checkpoints
  const char* help;  ///< what it does; "" where the name says it
};

/// The table of an enum. A specialisation holds all choices, in the order in
/// which the help shows them.
///
/// Example:
///     enum class Fruit { kApple, kPear };
///     template <>
///     struct Choices<Fruit> {
///       static constexpr Choice<Fruit> kAll[] = {
///           {Fruit::kApple, "apple", "a red one"},
///           {Fruit::kPear, "pear", ""}};
///     };
///     choice_named<Fruit>("pear");  // Fruit::kPear
///     choice_named<Fruit>("plum");  // throws: expected apple or pear, ...
template <class Enum>
struct Choices;

/// Whether an enum has a table.
template <class T, class = void>
struct has_choices : std::false_type {};
template <class T>
struct has_choices<T, std::void_t<decltype(Choices<T>::kAll)>>
    : std::true_type {};

/// The name of a value.
/// Throws: `std::logic_error` for a value that its table lacks.
template <class Enum>
std::string name_of(Enum value) {
  for (const auto& choice : Choices<Enum>::kAll) {
    if (choice.value == value) {
      return choice.name;
    }
  }
  throw std::logic_error(
      "programs::name_of: expected a value of the table, got " +
      std::to_string(static_cast<int>(value)));
}

/// The names with `between` between them and `last` before the last one.
template <class Enum>
std::string choice_names(
    const std::string& between = ", ", const std::string& last = " or ") {
  std::string names;
  const auto& end = std::end(Choices<Enum>::kAll);
  for (const auto* one = std::begin(Choices<Enum>::kAll); one != end; ++one) {
    names += names.empty() ? "" : one + 1 == end ? last : between;
    names += one->name;
  }
  return names;
}

/// The value of a name.
/// Throws: `std::invalid_argument`, "expected apple or pear, got plum".
template <class Enum>
Enum choice_named(const std::string& name) {
  for (const auto& choice : Choices<Enum>::kAll) {
    if (name == choice.name) {
      return choice.value;
    }
  }
  throw std::invalid_argument(
      "expected " + choice_names<Enum>() + ", got " + name);
}

/// `text` and what each choice does.
template <class Enum>
std::string choice_help(std::string text) {
  for (const auto& choice : Choices<Enum>::kAll) {
    if (*choice.help != '\0') {
      text += std::string("; ") + choice.name + ": " + choice.help;
    }
  }
  return text;
}

}  // namespace programs

/// In JSON a choice is its name.
template <class Enum>
struct nlohmann::adl_serializer<
    Enum, std::enable_if_t<programs::has_choices<Enum>::value>> {
  template <class Json>
  static void to_json(Json& json, Enum value) {
    json = programs::name_of(value);
  }
  template <class Json>
  static void from_json(const Json& json, Enum& value) {
    value = programs::choice_named<Enum>(json.template get<std::string>());
  }
};

/// In JSON a choice that was not made is "".
template <class Enum>
struct nlohmann::adl_serializer<
    std::optional<Enum>, std::enable_if_t<programs::has_choices<Enum>::value>> {
  template <class Json>
  static void to_json(Json& json, const std::optional<Enum>& value) {
    json = value ? programs::name_of(*value) : std::string();
  }
  template <class Json>
  static void from_json(const Json& json, std::optional<Enum>& value) {
    const auto name = json.template get<std::string>();
    value.reset();
    if (!name.empty()) {
      value = programs::choice_named<Enum>(name);
    }
  }
};
