#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs a program as N processes ("ranks") that work together, in the folder
# where it is called: ranks.sh N PROGRAM [ARGUMENT...]
#
# Each process finds in its environment which one it is, as with torchrun. When
# one process fails, all are ended, and its status is the status of this script.
# Status 75 says that a process was stopped and can be resumed: the others are
# left to stop by themselves. After a signal all are asked to end, with time to
# save.
set -eu
# shellcheck source=cmake/scripts/messages.sh
. "$(dirname "$0")/messages.sh"

size=${1:-}
case $size in
  '' | 0* | *[!0-9]*) fail "ranks needs a number of processes, from 1" ;;
esac
shift
[ $# -gt 0 ] || fail "ranks needs a program: ./dev ranks $size PROGRAM..."

export WORLD_SIZE="$size" MASTER_ADDR="${MASTER_ADDR:-127.0.0.1}"
export MASTER_PORT="${MASTER_PORT:-$((20000 + $$ % 12000))}"
threads=$(($(nproc 2>/dev/null || echo "$size") / size))
[ "$threads" -gt 0 ] || threads=1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$threads}"

# A shell cannot wait for the first of several processes that ends. So each
# process has a shell of its own, which waits for it and writes to a pipe, and
# this shell reads the pipe. The messages are lines of three words:
#   begins RANK PID      ends RANK STATUS      signal - STATUS
# The pipe is file descriptor 3. It needs a name only until it is open.
folder=$(mktemp -d)
mkfifo "$folder/messages"
exec 3<>"$folder/messages"
rm -r "$folder"
trap 'echo "signal - 130" >&3' INT
trap 'echo "signal - 143" >&3' TERM
trap 'echo "signal - 129" >&3' HUP
trap 'echo "signal - 138" >&3' USR1

# Runs "$@" as the process $1, waits until it ends, and reports both.
run_rank() {
  # Ctrl-C reaches this shell too. It must live on, to report the status.
  trap : INT TERM HUP USR1
  export RANK="$1" LOCAL_RANK="$1"
  shift
  "$@" 3>&- &
  pid=$!
  echo "begins $RANK $pid" >&3
  status=0
  wait "$pid" || status=$?
  # A signal ends `wait` early. Then the process is still there.
  while kill -0 "$pid" 2>/dev/null; do
    status=0
    wait "$pid" || status=$?
  done
  echo "ends $RANK $status" >&3
}

# Asks all processes to end, and kills those that have not ended after $1
# seconds.
end_all() {
  seconds=$1
  # shellcheck disable=SC2086
  kill $pids 2>/dev/null || true
  # shellcheck disable=SC2086
  (
    trap - INT TERM HUP USR1
    sleep "$seconds"
    kill -KILL $pids
  ) </dev/null >/dev/null 2>&1 3>&- &
  killer=$!
}

rank=0
while [ "$rank" -lt "$size" ]; do
  run_rank "$rank" "$@" &
  rank=$((rank + 1))
done

pids=
begun=0
ended=0
failed=0
stopped=
error=
grace=10
killer=
while [ "$ended" -lt "$size" ]; do
  read -r what rank number <&3 || continue  # a signal ends `read` early
  case $what in
    begins)
      pids="$pids $number"
      begun=$((begun + 1))
      ;;
    ends)
      ended=$((ended + 1))
      if [ "$number" = 75 ]; then
        stopped=75
      elif [ "$number" != 0 ] && [ "$failed" = 0 ]; then
        failed=$number
        error=$number
        say "rank $rank of $size ended with status $number: ending all" >&2
      fi
      ;;
    signal)
      failed=$number
      grace=60
      ;;
  esac
  # Only when all have begun is it known which processes to end.
  if [ "$failed" != 0 ] && [ "$begun" = "$size" ] && [ -z "$killer" ]; then
    end_all "$grace"
  fi
done
# With TERM, a shell that has just begun could miss it and later kill processes
# that now have the same numbers.
[ -z "$killer" ] || kill -KILL "$killer" 2>/dev/null || true
exit "${error:-${stopped:-$failed}}"
