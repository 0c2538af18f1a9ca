#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What guidance costs a training step of ResNet-18, in instructions: exact where
# time is noisy. Counts with perf where the processor's counters may be read,
# else with valgrind; says so where neither works.
#   instructions.sh BENCH_STEP OUT.json
set -eu
program=$1
out=$2
batch=2
once="--default-malloc --batch $batch --once"

perf_count() {
  perf stat -x, -e instructions:u "$@" 2>&1 >/dev/null |
    sed -n 's/^\([0-9][0-9]*\),.*instructions.*/\1/p'
}
callgrind_count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 \
    >/dev/null | sed -n 's/^.*Collected : \([0-9][0-9]*\).*/\1/p'
}

if [ -n "$(perf_count true 2>/dev/null)" ]; then
  tool="perf stat"
  count=perf_count
elif [ -n "$(callgrind_count true 2>/dev/null)" ]; then
  tool="valgrind --tool=callgrind"
  count=callgrind_count
else
  echo "instructions: skipped, neither perf nor valgrind counts here"
  exit 0
fi

# The second and third step: set-up and what a first step compiles cancel out.
# Malloc as it is: valgrind moves a heap that only grows by itself.
steps_of() {
  few=$($count "$program" $once "$1" --steps 1)
  more=$($count "$program" $once "$1" --steps 3)
  [ -n "$few" ] && [ -n "$more" ] || {
    echo "instructions: $tool gave no count for a $1 step" >&2
    exit 1
  }
  echo $((more - few))
}

echo "instructions: counting with $tool"
plain=$(steps_of plain)
hook=$(steps_of hook)
ratio=$(awk "BEGIN { printf \"%.5f\", $hook / $plain }")
target=1.02
holds=$(awk "BEGIN { print ($ratio <= $target) ? \"true\" : \"false\" }")
cat >"$out" <<END
{"program": "instructions", "rows": [{
  "name": "hook_step_vs_plain_step_instructions_resnet18",
  "ours": "CYBORG-L2 through a hook", "baseline": "plain step",
  "ours_instructions": $hook, "baseline_instructions": $plain,
  "tool": "$tool", "batch": $batch, "pairs": 1,
  "ratio_median": $ratio, "ratio_min": $ratio, "ratio_max": $ratio,
  "interval_low": $ratio, "interval_high": $ratio,
  "target": $target, "judged": "ratio_median", "holds": $holds}]}
END
echo "instructions: $hook over $plain in two steps, $ratio"
