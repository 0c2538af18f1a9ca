// SPDX-License-Identifier: BSD-3-Clause
// Files are read and written as a whole, or not at all.

#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <cyborg/io/file.hpp>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/stat.h>

namespace fs = std::filesystem;
using cyborg::io::read_file;
using cyborg::io::write_file;
using pictures::Folder;
using support::error_of;

TEST_CASE("A file is read back as it was written", "[io]") {
  const Folder folder;
  std::string bytes("\0\r\n\xFF a\n", 7);
  const auto path = folder / "a.bin";
  write_file(path, bytes);
  CHECK(read_file(path) == bytes);
  CHECK(folder.entries() == 1);
  write_file(path, "shorter");  // replaces the one before
  CHECK(read_file(path) == "shorter");
  write_file(path, "");
  CHECK(fs::file_size(path) == 0);
  CHECK(folder.entries() == 1);
  // Others may read it as far as the user's mask allows.
  const auto mask = ::umask(027);
  write_file(folder / "b", "x");
  ::umask(mask);
  CHECK(
      fs::status(folder / "b").permissions() ==
      (fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read));
}

TEST_CASE(
    "An error names what cannot be read, with the reason", "[io][error]") {
  const Folder folder;
  const auto reason = [](const std::string& path) {
    const auto error = error_of([&] { read_file(path, 4); });
    const auto start = "cyborg::io::read_file: " + path + ": ";
    return error.substr(0, start.size()) == start ? error.substr(start.size())
                                                  : error;
  };
  CHECK(reason(folder / "none") == "no such file");
  CHECK(reason(folder.write("file", "1234") + "/below") == "no such file");
  CHECK(reason(folder.path().string()) == "is a directory, expected a file");
  CHECK(reason("/dev/null") == "is not a regular file");
  CHECK(reason(folder.write("empty", "")) == "is empty (0 bytes)");
  CHECK(reason(folder / "file") == "");  // exactly as large as allowed
  CHECK(
      reason(folder.write("large", "12345")) ==
      "is too large: 5 bytes, the limit is 4");
  fs::create_symlink("circle", folder / "circle");
  CHECK(reason(folder / "circle") == "Too many levels of symbolic links");
  // A caller can give its own name.
  CHECK(error_of([&] {
          read_file(folder / "none", 4, "mine");
        }) == "mine: " + folder / "none" + ": no such file");
}

TEST_CASE("If a file cannot be written, the old one stays", "[io][error]") {
  const Folder folder;
  const auto path = folder.write("a", "old");

  SECTION("a full disk (the system lets files grow to ten bytes)") {
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
    auto small = limit;
    small.rlim_cur = 10;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    const auto error =
        error_of([&] { write_file(path, std::string(20, 'x'), "mine"); });
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    std::signal(SIGXFSZ, handler);
    CHECK(error == "mine: " + path + ": cannot be written: File too large");
  }
  SECTION("a folder that does not exist") {
    const auto lost = folder / "none/a";
    CHECK(
        error_of([&] { write_file(lost, "x"); }) ==
        "cyborg::io::write_file: " + lost +
            ": cannot be written: No such file or directory");
  }
  SECTION("a folder of that name") {
    folder.write("b/c", "x");
    CHECK(
        error_of([&] { write_file(folder / "b", "x"); }) ==
        "cyborg::io::write_file: " + folder / "b" +
            ": cannot be replaced: Is a directory");
    fs::remove_all(folder.path() / "b");
  }
  CHECK(read_file(path) == "old");
  CHECK(folder.entries() == 1);  // and no temporary file
}

TEST_CASE("A reader finds the old or the new file, and never a part", "[io]") {
  const Folder folder;
  const auto path = folder / "a";
  const size_t size = 100000;
  write_file(path, std::string(size, 'a'));
  std::atomic<bool> done{false};
  std::vector<std::thread> writers;
  for (const char letter : {'b', 'c', 'd'}) {
    writers.emplace_back([&, letter] {
      for (int i = 0; i < 20; ++i) {
        write_file(path, std::string(size, letter));
      }
    });
  }
  size_t reads = 0;
  size_t parts = 0;
  std::thread reader([&] {
    while (!done) {
      const auto bytes = read_file(path);
      parts += bytes == std::string(size, bytes[0]) ? 0 : 1;
      ++reads;
    }
  });
  for (auto& writer : writers) {
    writer.join();
  }
  done = true;
  reader.join();
  CHECK(reads > 0);
  CHECK(parts == 0);
  CHECK(read_file(path).size() == size);
  CHECK(folder.entries() == 1);
}
