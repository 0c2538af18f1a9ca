#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Puts faults into the library, one at a time, and sees whether a test fails.

The faults are listed in hook.toml, head.toml, ... beside this file; README.md
explains them. The checkout is never changed: faults are put into a copy, which
has a build folder of its own. For each fault the script builds the test files
that the fault names, an executable for each file, and runs them until one
fails.

A run over all faults takes hours. --go-on continues one that was stopped.

The exit status is 0 if at least 95 % of the faults are seen and survivors.toml
explains the others, 1 if not, and 2 if the list of faults has to be repaired or
some tests do not pass without a fault.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True  # nothing is written to the checkout

import faults as fault_list
from bench import KINDS, Bench
from faults import AREAS, ROOT, ListError, title

WANTED = 0.95  # the share of the faults that tests must see


def print_results(faults, results):
    """Prints the table, and returns the exit status."""
    known = fault_list.survivors()
    line = "{:<9}{:>8}{:>8}{:>10}{:>18}{:>11}"
    print("\n" + line.format("area", "faults", *KINDS))
    for area in (*AREAS, "all"):
        some = [f for f in faults if area in (f["area"], "all")]
        status = [results[title(fault)]["status"] for fault in some]
        counts = [status.count(kind) for kind in KINDS]
        if some:
            print(line.format(area, len(some), *counts))
    new = False
    for fault in faults:
        result = results[title(fault)]
        status = result["status"]
        reason = known.get(fault["name"])
        if status == "seen" and reason:
            print(f"seen, to be removed from survivors.toml: {title(fault)}")
        elif status != "seen":
            new = new or status == "survived" and not reason
            reason = reason or result.get("how", "not explained")
            print(f"{status}: {title(fault)}\n    {reason}")
    share = counts[0] / len(faults)
    print(f"{100 * share:.1f} % are seen, {100 * WANTED:.0f} % are wanted")
    return 2 if counts[2] + counts[3] else 1 if new or share < WANTED else 0


def read_options():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--area", choices=AREAS, help="only the faults of this area")
    add("--only", type=int, metavar="N",
        help="only one fault of the area, by its number")
    add("--list", action="store_true", help="print the faults, then end")
    add("--check", action="store_true",
        help="see whether every fault applies to the sources, then end")
    add("--build", type=Path, metavar="DIR",
        help="a build folder of this project, whose LibTorch and compiler are "
        "used; without it, those that CMake finds")
    add("--work", type=Path, metavar="DIR", default=ROOT / "build/mutation",
        help="the folder of the copy and of result.json; default "
        "build/mutation")
    add("--jobs", type=int, metavar="N", default=2,
        help="files that are compiled at once; default 2")
    add("--time-limit", type=int, metavar="SECONDS", default=900,
        help="for one executable; default 900")
    add("--go-on", action="store_true",
        help="keep the results that result.json has for the same sources")
    options = parser.parse_args()
    if options.only and not options.area:
        parser.error("--only needs --area")
    return options


def main():
    options = read_options()
    faults = fault_list.read_faults()
    errors = fault_list.check(faults)
    faults = [
        fault for fault in faults
        if options.area in (None, fault["area"])
        and options.only in (None, fault["number"])
    ]
    if not faults:
        raise ListError(f"{options.area}.toml has no fault {options.only}")
    if options.list:
        for fault in faults:
            tests = " ".join(fault["tests"])
            print(f"{title(fault)}\n    {fault['file']}, tests: {tests}")
    if errors:
        raise ListError("\n".join(errors))
    if options.list or options.check:
        print(f"{len(faults)} faults apply to the sources")
        return 0
    bench = Bench(options)
    results = bench.load("result.json")
    for fault in faults:
        state = bench.digest + json.dumps(fault, sort_keys=True)
        key = hashlib.sha256(state.encode()).hexdigest()
        if options.go_on and results.get(title(fault), {}).get("key") == key:
            continue
        begin = time.monotonic()
        try:
            result = bench.attempt(fault)
        except ListError as error:
            result = {"status": "not tried", "how": str(error)}
        if result["status"] not in ("seen", "survived"):
            key = ""  # --go-on tries it again
        result |= {"key": key, "seconds": round(time.monotonic() - begin)}
        results[title(fault)] = result
        bench.save("result.json", results)
        how = f"{result.get('by', '')} {result.get('how', '')}".strip()
        print(f"{result['status']}: {title(fault)}"
              f" ({how}{', ' if how else ''}{result['seconds']} s)", flush=True)
    return print_results(faults, results)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ListError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
