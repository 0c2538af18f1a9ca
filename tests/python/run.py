# SPDX-License-Identifier: BSD-3-Clause
"""Compiles torchcyborg with the torch of this Python, and runs its tests.

    python run.py FOLDER    # what is built goes there, and is used again

Prints "cyborg-test-skipped: REASON" where this Python cannot compile it.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
LIMIT = 1800  # seconds for the tests, which take one or two minutes


def reason_to_skip():
    """Why this Python cannot compile the package; "" if it can."""
    asked = subprocess.run(
        [sys.executable, "-c", "import torch, torch._dynamo"],
        capture_output=True,
        text=True,
    )
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no message"])[-1]
        return f"{sys.executable} cannot import torch: {last}"
    if importlib.util.find_spec("setuptools") is None:
        return f"{sys.executable} has no setuptools"
    if not shutil.which("ninja"):
        return "ninja was not found"
    import sysconfig

    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return f"{sys.executable} has no headers (Python.h)"
    return ""


def main():
    where = Path(sys.argv[1]).resolve()
    reason = reason_to_skip()
    if reason:
        print(f"cyborg-test-skipped: {reason}")
        return 0
    packages = where / "packages"
    environment = {
        **os.environ,
        "TORCHCYBORG_BUILD": str(where),
        "CYBORG_SOURCE_DIR": str(SOURCE),
        "PYTHONPATH": os.pathsep.join(
            p for p in (str(packages), os.environ.get("PYTHONPATH", "")) if p
        ),
    }
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-lib", str(packages)],
        cwd=SOURCE / "examples" / "python",
        env=environment,
        check=True,
    )
    tests = [sys.executable, "-m", "unittest", "discover", "-s", str(HERE)]
    if importlib.util.find_spec("pytest"):
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE)]
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment["PYTHONFAULTHANDLER"] = "1"
    running = subprocess.Popen(
        tests, env=environment, cwd=where, start_new_session=True
    )
    try:
        return running.wait(LIMIT)
    except subprocess.TimeoutExpired:
        print(f"The tests still run after {LIMIT} s. Where each thread is:", flush=True)
        running.send_signal(signal.SIGABRT)  # prints that, and ends it
        running.wait()
        return 1
    finally:
        try:  # processes that a test started, too: they hold the output open
            os.killpg(running.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    sys.exit(main())
