// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The terms that a training may add to its loss, by name. `train`, `methods`,
// the help and the checkpoints read this one list.

#include <ATen/core/Generator.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace cyborg {
class Guidance;  // who only names terms does not compile it
}

namespace programs {

/// What a term reads beside the network's maps.
enum class TermReads {
  kNothing,  ///< no map of people
  kMaps,     ///< where people look
  kWrong,    ///< what must not be used
  kEither,   ///< one of the two, or both
};

/// An option of a term: `name=value` behind the term's name.
struct TermOption {
  std::string name;
  std::string value;  ///< the default
  std::string help;
};

/// A term as it was asked for.
struct TermSetting {
  std::string kind;  ///< its name in `term_kinds`
  double strength = 0;
  double from = 0;  ///< the first epoch in which it counts, from 0
  double ramp = 0;  ///< epochs in which its strength rises to the full one
  std::map<std::string, std::string> options;  ///< all of them
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(
    TermSetting, kind, strength, from, ramp, options)

/// What a term is made for.
struct TermSurroundings {
  std::vector<double> low = {0};   ///< smallest value of a pixel, by channel
  std::vector<double> high = {1};  ///< largest value of a pixel, by channel
  /// Holds the network's batch norms while it runs changed pictures; may be
  /// empty.
  std::function<std::shared_ptr<void>()> while_attacking = {};
  /// The source of random numbers; undefined: LibTorch's own.
  at::Generator generator = {};
};

/// A term that can be asked for.
struct TermKind {
  std::string name;
  std::string help;
  TermReads reads;
  unsigned needs;
  double strength;  ///< a good one to begin with
  std::vector<TermOption> options;
  /// Adds the term to a guidance.
  std::function<void(
      cyborg::Guidance&, const TermSetting&, const TermSurroundings&)>
      add;
};

/// All terms, in the order of the help.
const std::vector<TermKind>& term_kinds();

/// The kind of this name.
/// Throws: `std::invalid_argument` that lists the names.
const TermKind& term_kind(const std::string& name);

/// Reads "NAME" or "NAME:option=value,option=value". Options of every term are
/// `strength`, `from` and `ramp`.
/// Throws: `std::invalid_argument` that names what is wrong and what is known.
TermSetting parse_term(const std::string& text);

/// The text that `parse_term` reads.
std::string to_text(const TermSetting& term);

/// Adds the term to a guidance, with its full strength and the blend kAdditive.
void add_term(
    cyborg::Guidance& guidance, const TermSetting& term,
    const TermSurroundings& surroundings = {});

/// The strength of a term in an epoch, from 0: 0 before `from`, then rising in
/// a line over `ramp` epochs. `epoch` may be a fraction.
double strength_at(const TermSetting& term, double epoch);

/// All terms, what they read, and their options, as lines of text.
std::string terms_text();

}  // namespace programs
