# SPDX-License-Identifier: BSD-3-Clause
"""What guidance costs in a training step of Python.

    python step.py [--model resnet18] [--side 64] [--batch 20] [--pairs 60] [--device cpu] [--steps 1]

Four ways take turns in one process, in another order each time, on one network:

`ours` has a copy of the network with one hook, as in training. On a GPU the clock is read
when all work of the device is done, after --steps steps in a row: with 1 the device waits
for the processor in each step, with 10 the processor may run ahead, as in a training loop
that does not read the loss each time.

* plain: forward, cross entropy, backward, step of the optimizer;
* again: the same, an A/A control, whose ratio to plain shows the noise;
* ours: with torchcyborg's hook and CyborgL2Loss;
* published: with the published loss (examples/python/published.py), whose second run of
  the convolutions and loop over the samples are part of it. DenseNet only.

Prints the median of the ratios of the steps that stand next to each other, with a
distribution-free 95 % interval, and writes all times as CSV if --csv names a file.
"""

import argparse
import copy
import csv
import os
import random
import sys
import time
from pathlib import Path

import torch
import torchvision

import torchcyborg as cyborg

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "python"))
from published import published_loss  # noqa: E402


def interval(values):
    """Median and its 95 % interval by ranks."""
    ordered = sorted(values)
    n = len(ordered)
    half = 0.98 * n**0.5
    low, high = max(0, int(n / 2 - half)), min(n - 1, int(n / 2 + half))
    return ordered[n // 2], ordered[low], ordered[high]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--csv")
    a = parser.parse_args()
    on_gpu = torch.device(a.device).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(torch.device(a.device).index or 0)
        torch.backends.cudnn.benchmark = True  # one size: the fastest kernels for it
    torch.manual_seed(0)
    net = torchvision.models.get_model(a.model, num_classes=2).to(a.device).train()
    watched = copy.deepcopy(net)
    optimizers = {n: torch.optim.SGD(n.parameters(), 1e-3) for n in (net, watched)}
    images = torch.randn(a.batch, 3, a.side, a.side, device=a.device)
    labels = torch.randint(2, (a.batch,), device=a.device)
    maps = torch.rand(a.batch, a.side, a.side, device=a.device)
    criterion = cyborg.CyborgL2Loss(0.5)
    hook = cyborg.CamHook(watched)
    watched(images)
    hook.require()
    size = list(hook.observation.features.shape[2:])
    small = cyborg.maps.normalize(cyborg.maps.resize(maps, size))

    def plain():
        return torch.nn.functional.cross_entropy(net(images), labels)

    def ours():
        return criterion(watched(images), labels, hook, maps).total

    def published():
        return published_loss(net, images, labels, small)[0]

    ways = {"plain": plain, "again": plain, "ours": ours}
    if hasattr(net, "classifier") and hasattr(net, "features"):
        ways["published"] = published

    def step(name):
        optimizer = optimizers[watched if name == "ours" else net]
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(a.steps):
            loss = ways[name]()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / a.steps

    # cudnn tries its kernels in the first steps, and a GPU reaches its clock.
    for name in list(ways) * (10 if on_gpu else 3):
        step(name)
    times = {name: [] for name in ways}
    order = list(ways)
    draw = random.Random(0)
    for _ in range(a.pairs):
        draw.shuffle(order)
        for name in order:
            times[name].append(step(name))
    where = torch.cuda.get_device_name() if on_gpu else a.device
    if a.csv:
        with open(a.csv, "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(ways)
            rows.writerows(zip(*times.values()))
    print(
        f"{a.model}, {a.side}x{a.side}, batch {a.batch}, {where}, torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads, load "
        f"{os.getloadavg()[0]:.1f}, {a.pairs} rounds of {a.steps} steps"
    )
    for name, values in times.items():
        print(f"{name:<10}{1000 * sorted(values)[len(values) // 2]:9.1f} ms")
    for name, base in (("again", "plain"), ("ours", "plain"), ("ours", "published")):
        if base in times and name in times:
            ratios = [x / y for x, y in zip(times[name], times[base])]
            print("{} / {}: {:.3f} ({:.3f} to {:.3f})".format(name, base, *interval(ratios)))


if __name__ == "__main__":
    main()
