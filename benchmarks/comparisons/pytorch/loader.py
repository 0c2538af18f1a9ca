#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares loading pictures in Python with ours on the same files.

The published way: PIL opens, converts and resizes, torchvision's ToTensor and
Normalize, a DataLoader with or without workers; the human map likewise. With
--ours, bench_loader runs in turns with it, round by round. It makes the files.
"""

import argparse
import glob
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time

import PIL
import torch
import torchvision
from PIL import Image
from torchvision import transforms

SIDE, BATCH = 224, 8
KINDS = ("jpg", "png")
# The workers of Python's loader, and our claim with the same number of threads.
WORKERS = (0, 2)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder, kind, times):
        self.paths = sorted(glob.glob(f"{folder}/{kind}/*.{kind}")) * times
        self.maps = sorted(glob.glob(f"{folder}/maps/*.png")) * times
        self.picture = transforms.Compose(
            [
                transforms.Resize((SIDE, SIDE)),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )
        self.map = transforms.Compose(
            [transforms.Resize((SIDE, SIDE)), transforms.ToTensor()]
        )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        picture = self.picture(Image.open(self.paths[i]).convert("RGB"))
        human = self.map(Image.open(self.maps[i]).convert("L"))[0]
        return picture, i % 2, human


def loader(folder, kind, workers, times):
    return torch.utils.data.DataLoader(
        Pictures(folder, kind, times),
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def seconds_a_picture(batches):
    start = time.perf_counter()
    count = sum(len(pictures) for pictures, _, _ in batches)
    return (time.perf_counter() - start) / count


def ours(program, folder, kind, workers):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run(
            [program, "--quick", "--default-malloc", "--files", folder, "--out", file.name]
            + [f"--benchmark_filter=loader_{kind}_workers{workers}"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        row = json.load(open(file.name))["rows"][0]
    return row["ours_ms"] / 1e3, row["baseline_ms"] / 1e3


def summary(values):
    rates = sorted(1 / value for value in values)
    return {
        "median": statistics.median(rates),
        "min": rates[0],
        "max": rates[-1],
        "rounds": values,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--files",
        default=os.path.join(tempfile.gettempdir(), "cyborg-bench-loader"),
        help="folder of bench_loader (its default)",
    )
    parser.add_argument("--ours", required=True, help="bench_loader")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--times", type=int, default=4, help="epochs of the files a round")
    parser.add_argument("--json", help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.files

    results = []
    load_before = os.getloadavg()
    for kind in KINDS:
        for workers in WORKERS:
            mine, step, theirs = [], [], []
            batches = None
            for i in range(arguments.rounds + 1):  # the first to warm up
                took = ours(arguments.ours, folder, kind, workers)
                batches = batches or loader(folder, kind, workers, arguments.times)
                python = seconds_a_picture(batches)
                if i > 0:
                    mine.append(took[0])
                    step.append(took[1])
                    theirs.append(python)
            del batches
            results.append(
                {
                    "kind": kind,
                    "workers": workers,
                    "ours": summary(mine),
                    "python": summary(theirs),
                    "step": summary(step),
                    "ratio": summary([m / t for m, t in zip(mine, theirs)]),
                }
            )

    machine = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
        "cores": os.cpu_count(),
        "load_before": load_before,
        "load_after": os.getloadavg(),
        "rounds": arguments.rounds,
    }
    print("  ".join(f"{key}: {value}" for key, value in machine.items()))
    print(
        "{:<5} {:>7} {:>24} {:>24} {:>18} {:>10}".format(
            "kind", "workers", "ours, images/s", "Python, images/s", "ours / Python", "step"
        )
    )
    for r in results:
        cell = "{median:.0f} ({min:.0f} - {max:.0f})".format
        print(
            "{:<5} {:>7} {:>24} {:>24} {:>18} {:>10.1f}".format(
                r["kind"],
                r["workers"],
                cell(**r["ours"]),
                cell(**r["python"]),
                "{median:.2f} ({min:.2f} - {max:.2f})".format(**r["ratio"]),
                r["step"]["median"],
            )
        )
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"machine": machine, "results": results}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
