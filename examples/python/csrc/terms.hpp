// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The terms that Python names by a text. They have the names of the list in
// examples/common/terms.cpp, which a test compares.

#include "common.hpp"
#include "distances.hpp"

#include <cyborg/guide/seen.hpp>

#include <functional>
#include <string>
#include <vector>

namespace torchcyborg {

/// A term, and what it needs (`cyborg::needs`).
struct Term {
  unsigned needs = cyborg::needs::kNothing;
  std::function<cyborg::PerSample(const cyborg::Seen&)> loss;
};

/// A term that can be asked for by name.
struct TermKind {
  const char* name;
  const char* help;
  unsigned needs;
  std::vector<std::string> options;  // their names
  std::function<Term(const py::dict&)> make;
};

const std::vector<TermKind>& term_kinds();

/// The term of a name, with options by their names.
/// Throws: `ValueError` that lists the names, `TypeError` for an option that it
/// does not have.
Term term_named(const std::string& name, const py::dict& options);

/// The bit of `cyborg::needs`: "input-gradient" or "forward".
unsigned need_named(const std::string& name);

}  // namespace torchcyborg
