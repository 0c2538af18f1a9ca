# SPDX-License-Identifier: BSD-3-Clause
"""The build backend of torchcyborg: setuptools, after it has found your torch.

pip builds a package in a process of its own, which sees setuptools and ninja but
none of your packages. This extension must be compiled against the very torch that
will load it. So the backend looks for torch in this order:

1. In this process. It is there with `pip install --no-build-isolation`.
2. In the Python that runs pip. pip starts this process with the same interpreter
   (`sys.executable`) and hides its packages by PYTHONPATH and PYTHONNOUSERSITE. The
   backend starts that interpreter once more without these two, and asks it.
3. In the PYTHONPATH of the process that called, which pip has replaced. Linux shows
   it in /proc.

The folders found so are put at the end of `sys.path`, behind the packages of the
isolated build, so that setuptools and ninja stay the ones that were asked for.

`uv` and `build` make an environment whose interpreter is a new one, without torch.
There the error says: --no-build-isolation.

A source distribution gets a copy of the headers (folder `include`).
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import build_meta as _setuptools

HERE = Path(__file__).resolve().parent.parent
HEADERS = HERE.parent.parent / "include"

_ASK = """
import importlib.util, json, sys
found = importlib.util.find_spec("torch")
print(json.dumps([p for p in sys.path if p] if found else []))
"""


def _paths_of(environment):
    """`sys.path` of this interpreter in an environment, if it has torch there."""
    asked = subprocess.run(
        [sys.executable, "-c", _ASK],
        env=environment,
        cwd=os.path.abspath(os.sep),
        capture_output=True,
        text=True,
    )
    return json.loads(asked.stdout) if asked.returncode == 0 else []


def _environment(python_path=""):
    """This process's environment without what pip has set."""
    hidden = ("PYTHONPATH", "PYTHONNOUSERSITE")
    kept = {k: v for k, v in os.environ.items() if k not in hidden}
    if python_path:
        kept["PYTHONPATH"] = python_path
    return kept


def _callers_python_path():
    """PYTHONPATH as it was when the calling process started; "" if unknown."""
    try:
        text = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return ""
    for item in text.split(b"\0"):
        if item.startswith(b"PYTHONPATH="):
            return os.fsdecode(item[len(b"PYTHONPATH=") :])
    return ""


def find_torch():
    """Makes `import torch` work in this process.

    Raises `RuntimeError`, which says what to do, where no torch is found."""
    if importlib.util.find_spec("torch") is not None:
        return
    paths = _paths_of(_environment())
    if not paths:
        caller = _callers_python_path()
        paths = _paths_of(_environment(caller)) if caller else []
    if not paths:
        raise RuntimeError(
            f"torchcyborg is compiled against your torch, and {sys.executable} has "
            "none. Install torch into the same environment first (pip install "
            "torch). With uv or build, which make an interpreter of their own: "
            "install setuptools and ninja, and add --no-build-isolation."
        )
    sys.path.extend(p for p in paths if p not in sys.path)
    importlib.invalidate_caches()


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    return _setuptools.prepare_metadata_for_build_wheel(directory, config_settings)


def build_wheel(directory, config_settings=None, metadata_directory=None):
    find_torch()
    return _setuptools.build_wheel(directory, config_settings, metadata_directory)


def build_sdist(directory, config_settings=None):
    own = HERE / "include"
    copied = HEADERS.is_dir() and not own.exists()
    if copied:
        shutil.copytree(HEADERS, own)
    try:
        return _setuptools.build_sdist(directory, config_settings)
    finally:
        if copied:
            shutil.rmtree(own)
