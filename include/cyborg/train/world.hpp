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

/// The whole number in an environment variable, or `otherwise` where it is not
/// set.
inline int environment_number(
    const char* name, int lowest, int highest, int otherwise) {
  const char* set = std::getenv(name);
  if (set == nullptr) {
    return otherwise;
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

/// Which of how many processes this one is, and where they meet.
struct World {
  int rank = 0;                       ///< this process, from 0
  int size = 1;                       ///< how many processes there are
  int local_rank = 0;                 ///< this process on its machine: its GPU
  std::string address = "127.0.0.1";  ///< the machine where they meet
  int port = 29500;                   ///< and its port
  /// Whether the launcher listens there (torchrun does); else rank 0 does.
  bool launcher_listens = false;
  int attempt = 0;  ///< how often the launcher has started all anew

  /// What `torchrun` or `./dev ranks` says: RANK, WORLD_SIZE, LOCAL_RANK,
  /// MASTER_ADDR and MASTER_PORT. Without RANK and WORLD_SIZE, one process
  /// alone. LOCAL_RANK is RANK where it is not set.
  /// Throws: `c10::ValueError` for RANK without WORLD_SIZE or the reverse, for
  /// what is not a number or out of range, and for several processes without
  /// MASTER_ADDR and MASTER_PORT.
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
