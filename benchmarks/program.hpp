// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What the benchmark programs share: options, the allocator, threads, output.

#include "claims.hpp"

#include <cyborg/io/file.hpp>

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <malloc.h>

#include <exception>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace claims {

/// How a program was called.
struct Program {
  std::string name;
  bool quick = false;
  bool default_malloc = false;
  std::string out = {};  ///< the file of results; empty: none
};

/// Tells malloc to keep and reuse large buffers. By default glibc maps a new
/// one each time, and the kernel clears it page by page, which would take half
/// of the time of a baseline.
inline void pin_malloc() {
  constexpr int kLargest = std::numeric_limits<int>::max();
  if (mallopt(M_MMAP_THRESHOLD, 1 << 30) != 1 ||
      mallopt(M_TRIM_THRESHOLD, kLargest) != 1) {
    throw std::runtime_error(
        "mallopt: this C library cannot keep large buffers");
  }
}

/// Sets the number of LibTorch's threads until it is destroyed.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) {
    at::set_num_threads(count);
  }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

/// Adds the options of one program to the common ones.
using AddFlags = std::function<void(CLI::App&)>;
/// Measures, and returns what is written to the file: {"rows": [...], ...}.
using Measure = std::function<nlohmann::json(const Program&)>;

/// The `main` of a program. It uses one thread, and malloc keeps large buffers
/// unless --default-malloc is given. If the two sides of a claim compute
/// different results, it prints an error and returns 1.
inline int run_program(
    int argc, char** argv, const std::string& name, const Measure& measure,
    const AddFlags& add_flags = {}) {
  Program program{name};
  try {
    benchmark::Initialize(&argc, argv);  // takes its own flags out
    CLI::App app("cyborg's benchmarks: " + name);
    app.add_flag("--quick", program.quick, "fewer pairs, fewer shapes");
    app.add_flag(
        "--default-malloc", program.default_malloc,
        "leave malloc as it is, instead of reusing large buffers");
    app.add_option("--out", program.out, "JSON file for the results");
    if (add_flags) {
      add_flags(app);
    }
    CLI11_PARSE(app, argc, argv);
    if (!program.default_malloc) {
      pin_malloc();
    }
    at::set_num_threads(1);
    nlohmann::json result = measure(program);
    result["program"] = name;
    result["quick"] = program.quick;
    result["malloc"] = program.default_malloc ? "default" : "pinned";
    if (!program.out.empty()) {
      cyborg::io::write_file(
          program.out, result.dump(2) + "\n", "cyborg's benchmarks");
    }
  } catch (const c10::Error& error) {
    fmt::print(stderr, "bench_{}: {}\n", name, error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_{}: {}\n", name, error.what());
    return 1;
  }
  return 0;
}

}  // namespace claims
