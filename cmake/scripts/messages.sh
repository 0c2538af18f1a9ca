# SPDX-License-Identifier: BSD-3-Clause
# How ./dev and its scripts speak to the user. The other scripts read this file.
# shellcheck shell=sh

say() { printf 'cyborg: %s\n' "$*"; }

fail() {
  say "$@" >&2
  exit 1
}
