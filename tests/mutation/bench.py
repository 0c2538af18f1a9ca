# SPDX-License-Identifier: BSD-3-Clause
"""The copy of the project in which faults are tried, and what runs there."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time

import faults as fault_list
from faults import ROOT, ListError

# What becomes of a fault. One is not tried if its tests fail without it, too.
KINDS = ("seen", "survived", "does not compile", "not tried")
FLAGS = [
    "-DCMAKE_BUILD_TYPE=Debug",
    "-DCMAKE_CXX_FLAGS_DEBUG=-O0 -g0",
    "-DCYBORG_WARNINGS_AS_ERRORS=OFF",
    "-DCYBORG_BUILD_BENCHMARKS=OFF",
    "-DCYBORG_BUILD_DOCS=OFF",
    "-DCYBORG_TEST_CONSUMERS=OFF",
]
# Taken from the cache of --build.
CACHED = ("CMAKE_PREFIX_PATH", "Torch_DIR", "Torch_ROOT", "CMAKE_CXX_COMPILER")
# Signals that a fault may cause. Others come from outside: memory that ran out,
# somebody who ends the run.
SIGNALS = (
    signal.SIGABRT, signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP,
    signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1,
    signal.SIGXFSZ,
)


def refresh(source):
    """Brings the copy up to date; a file that is the same keeps its time.

    Returns the digest of all files but the lists of faults and these scripts.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")
    names = {name for name in listed if name and (ROOT / name).is_file()}
    digest = hashlib.sha256()
    for name in sorted(names):
        data = (ROOT / name).read_bytes()
        if name == "tests/CMakeLists.txt":
            data += b"\ninclude(mutation/alone.cmake)\n"
        file = source / name
        if not file.is_file() or file.read_bytes() != data:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            shutil.copymode(ROOT / name, file)
        if not name.startswith("tests/mutation/") or name.endswith(".cmake"):
            digest.update(name.encode() + data)
    for file in source.rglob("*"):
        if file.is_file() and str(file.relative_to(source)) not in names:
            file.unlink()
    return digest


def cached(build):
    """The lines of a build folder's cache that name LibTorch and the compiler."""
    return [
        line for line in (build / "CMakeCache.txt").read_text().splitlines()
        if line.partition(":")[0] in CACHED and not line.endswith("=")
    ]


class Bench:
    """The copy of the project, its build folder, and what runs there."""

    def __init__(self, options):
        self.work = options.work.resolve()
        self.source, self.build = self.work / "source", self.work / "build"
        self.jobs, self.limit = options.jobs, options.time_limit
        self.work.mkdir(parents=True, exist_ok=True)
        self.lock = open(self.work / "lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ListError(f"{self.work} is in use by another run: name another "
                            "folder with --work") from None
        self.log = open(self.work / "log", "w")
        digest = refresh(self.source)
        self.configure(options.build)
        # With another LibTorch or compiler another test may fail.
        digest.update(" ".join(FLAGS + cached(self.build)).encode())
        self.digest = digest.hexdigest()
        self.executables = {}  # of an area
        for line in (self.build / "alone.txt").read_text().splitlines():
            area, name = line.split()
            self.executables.setdefault(area, []).append(name)
        self.passed = self.load("baseline.json")
        self.failed = {}  # without a fault

    def load(self, name):
        file = self.work / name
        return json.loads(file.read_text()) if file.is_file() else {}

    def save(self, name, value):
        (self.work / name).write_text(json.dumps(value, indent=1))

    def broken(self, what):
        return ListError(f"{what}; see {self.log.name}")

    def call(self, *command):
        return subprocess.call(
            [str(word) for word in command], stdout=self.log, stderr=self.log
        )

    def configure(self, like):
        given = ["-D" + line for line in cached(like)] if like else []
        command = ["cmake", "-G", "Ninja", "-S", self.source, "-B", self.build]
        if self.call(*command, *FLAGS, *given) != 0:
            raise self.broken("the copy cannot be configured")

    def make(self, names):
        command = ["cmake", "--build", self.build, "-j", self.jobs]
        return self.call(*command, "--target", *names) == 0

    def run(self, name, limit):
        """How an executable fails; None if it passes.

        As in CTest, a test case that asserts nothing fails.
        """
        scratch = self.work / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        process = subprocess.Popen(
            [self.build / "bin" / name, "--abort", "--warn", "NoAssertions"],
            cwd=self.build / "tests", stdout=self.log, stderr=self.log,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)},
            start_new_session=True,
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            return "time limit"
        finally:
            try:  # its children, too
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        if status < 0:
            if -status not in SIGNALS:
                raise self.broken(f"{name} was ended by signal {-status}")
            return f"signal {-status}"
        return "assertion" if status else None

    def executables_of(self, fault):
        """In the fault's order: "area/file" names one, "area" all of them.

        Returns the tests that have none, too.
        """
        names, missing = [], []
        for test in fault["tests"]:
            area, _, stem = test.partition("/")
            found = [
                name for name in self.executables.get(area, [])
                if not stem or name == f"alone_{area}_{stem}"
            ]
            names += found
            missing += [] if found else [test]
        return list(dict.fromkeys(names)), missing

    def not_passed(self, names):
        """Those that have not passed yet with these sources."""
        return [
            name for name in names
            if self.passed.get(name, {}).get("digest") != self.digest
        ]

    def pass_without_fault(self, names):
        """If a test fails anyway, its failure says nothing about a fault."""
        if not self.make(names):
            raise self.broken(f"does not compile without a fault: {names}")
        for name in names:
            begin = time.monotonic()
            how = self.failed.get(name) or self.run(name, self.limit)
            if how:
                self.failed[name] = how
                raise self.broken(f"{name} fails without a fault: {how}")
            seconds = time.monotonic() - begin
            self.passed[name] = {"digest": self.digest, "seconds": seconds}
            self.save("baseline.json", self.passed)

    def attempt(self, fault):
        """What becomes of a fault, as `KINDS` says."""
        bad = fault_list.faulty_text(fault, self.source)
        file = self.source / fault["file"]
        good = file.read_text()
        names, missing = self.executables_of(fault)
        try:
            for at in range(0, len(names), self.jobs):
                some = names[at : at + self.jobs]
                new = self.not_passed(some)
                if new:
                    self.replace(file, good)
                    self.pass_without_fault(new)
                self.replace(file, bad)
                if not self.make(some):
                    return {"status": "does not compile"}
                for name in some:
                    usual = self.passed[name]["seconds"]
                    limit = min(self.limit, 60 + 5 * usual)
                    # Twice, since some tests of processes fail by chance.
                    how = self.run(name, limit) and self.run(name, limit)
                    if how:
                        return {"status": "seen", "by": name, "how": how}
        finally:
            self.replace(file, good)
        if missing:
            raise self.broken(f"this build has no {', '.join(missing)}")
        return {"status": "survived"}

    @staticmethod
    def replace(file, text):
        """The file gets a new time only if its text is new: then what includes
        it is built again."""
        if file.read_text() != text:
            file.write_text(text)
