# SPDX-License-Identifier: BSD-3-Clause
"""Reads with TensorBoard what the test of the event files writes.

    python3 tests/read_events.py TEST_EXECUTABLE

Needs the package tensorboard.
"""
import math
import os
import subprocess
import sys
import tempfile

from tensorboard.backend.event_processing import event_accumulator


def check(found, expected):
    if found != expected:
        sys.exit(f"expected {expected!r}, got {found!r}")


with tempfile.TemporaryDirectory() as folder:
    subprocess.run(
        [sys.argv[1], "What a run writes is read back"],
        env={**os.environ, "CYBORG_EVENTS_FOLDER": folder}, check=True)
    # A program that was killed: the last record is cut.
    (name,) = os.listdir(folder)
    with open(os.path.join(folder, "events.out.tfevents.2000.host"),
              "wb") as cut, open(os.path.join(folder, name), "rb") as whole:
        cut.write(whole.read()[:-3])

    for path, maps in ((name, 1), ("events.out.tfevents.2000.host", 0)):
        run = event_accumulator.EventAccumulator(os.path.join(folder, path))
        run.Reload()
        check(run.file_version, 2.0)
        check(sorted(run.Tags()["scalars"]), ["auc", "loss/train"])
        check(sorted(run.Tags()["images"]), ["cam/a", "map"][:1 + maps])
        losses = run.Scalars("loss/train")
        check([e.step for e in losses], [0, 1, 2])
        check([e.wall_time for e in losses], [1001.0, 1001.5, 1002.0])
        check([round(e.value, 6) for e in losses], [1.0, 0.5, 0.333333])
        check(math.isnan(run.Scalars("auc")[0].value), True)
        (picture,) = run.Images("cam/a")
        check((picture.step, picture.height, picture.width), (7, 1, 2))
        check(picture.encoded_image_string[:4], b"\x89PNG")
        if maps:
            check(run.Images("map")[0].step, 1 << 40)
print("TensorBoard reads the event files.")
