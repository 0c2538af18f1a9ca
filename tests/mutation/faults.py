# SPDX-License-Identifier: BSD-3-Clause
"""The list of faults: how it is read, matched with the sources, and checked."""

import re
import sys
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("tests/mutation needs Python 3.11 or newer, for tomllib")
import tomllib

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
AREAS = ("hook", "head", "loss", "terms", "kernels", "data", "train")
KEYS = {"name", "file", "before", "after", "tests"}


class ListError(Exception):
    """Something that has to be repaired before faults can be tried."""


def read(name):
    with open(HERE / f"{name}.toml", "rb") as file:
        return tomllib.load(file)


def read_faults():
    """All faults, each with its area and its number in the area."""
    faults = []
    for area in AREAS:
        for number, fault in enumerate(read(area)["fault"], 1):
            if set(fault) != KEYS:
                raise ListError(
                    f"{area}.toml, fault {number}: expected the keys "
                    f"{sorted(KEYS)}, got {sorted(fault)}"
                )
            faults.append(fault | {"area": area, "number": number})
    return faults


def survivors():
    """The faults that are known to survive, and why that is accepted."""
    listed = read("survivors").get("survivor", [])
    return {one["name"]: one["reason"] for one in listed}


def title(fault):
    return f"{fault['area']} {fault['number']}: {fault['name']}"


def pattern(text):
    """Finds `text`, whatever the white space between its tokens.

    A token is a word or one other character, so names match as a whole.
    """
    out, last_is_word = "", False
    for token in re.findall(r"\w+|[^\w\s]", text):
        is_word = re.match(r"\w", token) is not None
        between = r"\s+" if is_word and last_is_word else r"\s*"
        edge = r"\b" if is_word else ""
        out += (between if out else "") + edge + re.escape(token) + edge
        last_is_word = is_word
    return re.compile(out)


def faulty_text(fault, root):
    """The text of the fault's file below `root`, with the fault in it."""
    wanted = pattern(fault["before"])
    file = root / fault["file"]
    text = file.read_text() if file.is_file() else ""
    found = list(wanted.finditer(text))
    if len(found) == 1:
        begin, end = found[0].span()
        return text[:begin] + fault["after"] + text[end:]
    elsewhere = [
        str(path.relative_to(root))
        for folder in ("include", "examples")
        for path in sorted((root / folder).rglob("*.[ch]pp"))
        if path != file and wanted.search(path.read_text())
    ]
    raise ListError(
        f"{title(fault)}\n  `before` matches {len(found)} times in "
        f"{fault['file']}, expected once"
        + (f"; it matches in {', '.join(elsewhere)}" if elsewhere else "")
    )


def check(faults):
    """What is wrong with the list, found without a compiler."""
    errors = []
    lists = (ROOT / "tests/CMakeLists.txt").read_text()
    areas = set(re.findall(r"cyborg_add_test\(\s*(\w+)", lists))
    names = [fault["name"] for fault in faults]
    for fault in faults:
        try:
            if pattern(fault["before"]).fullmatch(fault["after"].strip()):
                raise ListError(f"{title(fault)}\n  `after` equals `before`")
            faulty_text(fault, ROOT)
        except ListError as error:
            errors.append(str(error))
        for test in fault["tests"]:
            area, _, stem = test.partition("/")
            if area not in areas or (stem and f"{stem}.cpp" not in lists):
                errors.append(
                    f"{title(fault)}\n  tests/CMakeLists.txt has no {test}"
                )
    for name in sorted(set(names)):
        if names.count(name) > 1:
            errors.append(f"two faults are named: {name}")
    for name in survivors():
        if name not in names:
            errors.append(f"survivors.toml names no fault: {name}")
    for area in AREAS:
        if sum(fault["area"] == area for fault in faults) < 10:
            errors.append(f"{area}.toml: expected ten faults or more")
    return errors
