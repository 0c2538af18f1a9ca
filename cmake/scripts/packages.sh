# SPDX-License-Identifier: BSD-3-Clause
# Finds which packages a command of ./dev needs and this machine lacks, by apt's
# names, and installs them. ./dev reads this file, after messages.sh; $root is
# the checkout.
# shellcheck shell=sh

apt_log=${root:?}/build/log/apt.log

have() { command -v "$1" >/dev/null 2>&1; }

# Installs what the command $1 needs and this machine lacks.
provide_packages() {
  lacking=$(missing_packages "$1")
  if [ -n "$lacking" ]; then
    # shellcheck disable=SC2086
    apt_install $lacking ||
      fail "this needs, by Debian's names: $lacking. Install them and try again."
    lacking=$(missing_packages "$1")
    [ -z "$lacking" ] || fail "still missing after the installation: $lacking"
  fi
  check_cmake
}

# The missing packages, in one line. Each time this looks at the machine itself:
# what an earlier run installed may have been removed since.
missing_packages() {
  # shellcheck disable=SC2046
  set -- $(list_missing "$1")
  echo "$*"
}

list_missing() {
  programs="ninja:ninja-build cmake:cmake"
  # A header, or several of which one is enough, and the package that has it.
  headers='nlohmann/json.hpp:nlohmann-json3-dev CLI/CLI.hpp:libcli11-dev
    fmt/format.h:libfmt-dev stb/stb_image.h:libstb-dev'
  catch='catch2/catch_test_macros.hpp,catch2/catch.hpp:catch2'
  case $1 in
    test) headers="$headers $catch" ;;
    check)
      headers="$headers $catch gloo/algorithm.h:libgloo-dev
        benchmark/benchmark.h:libbenchmark-dev"
      programs="$programs clang++:clang clang-tidy:clang-tidy"
      ;;
    bench) headers="$headers benchmark/benchmark.h:libbenchmark-dev" ;;
    docs) programs="$programs doxygen:doxygen" ;;
  esac
  if compiler_works; then
    missing_headers
  else
    for entry in $headers; do echo "${entry#*:}"; done
    echo g++
  fi
  for entry in $programs; do
    have "${entry%:*}" || echo "${entry#*:}"
  done
}

compiler_works() {
  have c++ && echo 'int main(){}' | c++ -x c++ -fsyntax-only - 2>/dev/null
}

# The packages of those $headers that the compiler does not find. It preprocesses
# a text in which each missing header leaves a line.
missing_headers() {
  for entry in $headers; do
    test=
    for header in $(echo "${entry%:*}" | tr , ' '); do
      test="$test${test:+ || }__has_include(<$header>)"
    done
    printf '#if !(%s)\npackage %s\n#endif\n' "$test" "${entry#*:}"
  done | c++ -std=c++17 -x c++ -E -P - 2>/dev/null |
    sed -n 's/^package //p' | tr -d ' '
}

# Installs the packages "$@". Fails where apt is not there or may not be used.
apt_install() {
  as_root=$(apt_prefix) || return 1
  say "installing with apt:" "$@"
  mkdir -p "$root/build/log"
  if ! {
    $as_root apt-get update &&
      $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends "$@"
  } >"$apt_log" 2>&1; then
    tail -n 20 "$apt_log" >&2
    say "apt could not install $*: see build/log/apt.log"
    return 1
  fi
}

# The word to put before apt-get, so that it runs as root.
apt_prefix() {
  have apt-get || return 1
  if [ "$(id -u)" = 0 ]; then
    echo env
  elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    echo sudo
  else
    return 1
  fi
}

check_cmake() {
  version=$(cmake --version | sed -n '1s/.* //p')
  case $version in
    [012].* | 3.[0-9].* | 3.1[0-9].* | 3.2[0-4].*)
      fail "this needs CMake 3.25 or newer, and $(command -v cmake) is $version"
      ;;
  esac
}
