#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What guidance costs in instructions, which are exact where time is noisy: a
# training step of ResNet-18, the loss alone, and each term. Counts with perf
# where the processor's counters may be read, else with Frida, else with
# valgrind; says so where none of them works. CYBORG_PYTHON is a Python that has
# Frida (default: python3).
#   instructions.sh BENCH_STEP BENCH_LOSS BENCH_TERMS OUT.json
set -eu
step=$1
loss=$2
terms=$3
out=$4
python=${CYBORG_PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)

perf_count() {
  perf stat -x, -e instructions:u "$@" 2>&1 >/dev/null |
    sed -n 's/^\([0-9][0-9]*\),.*instructions.*/\1/p'
}
frida_count() {
  OMP_NUM_THREADS=1 "$python" "$here/count_instructions.py" "$@"
}
callgrind_count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 \
    >/dev/null | sed -n 's/^.*Collected : \([0-9][0-9]*\).*/\1/p'
}

# Frida and valgrind are slow (valgrind computes each fused multiply-add in
# software), so they get one small picture. This is the harder case for the
# target: observing costs the same, and the network costs less.
if [ -n "$(perf_count true 2>/dev/null)" ]; then
  tool="perf stat"
  count=perf_count
  batch=8
  pixels=224
elif [ -n "$(frida_count "$terms" --names 2>/dev/null)" ]; then
  tool="Frida"
  count=frida_count
  batch=1
  pixels=96
elif [ -n "$(callgrind_count true 2>/dev/null)" ]; then
  tool="valgrind --tool=callgrind"
  count=callgrind_count
  batch=1
  pixels=96
else
  echo "instructions: skipped, neither perf nor Frida nor valgrind counts here"
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

# Each term: equal to the formula by hand, then counted beside it and beside a
# step with CE alone, on pictures of 96 x 96.
"$terms" >&2
plain=$(count_step "$terms" --once plain --batch "$batch")
for term in $("$terms" --names); do
  name=$(echo "$term" | tr - _)
  ours=$(count_step "$terms" --once "$term" --batch "$batch")
  hand=$(count_step "$terms" --once "$term" --by-hand --batch "$batch")
  limit=
  case $term in  # distances between maps
    l1 | l2 | kl | cosine | pearson | dice | bce | ssim | energy | outside | \
      gradia | haics | res-g)
      limit=1.03 ;;
  esac
  rows="$rows,
$(row "term_${name}_vs_by_hand_instructions" \
    "$term" "by hand" "$ours" "$hand" 1.03),
$(row "term_${name}_vs_plain_step_instructions" \
    "$term" "plain step" "$ours" "$plain" "$limit")"
done
printf '{"program": "instructions", "rows": [\n%s]}\n' "$rows" >"$out"
