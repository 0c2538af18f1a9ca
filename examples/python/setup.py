# SPDX-License-Identifier: BSD-3-Clause
"""Builds the one extension of torchcyborg. pyproject.toml says the rest.

The C++ standard, the ABI and the compiler's version checks are those of torch: they
are left to its BuildExtension. CppExtension is used for CUDA builds of torch, too,
because there is no CUDA code here; so no CUDA toolkit is needed."""

import os
import re
import sys
import tempfile
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
# A source distribution has the headers next to this file.
INCLUDE = next(
    (p for p in (HERE / "include", HERE.parent.parent / "include") if p.is_dir()), None
)
if INCLUDE is None:
    raise SystemExit(
        f"torchcyborg: the headers of cyborg are neither in {HERE / 'include'} nor in "
        f"{HERE.parent.parent / 'include'}"
    )


def version():
    text = (INCLUDE / "cyborg" / "version.hpp").read_text()
    parts = ("MAJOR", "MINOR", "PATCH")
    return ".".join(
        re.search(rf"CYBORG_VERSION_{part} (\d+)", text).group(1) for part in parts
    )


def extension():
    """The extension, and the class that builds it."""
    import torch
    from torch.utils import cpp_extension

    class BuildExtension(cpp_extension.BuildExtension):
        """Also writes down which torch this is, for the check before loading."""

        def run(self):
            super().run()
            where = Path(self.get_ext_fullpath("torchcyborg._C")).parent
            (where / "_built.py").write_text(
                "# Written when the extension was compiled.\n"
                f"torch = {torch.__version__!r}\n"
                f"python = {list(sys.version_info[:2])!r}\n"
                f"version = {version()!r}\n"
            )

        def get_outputs(self):
            where = Path(self.get_ext_fullpath("torchcyborg._C")).parent
            return [*super().get_outputs(), str(where / "_built.py")]

    one = cpp_extension.CppExtension(
        "torchcyborg._C",
        ["csrc/bindings.cpp", "csrc/loss.cpp"],  # the first one includes the others
        include_dirs=[str(INCLUDE)],
        depends=sorted(str(p) for p in (HERE / "csrc").iterdir()),
        extra_compile_args=["-O2", "-g0", "-fvisibility=hidden", "-Wno-pragmas"],
        # A compiler may put its own C++ library into the extension. The symbols of
        # that copy must stay inside: mixed with the copy that torch uses, numbers are
        # not printed, or the process crashes.
        extra_link_args=["-Wl,-s", "-Wl,--exclude-libs,ALL"]
        if sys.platform.startswith("linux")
        else [],
    )
    return {"ext_modules": [one], "cmdclass": {"build_ext": BuildExtension}}


# Metadata and source distributions need no torch.
builds = {"bdist_wheel", "build_ext", "build", "install", "editable_wheel", "develop"}
arguments = extension() if builds & set(sys.argv) else {}

# What a build leaves behind lies outside the source tree, unless somebody says where.
base = os.environ.get("TORCHCYBORG_BUILD") or tempfile.mkdtemp(prefix="torchcyborg-")
Path(base).mkdir(parents=True, exist_ok=True)
setup(
    version=version(),
    options={
        "build": {"build_base": base},
        "egg_info": {"egg_base": base},
        "bdist_wheel": {"bdist_dir": os.path.join(base, "wheel")},
    },
    **arguments,
)
