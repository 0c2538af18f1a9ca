#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Checks that every C++ file has the layout of .clang-format, or writes it:
#   cmake/scripts/format.sh [--fix]
# Versions of clang-format differ in what they write, so one is named here. It is
# taken from the machine where that has it, else from pip, into build/format.
set -eu
version=18.1.8
cd "$(dirname "$0")/../.."
# shellcheck source=cmake/scripts/messages.sh
. cmake/scripts/messages.sh

home=$PWD/build/format

has_version() { "$1" --version 2>/dev/null | grep -q "version $version"; }

find_formatter() {
  for formatter in clang-format clang-format-18 "$home/bin/clang-format"; do
    if has_version "$formatter"; then
      return
    fi
  done
  mkdir -p build/log
  say "getting clang-format $version, into build/format"
  rm -rf "$home"
  { python3 -m venv "$home" && "$home/bin/python" -m pip install --no-input \
    --only-binary=:all: --disable-pip-version-check \
    "clang-format==$version"; } >build/log/format.log 2>&1 || true
  has_version "$formatter" ||
    fail "this needs clang-format $version: see build/log/format.log"
}

case ${1:-} in
  '') options='--dry-run --Werror --ferror-limit=1' ;;
  --fix) options=-i ;;
  *) fail "expected nothing or --fix, got $1" ;;
esac
find_formatter
# shellcheck disable=SC2086
find include examples tests benchmarks -name '*.[hc]pp' -exec \
  "$formatter" $options {} + ||
  fail "the layout of these files differs: cmake/scripts/format.sh --fix writes it"
