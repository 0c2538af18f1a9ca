#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disturbs trainings for hours, and sees whether they end as undisturbed ones.

Each round is a training by `train --resume auto`, started again and again with
the same command line, as a scheduler does. While it runs it is killed (SIGKILL)
or asked to stop (SIGTERM, SIGINT, SIGHUP, SIGUSR1) after a random time, or the
disk is full. In every second round two processes train together. In the end
weights, scores and log must be, byte for byte, those of a training that nothing
disturbed.

    tests/soak/soak.py --train build/release/bin/train --rounds 200

A full disk: with --small-disk DIR, a folder on a small file system of its own
(mount -t tmpfs -o size=8m none DIR), a file fills it. Without it the size of
files is limited (RLIMIT_FSIZE), so that writing a checkpoint fails in the middle.

Needs Python 3.8 and nothing else. The exit status is 0 if all rounds ended well.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = ("KILL", "TERM", "INT", "HUP", "USR1")
STOPPED = 75  # the exit status of a training that can be resumed
COMPARED = ("last.pt", "best.pt", "log.jsonl", "log.csv", "scores.csv")


def png(rows):
    """The bytes of a grey 8-bit PNG."""
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)
            + chunk(b"IEND", b""))


def write_pictures(folder, count, seed):
    """A table of noise with a bright square whose place depends on the class."""
    rng = random.Random(seed)
    lines = ["split,class,path,saliency"]
    for i in range(count):
        label, side = i % 2, 32
        at = 4 if label == 0 else 18
        square = [[at <= y < at + 8 and at <= x < at + 8 for x in range(side)]
                  for y in range(side)]
        noise = [[180 + rng.randrange(70) if bright else rng.randrange(140) for bright in row]
                 for row in square]
        (folder / f"p{i}.png").write_bytes(png(noise))
        human = f"m{i}.png" if i % 5 < 3 else ""
        if human:
            (folder / human).write_bytes(png([[255 * b for b in row] for row in square]))
        split = "train" if i < count * 2 // 3 else "val" if i < count * 5 // 6 else "test"
        lines.append(f"{split},{'live' if label == 0 else 'spoof'},p{i}.png,{human}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


class Soak:
    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.rng = random.Random(options.seed)
        self.port = 21000 + os.getpid() % 9000
        self.counts = {}

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def start(self, out, ranks, file_limit=None):
        """Starts the processes of a training; returns them, the first one first."""
        words = [self.options.train, "--resume", "auto", "--out", out, "--data",
                 self.work / "table.csv", "--network", "demo", "--channels", "1",
                 "--size", "32", "32", "--batch", 8 // ranks, "--epochs", self.options.epochs,
                 "--loss", "cyborg-l2", "--optimizer", "adam", "--lr", "0.002", "--flip", "0.5",
                 "--rotation", "10", "--threads", "1", "--quiet", "--save-every", "3"]
        self.port += 1

        def limit():
            for number in (signal.SIGINT, signal.SIGHUP):  # as nohup ignores them
                signal.signal(number, signal.SIG_DFL)
            if file_limit is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        processes = []
        for rank in range(ranks):
            world = {} if ranks == 1 else {
                "RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(self.port)}
            processes.append(subprocess.Popen(
                [str(word) for word in words], env={**os.environ, **world},
                stderr=open(self.work / "errors", "ab"), preexec_fn=limit))
        return processes

    def end(self, processes, seconds=240):
        """The exit status of each. A process that does not end is a failure; where the
        first one ends while they meet, LibTorch tries again for up to three minutes."""
        deadline = time.monotonic() + seconds
        statuses = []
        for process in processes:
            try:
                statuses.append(process.wait(max(0.1, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                for each in processes:
                    each.kill()
                raise RuntimeError("a process did not end")
        return statuses

    def undisturbed(self, out, ranks):
        begin = time.monotonic()
        statuses = self.end(self.start(out, ranks), 600)
        if statuses != [0] * ranks:
            raise RuntimeError(f"the undisturbed training ended with {statuses}")
        return time.monotonic() - begin

    def disturb(self, out, ranks, length):
        """One start that is disturbed. Returns whether the training is finished."""
        kind = self.rng.choice(SIGNALS + ("FULL",))
        if kind == "FULL":
            return self.full_disk(out, ranks)
        processes = self.start(out, ranks)
        # Where a process ends before it has met the others, these wait for 60 s.
        early = ranks == 1 or self.rng.random() < 0.05
        time.sleep(self.rng.uniform(0 if early else 0.4 * length, 1.1 * length))
        target = self.rng.randrange(ranks)
        alive = processes[target].poll() is None
        if alive:
            processes[target].send_signal(getattr(signal, "SIG" + kind))
            if kind != "INT" and self.rng.random() < 0.3:  # as schedulers do
                time.sleep(self.rng.uniform(0, 0.05))
                if processes[target].poll() is None:
                    processes[target].send_signal(getattr(signal, "SIG" + kind))
            self.count(kind)
        statuses = self.end(processes)
        finished = statuses[0] == 0
        # Early signals come before the program catches them.
        number = getattr(signal, "SIG" + kind)
        allowed = {0, STOPPED, 2, -number} if alive else {0}
        if not set(statuses) <= allowed or (2 in statuses and ranks == 1):
            raise RuntimeError(f"{kind} gave the statuses {statuses}")
        return finished

    def full_disk(self, out, ranks):
        self.count("FULL")
        filler = None
        limit = None
        if self.options.small_disk:
            out.mkdir(exist_ok=True)
            filler = self.options.small_disk / "filler"
            with open(filler, "wb", buffering=0) as stream:
                try:
                    while True:
                        stream.write(b"\0" * 4096)
                except OSError:
                    pass
        else:
            limit = self.rng.choice((100, 20_000, 60_000))
        try:
            statuses = self.end(self.start(out, ranks, limit), 200)
        finally:
            if filler:
                filler.unlink()
        if statuses[0] not in (0, 2):
            raise RuntimeError(f"a full disk gave the statuses {statuses}")
        if statuses[0] == 0 and not self.options.small_disk and limit == 100:
            raise RuntimeError("a training could write nothing and ended with 0")
        return statuses[0] == 0

    def round(self, number, lengths, references):
        ranks = 1 + number % 2
        base = self.options.small_disk or self.work
        out = base / f"round{number}"
        length = lengths[ranks]
        starts = 0
        finished = False
        while not finished and starts < 8:
            finished = self.disturb(out, ranks, length)
            starts += 1
        if not finished:
            self.undisturbed(out, ranks)
            starts += 1
        for name in COMPARED:
            if (out / name).read_bytes() != (references[ranks] / name).read_bytes():
                raise RuntimeError(f"{name} differs from that of the undisturbed training")
        left = [each.name for each in out.iterdir() if each.name.endswith(".tmp")]
        # A process that is killed while it writes leaves its temporary file.
        self.counts["temporary files left"] = (
            self.counts.get("temporary files left", 0) + len(left))
        shutil.rmtree(out)
        return starts

    def run(self):
        write_pictures(self.work, 96, self.options.seed)
        lengths, references = {}, {}
        for ranks in (1, 2):
            references[ranks] = self.work / f"reference{ranks}"
            lengths[ranks] = self.undisturbed(references[ranks], ranks)
            again = self.work / f"again{ranks}"
            self.undisturbed(again, ranks)
            for name in COMPARED:
                if (again / name).read_bytes() != (references[ranks] / name).read_bytes():
                    raise RuntimeError(f"two undisturbed trainings differ in {name}")
        begin = time.monotonic()
        bad = 0
        done = 0
        for number in range(self.options.rounds):
            if self.options.minutes and time.monotonic() - begin > 60 * self.options.minutes:
                break
            try:
                self.counts["starts"] = self.counts.get("starts", 0) + self.round(
                    number, lengths, references)
            except RuntimeError as error:
                bad += 1
                print(f"round {number}: {error}", flush=True)
            done += 1
            if done % 10 == 0:
                print(f"{done} rounds, {bad} bad, {self.counts}", flush=True)
        print(json.dumps({"rounds": done, "bad": bad, "seconds_undisturbed": lengths,
                          "minutes": round((time.monotonic() - begin) / 60, 1),
                          **self.counts}))
        return 1 if bad or not done else 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="the program")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=0, help="end after so many; 0: no limit")
    parser.add_argument("--epochs", type=int, default=6, help="of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small-disk", type=Path, help="a folder on a small file system")
    parser.add_argument("--work", type=Path, help="folder for all files; default a temporary one")
    options = parser.parse_args()
    options.train = options.train.resolve()
    work = options.work or Path(tempfile.mkdtemp(prefix="cyborg-soak-"))
    work.mkdir(parents=True, exist_ok=True)
    status = Soak(options, work).run()
    if status == 0 and not options.work:
        shutil.rmtree(work)
    else:
        print(f"files are in {work}")
    return status


if __name__ == "__main__":
    sys.exit(main())
