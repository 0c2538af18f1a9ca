// SPDX-License-Identifier: BSD-3-Clause
#include "mistakes.hpp"

#include "unknown_option.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <regex>
#include <set>

namespace programs {

namespace {

using Words = std::vector<std::string>;

/// The part of a word before "=".
std::string flag_in(const std::string& word) {
  return word.substr(0, word.find('='));
}

bool is_flag(const std::string& word) {
  return word.size() > 2 && word.compare(0, 2, "--") == 0;
}

/// The options of an app and of its groups, by their flags.
std::map<std::string, const CLI::Option*> options_of(const CLI::App& app) {
  std::map<std::string, const CLI::Option*> found;
  const auto add = [&](const CLI::App& part) {
    for (const auto* option : part.get_options()) {
      for (const auto& name : option->get_lnames()) {
        found.emplace("--" + name, option);
      }
    }
  };
  add(app);
  const auto all = [](const CLI::App* /*group*/) { return true; };
  for (const auto* group : app.get_subcommands(all)) {
    add(*group);
  }
  return found;
}

/// Whether words without an option mean something to a program.
bool takes_words(const CLI::App& app) {
  const auto options = app.get_options();
  return std::any_of(options.begin(), options.end(), [](const auto* option) {
    return option->get_positional();
  });
}

/// What the command line gives to an option: the words of each time.
std::vector<Words> values_of(
    const Words& words, const std::string& flag, size_t most) {
  std::vector<Words> all;
  for (size_t i = 0; i < words.size(); ++i) {
    if (flag_in(words[i]) != flag) {
      continue;
    }
    Words values;
    if (words[i].size() > flag.size()) {
      values.push_back(words[i].substr(flag.size() + 1));
    }
    for (size_t k = i + 1;
         k < words.size() && !is_flag(words[k]) && values.size() < most; ++k) {
      values.push_back(words[k]);
    }
    all.push_back(std::move(values));
  }
  return all;
}

/// What an option takes, in words.
std::string expected_by(const CLI::Option& option) {
  static const std::map<std::string, std::string> kKinds{
      {"INT", "a whole number"},
      {"UINT", "a whole number"},
      {"FLOAT", "a number"},
      {"TEXT", "a value"},
      {"FILE", "the name of a file"},
      {"DIR", "the name of a folder"},
      {"PATH", "the name of a file or folder"},
      {"NAME", "a name"}};
  const auto type = option.get_type_name();
  const auto choices = type.find('{');
  if (choices != std::string::npos) {
    return "one of " +
           std::regex_replace(
               type.substr(choices + 1, type.find('}') - choices - 1),
               std::regex(","), ", ");
  }
  const auto kind = kKinds.find(type.substr(0, type.find(':')));
  if (kind == kKinds.end()) {
    return type;
  }
  const auto least = option.get_expected_min();
  const auto most = option.get_expected_max();
  if (most <= 1) {
    return kind->second;
  }
  const auto several = kind->second.substr(kind->second.find(' ') + 1) + "s";
  return most > 1000     ? several
         : least == most ? fmt::format("{} {}", least, several)
                         : fmt::format("{} to {} {}", least, most, several);
}

/// " for example --size 224 224"; "" where nothing is known to be right.
std::string example_of(const std::string& flag, const CLI::Option& option) {
  // Of options without a default.
  static const std::map<std::string, std::string> kExamples{
      {"--window", "0,4095"},
      {"--screen", "57 38"},
      {"--annotation-width", "30"},
      {"--class-weights", "balanced"},
      {"--term", "energy"}};
  const auto known = kExamples.find(flag);
  auto value =
      known != kExamples.end() ? known->second : option.get_default_str();
  // CLI11 writes several values as [1,2].
  value = std::regex_replace(value, std::regex(R"(^\[(.*)\]$)"), "$1");
  const bool is_value =
      value.find_first_of("0123456789") == 0 || known != kExamples.end();
  if (!is_value) {
    return "";
  }
  const bool commas =
      option.get_delimiter() == ',' || option.get_expected_max() == 1;
  return ", for example " + flag + " " +
         (commas ? value : std::regex_replace(value, std::regex(","), " "));
}

/// What is wrong with the values of an option.
std::string text_of_values(
    const std::string& flag, const CLI::Option& option, const Words& words,
    bool others) {
  const auto most = static_cast<size_t>(
      others ? std::max(option.get_expected_max(), 1) : words.size());
  const auto values = values_of(words, flag, most);
  if (option.get_expected_max() == 0) {
    return fmt::format(
        "{}: expected no value, got {}", flag,
        fmt::join(values.empty() ? Words() : values.back(), " "));
  }
  if (values.size() > 1) {
    std::vector<std::string> each;
    for (const auto& one : values) {
      each.push_back(fmt::format("{}", fmt::join(one, " ")));
    }
    return fmt::format(
        "{}: expected once, got {} times: {}; keep one of them", flag,
        values.size(), fmt::join(each, " and "));
  }
  const auto got = values.empty() || values[0].empty()
                       ? std::string("nothing")
                       : fmt::format("{}", fmt::join(values[0], " "));
  return fmt::format(
      "{}: expected {}{}; got {}", flag, expected_by(option),
      example_of(flag, option), got);
}

/// What is wrong with an option that the program does not have.
std::string text_of_unknown(
    const std::map<std::string, const CLI::Option*>& options,
    const std::string& program, const std::string& word) {
  std::set<std::string> own;
  for (const auto& [flag, option] : options) {
    own.insert(flag);
  }
  return unknown_option_text(program, own, flag_in(word));
}

/// What is wrong with words that no option takes.
std::string text_of_extra(
    const CLI::App& app, const std::string& program, const Words& words) {
  const auto options = options_of(app);
  for (const auto& word : words) {
    if (is_flag(word) && options.count(flag_in(word)) == 0) {
      return text_of_unknown(options, program, word);
    }
  }
  const auto left = app.remaining();
  const auto first = left.empty() ? std::string() : left.front();
  if (first.size() > 1 && first.find_first_not_of("-\xE2\x80\x93\x94") > 0 &&
      first.find_first_of("0123456789.") != 1) {
    return text_of_unknown(options, program, first);
  }
  // One value too many: behind which option?
  const auto at = std::find(words.begin(), words.end(), first);
  for (auto before = at; before != words.begin();) {
    --before;
    const auto option = options.find(flag_in(*before));
    if (option != options.end()) {
      return text_of_values(option->first, *option->second, words, false);
    }
  }
  return "expected options, which begin with --, got " + first;
}

std::string text_of(
    const CLI::App& app, const CLI::Error& error, const std::string& program,
    const Words& words) {
  // By the number: the name of an error is at times that of the app.
  const auto kind = static_cast<CLI::ExitCodes>(error.get_exit_code());
  if (kind == CLI::ExitCodes::ExtrasError) {
    return text_of_extra(app, program, words);
  }
  const std::string text = error.what();
  if (kind == CLI::ExitCodes::RequiredError) {
    const auto name = text.substr(0, text.find(' '));
    const auto* option = app.get_option_no_throw(name);
    return option != nullptr && option->get_positional()
               ? "expected " + option->get_description() + "; got nothing"
               : text;
  }
  std::smatch found;
  if (!std::regex_search(text, found, std::regex("--[a-z][a-z0-9-]*"))) {
    return text;
  }
  const auto options = options_of(app);
  const auto option = options.find(found.str());
  if (option == options.end()) {
    return text;
  }
  const auto& [flag, of] = *option;
  if (kind == CLI::ExitCodes::ArgumentMismatch ||
      kind == CLI::ExitCodes::ConversionError) {
    return text_of_values(flag, *of, words, takes_words(app));
  }
  const auto example = example_of(flag, *of);
  return kind == CLI::ExitCodes::ValidationError &&
                 of->get_expected_max() > 1 &&
                 of->get_multi_option_policy() !=
                     CLI::MultiOptionPolicy::TakeAll &&
                 !example.empty() &&
                 text.find("for example") == std::string::npos
             ? fmt::format(
                   "{} ({} takes {}{})", text, flag, expected_by(*of), example)
             : text;
}

}  // namespace

void explain_mistakes(
    CLI::App& app, const std::string& program, int argc,
    const char* const* argv) {
  const Words words(argv + 1, argv + argc);
  app.failure_message(
      [program, words](const CLI::App* failed, const CLI::Error& error) {
        return text_of(*failed, error, program, words) +
               "\nRun with --help for more information.\n";
      });
}

}  // namespace programs
