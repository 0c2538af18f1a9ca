#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares the guided loss in PyTorch eager with ours on the same shapes.

It times these ways, forward and backward, on one thread: the plain head (pooling,
linear layer, cross entropy); the plain head with the published loop over the
samples; the plain head with batched operators; and both saliency terms alone. With
--ours the C++ program runs immediately before and after, and the table has its times.
"""

import argparse
import ctypes
import json
import platform
import statistics
import subprocess
import tempfile
import time
import warnings

warnings.filterwarnings("ignore", message=".*NumPy")  # not needed here

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

SHAPES = [
    (20, 1024, 7, 7),
    (32, 2048, 7, 7),
    (128, 2048, 7, 7),
    (16, 256, 28, 28),
    (8, 512, 7, 7),
]
# For each way, the claim of ours that computes the same.
OURS = {
    "head_and_loop": "guided_head_vs_loop",
    "head_and_batched": "guided_head_vs_loop",
    "plain_head": "guided_head_vs_plain_head",
    "loop": "fused_loss_vs_loop",
    "batched": "fused_loss_vs_batched",
}


def pin_malloc():
    """Lets glibc reuse large buffers, as our programs do."""
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    libc = ctypes.CDLL(None)
    if libc.mallopt(mmap, 1 << 30) != 1 or libc.mallopt(trim, 2**31 - 1) != 1:
        raise SystemExit("this C library does not let malloc be pinned")


class Case:
    """Features, a head that reads them, and people's maps in [0, 1]."""

    def __init__(self, b, c, h, w):
        torch.manual_seed(1)
        self.features = torch.relu(torch.randn(b, c, h, w)).requires_grad_()
        self.head = torch.nn.Linear(c, 2)
        self.labels = torch.randint(0, 2, (b,))
        maps = torch.rand(b, h, w)
        maps -= maps.amin((1, 2), keepdim=True)
        self.maps = maps / maps.amax((1, 2), keepdim=True)

    def leaves(self):
        return [self.features, self.head.weight, self.head.bias]

    def pooled_mean(self):
        return self.features.mean((2, 3))

    def pooled_adaptive(self):
        return F.adaptive_avg_pool2d(self.features, 1).flatten(1)

    def plain_head(self, pool):
        return F.cross_entropy(self.head(pool(self)), self.labels)

    def loop(self):
        """Sample by sample; the class is the label's."""
        cams = []
        for features, label in zip(self.features, self.labels.tolist()):
            c, h, w = features.shape
            cam = torch.matmul(
                self.head.weight[label], features.reshape(c, h * w)
            ).reshape(h, w)
            cam = cam - cam.min()
            cams.append(cam / cam.max())
        return F.mse_loss(torch.stack(cams), self.maps)

    def batched(self):
        weight = self.head.weight.index_select(0, self.labels)
        cam = torch.bmm(weight.unsqueeze(1), self.features.flatten(2)).squeeze(1)
        low, high = cam.amin(1, keepdim=True), cam.amax(1, keepdim=True)
        return F.mse_loss((cam - low) / (high - low), self.maps.flatten(1))


def step(case, loss):
    """Value and gradients. Afterwards the leaves have no gradients."""
    value = loss(case)
    value.backward()
    gradients = [leaf.grad for leaf in case.leaves()]
    for leaf in case.leaves():
        leaf.grad = None
    return [value.detach()] + gradients


def ways(pool):
    return {
        "plain_head": lambda c: c.plain_head(pool),
        "head_and_loop": lambda c: 0.5 * c.plain_head(pool) + 0.5 * c.loop(),
        "head_and_batched": lambda c: 0.5 * c.plain_head(pool) + 0.5 * c.batched(),
        "loop": Case.loop,
        "batched": Case.batched,
    }


def seconds(case, loss):
    start = time.perf_counter()
    step(case, loss)
    return time.perf_counter() - start


def faster_pool(case):
    pools = [Case.pooled_mean, Case.pooled_adaptive]
    times = {pool: [] for pool in pools}
    for _ in range(15):
        for pool in pools:
            times[pool].append(seconds(case, lambda c: c.plain_head(pool)))
    return min(pools, key=lambda pool: statistics.median(times[pool]))


def check(case):
    for one, other in zip(step(case, Case.loop), step(case, Case.batched)):
        if one is not None and not torch.allclose(
            one, other, rtol=0, atol=1e-4 * other.abs().max().item()
        ):
            raise SystemExit("the loop and the batched operators differ")


def measure(shape, rounds):
    case = Case(*shape)
    check(case)
    pool = faster_pool(case)
    all_ways = ways(pool)
    times = {name: [] for name in all_ways}
    for i in range(rounds + 3):  # three to warm up
        names = list(all_ways)
        for name in names if i % 2 else reversed(names):  # in turns
            took = seconds(case, all_ways[name])
            if i >= 3:
                times[name].append(1e3 * took)
    return {
        "shape": "x".join(map(str, shape)),
        "pool": pool.__name__,
        "ways": {
            name: {
                "median_ms": statistics.median(values),
                "min_ms": min(values),
                "max_ms": max(values),
            }
            for name, values in times.items()
        },
    }


def ours(program, arguments):
    """The times of our rows, in ms, by name."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run(
            [program, "--quick", "--out", file.name]
            + ["--benchmark_filter=guided_head_vs|fused_loss_vs"]
            + (["--default-malloc"] if arguments.default_malloc else []),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        rows = json.load(open(file.name))["rows"]
    return {row["name"]: row["ours_ms"] for row in rows}


def processor():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--ours", help="path of bench_loss, which is then timed, too")
    parser.add_argument("--default-malloc", action="store_true")
    arguments = parser.parse_args()
    if not arguments.default_malloc:
        pin_malloc()
    torch.set_num_threads(1)

    before = ours(arguments.ours, arguments) if arguments.ours else {}
    results = [measure(shape, arguments.rounds) for shape in SHAPES]
    after = ours(arguments.ours, arguments) if arguments.ours else {}

    machine = {
        "cpu": processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": 1,
        "malloc": "default" if arguments.default_malloc else "pinned",
        "rounds": arguments.rounds,
    }
    print("  ".join(f"{key}: {value}" for key, value in machine.items()))
    head = ["shape", "way", "median", "min", "max", "ours", "ours / Python"]
    print("{:<14} {:<17} {:>9} {:>9} {:>9} {:>17} {:>14}".format(*head))
    for result in results:
        for name, t in result["ways"].items():
            row = f"{OURS[name]}_{result['shape']}"
            mine = sorted(run[row] for run in (before, after) if row in run)
            said = ratio = ""
            if mine:
                t["ours_ms"] = mine
                t["ratio"] = statistics.mean(mine) / t["median_ms"]
                said = f"{mine[0]:.3f} - {mine[-1]:.3f}"
                ratio = f"{t['ratio']:.3f}"
            print(
                f"{result['shape']:<14} {name:<17} {t['median_ms']:9.3f} "
                f"{t['min_ms']:9.3f} {t['max_ms']:9.3f} {said:>17} {ratio:>14}"
            )
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"machine": machine, "results": results}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
