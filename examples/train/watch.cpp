// SPDX-License-Identifier: BSD-3-Clause
#include "watch.hpp"

#include <fmt/format.h>

#include <csignal>
#include <stdexcept>

namespace programs {

namespace {

volatile std::sig_atomic_t stop_wanted = 0;  // a handler may write nothing else

}  // namespace

void catch_stop_signals() {
  const auto stop = [](int signal) {
    stop_wanted = 1;
    // Schedulers may send the others several times, and the training must not
    // end while it saves.
    if (signal == SIGINT) {
      std::signal(signal, SIG_DFL);
    }
  };
  stop_wanted = 0;
#if !defined(_WIN32)
  // A limit of the file's size and a closed pipe must be errors of the write.
  // By default these signals end the program without an explanation.
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
#endif
  for (const int signal : {
           SIGINT,
           SIGTERM,
#if !defined(_WIN32)
           SIGHUP,
           SIGUSR1,
#endif
       }) {
    if (std::signal(signal, stop) == SIG_IGN) {
      std::signal(signal, SIG_IGN);
    }
  }
}

bool stop_signalled() {
  return stop_wanted != 0;
}

void throw_not_finite(
    int64_t epoch, int64_t batch, const std::vector<std::string>& pictures) {
  std::string names;
  for (const auto& picture : pictures) {
    names += "\n  " + picture;
  }
  throw std::runtime_error(fmt::format(
      "the loss is not finite in epoch {}, batch {}: a smaller --lr or --clip "
      "may help. The last checkpoint is kept. The pictures of the batch:{}",
      epoch, batch, names));
}

void throw_weights_not_finite(
    int64_t step, const std::vector<std::string>& names) {
  throw std::runtime_error(fmt::format(
      "the weights are not finite after step {}{}: a smaller --lr or --clip "
      "may help. They are not saved, and the last checkpoint is kept",
      step,
      names.empty()
          ? std::string(" in another process")
          : fmt::format(
                " ({}{})", names.front(),
                names.size() == 1
                    ? ""
                    : fmt::format(" and {} more", names.size() - 1))));
}

void check_no_batch_skipped(int64_t processes, int64_t expected, int64_t read) {
  if (processes > 1 && read != expected) {
    throw std::runtime_error(fmt::format(
        "no picture of batch {} can be read. Several processes need one "
        "picture each that can; --check lists the others",
        expected + 1));
  }
}

}  // namespace programs
