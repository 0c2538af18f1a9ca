#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What guidance costs in instructions, which are exact where time is noisy: a
# training step of ResNet-18, and the loss alone. Counts with perf where the
# processor's counters may be read, else with valgrind; says so where neither
# works.
#   instructions.sh BENCH_STEP BENCH_LOSS OUT.json
set -eu
step=$1
loss=$2
out=$3

perf_count() {
  perf stat -x, -e instructions:u "$@" 2>&1 >/dev/null |
    sed -n 's/^\([0-9][0-9]*\),.*instructions.*/\1/p'
}
callgrind_count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 \
    >/dev/null | sed -n 's/^.*Collected : \([0-9][0-9]*\).*/\1/p'
}

# valgrind computes each fused multiply-add in software, so it gets one small
# picture. This is the harder case for the target: observing costs the same, and
# the network costs less.
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
count_step() {  # PROGRAM ARGUMENTS...
  one=$($count "$@" --default-malloc --steps 1)
  two=$($count "$@" --default-malloc --steps 2)
  if [ -z "$one" ] || [ -z "$two" ]; then
    echo "instructions: $tool gave no count for $*" >&2
    exit 1
  fi
  echo $((two - one))
}

# row NAME OURS BASELINE OURS_COUNT BASELINE_COUNT TARGET: one claim, a line of
# JSON. Without a target the row is a figure to compare with earlier runs.
row() {
  ratio=$(awk "BEGIN { printf \"%.5f\", $4 / $5 }")
  judged=
  if [ -n "$6" ]; then
    holds=$(awk "BEGIN { print ($ratio <= $6) ? \"true\" : \"false\" }")
    judged="\"target\": $6, \"judged\": \"ratio_median\", \"holds\": $holds,"
  fi
  cat <<END
{
  "name": "$1", "ours": "$2", "baseline": "$3",
  "ours_instructions": $4, "baseline_instructions": $5, $judged
  "tool": "$tool", "pairs": 1,
  "ratio_median": $ratio, "ratio_min": $ratio, "ratio_max": $ratio,
  "interval_low": $ratio, "interval_high": $ratio}
END
  echo "instructions: $1: $4 over $5, $ratio" >&2
}

echo "instructions: counting with $tool"
picture="--batch $batch --pixels $pixels"
# shellcheck disable=SC2086
plain=$(count_step "$step" --once plain $picture)
# shellcheck disable=SC2086
hook=$(count_step "$step" --once hook $picture)
head=$(count_step "$loss" --once plain-head)
rows=$(row hook_step_vs_plain_step_instructions_resnet18 \
  "CYBORG-L2 through a hook" "plain step" "$hook" "$plain" 1.02)
for way in guided-head fused-l1 fused-l2 fused-kl; do
  counted=$(count_step "$loss" --once "$way")
  rows="$rows,
$(row "$(echo "$way" | tr - _)_vs_plain_head_instructions_20x1024x7x7" \
    "$way" "plain head" "$counted" "$head" "")"
done
printf '{"program": "instructions", "rows": [\n%s]}\n' "$rows" >"$out"
