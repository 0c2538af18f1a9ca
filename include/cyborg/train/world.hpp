// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/util/Exception.h>

#include <charconv>
#include <cstdlib>
#include <limits>
#include <string>
#include <system_error>

namespace cyborg::train {

namespace detail {

/// The whole number in an environment variable, or `fallback` where the
/// variable is not set. Throws for any other text, such as "", "2 " and "0x2",
/// and for a number outside of [lowest, highest].
inline int environment_number(
    const char* name, int lowest, int highest, int fallback) {
  const char* set = std::getenv(name);
  if (set == nullptr) {
    return fallback;
  }
  const std::string text = set;
  const char* end = text.data() + text.size();
  int value = 0;
  const auto [last, error] = std::from_chars(text.data(), end, value);
  TORCH_CHECK_VALUE(
      error == std::errc() && last == end && value >= lowest &&
          value <= highest,
      "cyborg::train::World: expected ", name, " from ", lowest, " to ",
      highest, ", got \"", text, '"');
  return value;
}

}  // namespace detail

/// The processes that work together: how many there are, which of them this one
/// is, and where they find each other. Without arguments it is one process.
///
/// Example:
///     cyborg::train::World world;
///     world.rank = 1;
///     world.size = 2;
///     world.address = "192.168.0.2";
///     cyborg::train::Group group(world);
struct World {
  int rank = 0;        ///< the number of this process, from 0 to size - 1
  int size = 1;        ///< the number of processes
  int local_rank = 0;  ///< its number on its machine, which is that of its GPU
  std::string address = "127.0.0.1";  ///< the machine where all connect first
  int port = 29500;                   ///< the port there, from 1 to 65535
  /// Whether the launcher listens at this address, as torchrun may; otherwise
  /// rank 0 listens.
  bool launcher_listens = false;
  /// How many times the launcher has started all processes again.
  int attempt = 0;

  /// The world that `torchrun` or `./dev ranks` describes in the environment:
  /// RANK, WORLD_SIZE, LOCAL_RANK (RANK where it is not set), MASTER_ADDR and
  /// MASTER_PORT. Without RANK and WORLD_SIZE it is one process.
  ///
  /// Throws: `c10::ValueError` where only one of RANK and WORLD_SIZE is set,
  /// where several processes have no MASTER_ADDR or MASTER_PORT, and for a
  /// variable that is not a number in its range.
  static World from_environment() {
    const auto is_set = [](const char* name) {
      return std::getenv(name) != nullptr;
    };
    World world;
    const bool ranked = is_set("RANK");
    const bool sized = is_set("WORLD_SIZE");
    TORCH_CHECK_VALUE(
        ranked == sized,
        "cyborg::train::World: expected RANK and WORLD_SIZE, got only ",
        ranked ? "RANK" : "WORLD_SIZE");
    if (!sized) {
      return world;
    }
    const int most = std::numeric_limits<int>::max();
    world.size = detail::environment_number("WORLD_SIZE", 1, most, 1);
    world.rank = detail::environment_number("RANK", 0, world.size - 1, 0);
    world.local_rank =
        detail::environment_number("LOCAL_RANK", 0, most, world.rank);
    if (world.size == 1) {
      return world;
    }
    for (const char* name : {"MASTER_ADDR", "MASTER_PORT"}) {
      TORCH_CHECK_VALUE(
          is_set(name), "cyborg::train::World: expected ", name,
          " with WORLD_SIZE ", world.size, ", got none");
    }
    world.address = std::getenv("MASTER_ADDR");
    world.port = detail::environment_number("MASTER_PORT", 1, 65535, 0);
    const char* agent = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
    world.launcher_listens = agent != nullptr && std::string(agent) == "True";
    world.attempt =
        detail::environment_number("TORCHELASTIC_RESTART_COUNT", 0, most, 0);
    return world;
  }
};

}  // namespace cyborg::train
