// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What shows that work was done on several threads.

#include <ATen/record_function.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

namespace support {

/// How many threads run operators of LibTorch while `callable` runs.
template <class Callable>
size_t threads_of(Callable&& callable) {
  // Static: a callback has no state of its own. One call at a time.
  static std::mutex mutex;
  static std::set<std::thread::id> seen;
  seen.clear();
  const auto handle =
      at::addGlobalCallback(at::RecordFunctionCallback(
                                [](const at::RecordFunction& /*function*/)
                                    -> std::unique_ptr<at::ObserverContext> {
                                  const std::lock_guard<std::mutex> lock(mutex);
                                  seen.insert(std::this_thread::get_id());
                                  return nullptr;
                                })
                                .scopes({at::RecordScope::FUNCTION}));
  std::forward<Callable>(callable)();
  at::removeCallback(handle);
  return seen.size();
}

}  // namespace support
