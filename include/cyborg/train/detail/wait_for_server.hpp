// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#if !defined(_WIN32)
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

namespace cyborg::train::detail {

#if !defined(_WIN32)

/// Whether a server accepts a connection at one of the addresses, within some
/// milliseconds.
inline bool accepts(const addrinfo* addresses, int milliseconds) {
  for (const auto* each = addresses; each != nullptr; each = each->ai_next) {
    const int file =
        ::socket(each->ai_family, each->ai_socktype, each->ai_protocol);
    if (file < 0) {
      continue;
    }
    // Does not block, since a computer that is off gives no answer at all.
    ::fcntl(file, F_SETFL, ::fcntl(file, F_GETFL, 0) | O_NONBLOCK);
    bool connected = ::connect(file, each->ai_addr, each->ai_addrlen) == 0;
    pollfd wanted{file, POLLOUT, 0};
    if (!connected && ::poll(&wanted, 1, milliseconds) > 0) {
      int error = 1;
      socklen_t size = sizeof error;
      ::getsockopt(file, SOL_SOCKET, SO_ERROR, &error, &size);
      connected = error == 0;
    }
    ::close(file);
    if (connected) {
      return true;
    }
  }
  return false;
}

/// Waits until a server listens at `host`:`port`. (c10d's own attempts take up
/// to three times their timeout when nobody listens.)
/// Throws: `std::runtime_error` when there is none within `timeout`.
inline void wait_for_server(
    const std::string& host, int64_t port, std::chrono::milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  std::string reason;
  do {
    addrinfo* found = nullptr;
    const int error = ::getaddrinfo(
        host.c_str(), std::to_string(port).c_str(), &hints, &found);
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(
        found, &::freeaddrinfo);
    if (error == 0 && accepts(addresses.get(), /*milliseconds=*/1000)) {
      return;
    }
    reason = error == 0 ? "nobody listens there: the first process has ended, "
                          "or has not begun"
                        : ::gai_strerror(error);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  } while (std::chrono::steady_clock::now() < end);
  throw std::runtime_error(reason);
}

#else

inline void wait_for_server(
    const std::string& /*host*/, int64_t /*port*/,
    std::chrono::milliseconds /*timeout*/) {}

#endif

}  // namespace cyborg::train::detail
