// SPDX-License-Identifier: BSD-3-Clause
// Runs programs as a user does, and reads the files that they write.
#pragma once

#include <cyborg/train/checkpoint.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace programs_test {

/// Starts a program with additional environment variables. If `errors` is
/// named, its standard error is appended to that file. The caller waits for its
/// end.
inline pid_t start(
    const char* program, const std::vector<std::string>& arguments,
    const std::map<std::string, std::string>& variables = {},
    const std::string& errors = "") {
  const pid_t child = fork();
  if (child == 0) {
    for (const auto& [name, value] : variables) {
      setenv(name.c_str(), value.c_str(), 1);
    }
    if (!errors.empty() && freopen(errors.c_str(), "a", stderr) == nullptr) {
      _exit(126);
    }
    std::vector<char*> words = {const_cast<char*>(program)};
    for (const auto& each : arguments) {
      words.push_back(const_cast<char*>(each.c_str()));
    }
    words.push_back(nullptr);
    execv(words[0], words.data());
    _exit(127);
  }
  return child;
}

/// Its exit status, or 128 + the signal that ended it.
inline int end_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline bool same(
    const cyborg::train::NamedTensors& a,
    const cyborg::train::NamedTensors& b) {
  bool equal = a.size() == b.size();
  for (size_t i = 0; equal && i < a.size(); ++i) {
    equal = a[i].first == b[i].first && at::equal(a[i].second, b[i].second);
  }
  return equal;
}

/// Whether two checkpoints are equal in every tensor and in the position of the
/// training.
inline bool same_checkpoints(const std::string& a, const std::string& b) {
  const auto one = cyborg::train::load_checkpoint(a);
  const auto two = cyborg::train::load_checkpoint(b);
  bool equal = one.tensors.size() == two.tensors.size() &&
               one.texts.at("place") == two.texts.at("place");
  for (const auto& [name, tensors] : one.tensors) {
    equal = equal && same(tensors, two.tensors.at(name));
  }
  return equal;
}

}  // namespace programs_test
