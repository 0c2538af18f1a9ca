#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What guidance costs a training step of ResNet-18, in instructions: exact where
# time is noisy. Counts with perf where the processor's counters may be read,
# else with valgrind; says so where neither works.
#   instructions.sh BENCH_STEP OUT.json
set -eu
program=$1
out=$2

perf_count() {
  perf stat -x, -e instructions:u "$@" 2>&1 >/dev/null |
    sed -n 's/^\([0-9][0-9]*\),.*instructions.*/\1/p'
}
callgrind_count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 \
    >/dev/null | sed -n 's/^.*Collected : \([0-9][0-9]*\).*/\1/p'
}

# valgrind computes each fused multiply-add in software, so it gets one small
# picture. That is the harder case: observing costs the same, the network less.
if [ -n "$(perf_count true 2>/dev/null)" ]; then
  tool="perf stat"
  count=perf_count
  batch=8
  pixels=224
elif [ -n "$(callgrind_count true 2>/dev/null)" ]; then
  tool="valgrind --tool=callgrind"
  count=callgrind_count
  batch=1
  pixels=96
else
  echo "instructions: skipped, neither perf nor valgrind counts here"
  exit 0
fi

# The second step: set-up and what a first step prepares cancel out. Malloc as
# it is: valgrind does not let a heap grow by large steps.
run="--default-malloc --batch $batch --pixels $pixels --once"
step_of() {
  # shellcheck disable=SC2086
  one=$($count "$program" $run "$1" --steps 1)
  # shellcheck disable=SC2086
  two=$($count "$program" $run "$1" --steps 2)
  if [ -z "$one" ] || [ -z "$two" ]; then
    echo "instructions: $tool gave no count for a $1 step" >&2
    exit 1
  fi
  echo $((two - one))
}

echo "instructions: counting with $tool"
plain=$(step_of plain)
hook=$(step_of hook)
ratio=$(awk "BEGIN { printf \"%.5f\", $hook / $plain }")
target=1.02
holds=$(awk "BEGIN { print ($ratio <= $target) ? \"true\" : \"false\" }")
cat >"$out" <<END
{"program": "instructions", "rows": [{
  "name": "hook_step_vs_plain_step_instructions_resnet18",
  "ours": "CYBORG-L2 through a hook", "baseline": "plain step",
  "ours_instructions": $hook, "baseline_instructions": $plain,
  "tool": "$tool", "batch": $batch, "pixels": $pixels, "pairs": 1,
  "ratio_median": $ratio, "ratio_min": $ratio, "ratio_max": $ratio,
  "interval_low": $ratio, "interval_high": $ratio,
  "target": $target, "judged": "ratio_median", "holds": $holds}]}
END
echo "instructions: $hook over $plain in a step, $ratio"
