# SPDX-License-Identifier: BSD-3-Clause
"""What is installed, and what it says when it cannot be used."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import torch
import torchcyborg as cyborg

PACKAGE = Path(cyborg.__file__).parent
SOURCE = os.environ.get("CYBORG_SOURCE_DIR")


def run(code, folder):
    """What Python prints and the error that it ends with, with a package from a folder."""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    return ran.stdout + ran.stderr


class Package(unittest.TestCase):
    def test_another_torch_is_an_error_before_the_extension_is_loaded(self):
        with tempfile.TemporaryDirectory() as folder:
            copied = Path(folder, "torchcyborg")
            shutil.copytree(PACKAGE, copied)
            built = copied / "_built.py"
            built.write_text(re.sub(r"torch = '[^']+'", "torch = '2.0.7'", built.read_text()))
            for file in copied.glob("_C*.so"):
                file.write_bytes(b"not loaded")
            said = run("import torchcyborg", folder)
            self.assertIn(
                f"ImportError: torchcyborg was compiled against torch 2.0.7, and this is "
                f"torch {torch.__version__}. Install it again: pip install "
                "--force-reinstall --no-deps --no-cache-dir",
                said,
            )
            built.unlink()
            said = run("import torchcyborg", folder)
            self.assertIn("torchcyborg is not compiled: this is its source", said)

    def test_two_extensions_share_nothing(self):
        """No symbol of the library leaves the extension, so that another version of it in
        the same process uses its own."""
        if not shutil.which("nm"):
            self.skipTest("nm was not found")
        (file,) = PACKAGE.glob("_C*.so")
        named = subprocess.run(
            ["nm", "-D", "--defined-only", str(file)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        self.assertIn("PyInit__C", named)
        own = re.findall(r"\b_ZT?[A-Z]*N?K?(?:6cyborg|11torchcyborg)\S*", named)
        self.assertEqual(own, [])
        # These are one for the whole process, even of extensions that do not know of
        # each other.
        unique = re.findall(r" u (\S*cyborg\S*)", named)
        self.assertEqual(unique, [])

    def test_two_copies_in_one_process_work_side_by_side(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(PACKAGE, Path(folder, "torchcyborg"))
            other = Path(folder, "othercyborg")
            shutil.copytree(PACKAGE, other)
            said = run(
                "import torch, torchcyborg as one, othercyborg as two\n"
                "net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(),\n"
                "    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),\n"
                "    torch.nn.Linear(4, 2))\n"
                "hooks = one.CamHook(net), two.CamHook(net)\n"
                "assert type(hooks[0].observation) is not type(hooks[1].observation)\n"
                "logits = net(torch.rand(2, 3, 8, 8))\n"
                "labels = torch.tensor([0, 1])\n"
                "maps = [hook.cam(logits, labels) for hook in hooks]\n"
                "assert torch.equal(*maps) and hooks[0].observation.exact\n"
                "print('both are right')\n",
                folder,
            )
            self.assertIn("both are right", said)

    def test_a_compiler_may_bring_its_own_cpp_library(self):
        """Some compilers put their C++ library into what they link. Mixed with the one
        that torch uses, numbers were not printed, or the process crashed."""
        base = os.environ.get("TORCHCYBORG_BUILD")
        if not SOURCE or not base or not list(Path(base).glob("temp*/**/bindings.o")):
            self.skipTest("the objects of the extension are not here to be linked again")
        compiler = os.environ.get("CXX", "g++").split()[0]
        library = subprocess.run(
            [compiler, "-print-file-name=libstdc++.a"], capture_output=True, text=True
        ).stdout.strip()
        if not os.path.isabs(library):
            self.skipTest(f"{compiler} has no libstdc++.a")
        with tempfile.TemporaryDirectory() as folder:
            flags = "-static-libstdc++ -Wl,-Bsymbolic-functions"
            subprocess.run(
                [sys.executable, "setup.py", "-q", "build", "--build-lib", folder],
                cwd=Path(SOURCE, "examples/python"),
                env={**os.environ, "LDFLAGS": flags},
                capture_output=True,
                check=True,
            )
            said = run(
                "import torch, torchcyborg as cyborg\n"
                "net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(),\n"
                "    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),\n"
                "    torch.nn.Linear(4, 2))\n"
                "hook = cyborg.CamHook(net)\n"
                "net(torch.rand(2, 3, 8, 8))\n"
                "print(hook)\n",
                folder,
            )
            self.assertIn("features=[2, 4, 6, 6]", said)
            self.assertIn("exact=yes", said)

    def test_stubs_name_what_the_package_has(self):
        if not SOURCE:
            self.skipTest("CYBORG_SOURCE_DIR does not name the sources of cyborg")
        text = (PACKAGE / "__init__.pyi").read_text()
        for name in cyborg.__all__:
            self.assertRegex(text, rf"\b{name}\b")
        self.assertTrue((PACKAGE / "py.typed").exists())

    def test_everything_public_is_described(self):
        for name in cyborg.__all__:
            self.assertTrue(getattr(cyborg, name).__doc__ or name == "Observation", name)
        for module in (cyborg.human, cyborg.maps, cyborg.measure):
            for name in module.__all__:
                text = getattr(module, name).__doc__
                self.assertGreater(len(text.splitlines()), 2, name)

    def test_the_version_is_that_of_the_headers(self):
        self.assertRegex(cyborg.__version__, r"^\d+\.\d+\.\d+$")

    def test_torch_is_found_where_pip_runs(self):
        """pip hides the packages of its own Python from the backend."""
        if not SOURCE:
            self.skipTest("CYBORG_SOURCE_DIR does not name the sources of cyborg")
        backend = Path(SOURCE, "examples/python/backend")
        code = (
            "import sys, importlib.util\n"
            f"sys.path = [p for p in sys.path if 'site-packages' not in p or {str(backend)!r} == p]\n"
            "import types; setuptools = types.ModuleType('setuptools')\n"
            "setuptools.build_meta = None; sys.modules['setuptools'] = setuptools\n"
            f"sys.path.insert(0, {str(backend)!r})\n"
            "assert importlib.util.find_spec('torch') is None\n"
            "import torchcyborg_backend as backend\n"
            "backend.find_torch()\n"
            "print(importlib.util.find_spec('torch').origin)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-S", "-c", code], capture_output=True, text=True
        )
        self.assertIn(str(Path(torch.__file__).parent), ran.stdout, ran.stderr)

    def test_the_lessons_run(self):
        if not SOURCE:
            self.skipTest("CYBORG_SOURCE_DIR does not name the sources of cyborg")
        try:
            import torchvision  # noqa: F401
        except ImportError:
            self.skipTest("torchvision was not found")
        folder = Path(SOURCE, "examples/python")
        said = subprocess.run(
            [sys.executable, str(folder / "published.py")],
            capture_output=True,
            text=True,
        )
        numbers = re.findall(r"_loss: ([\d.]+)", said.stdout)
        self.assertEqual(len(numbers), 2, said.stderr)
        self.assertEqual(numbers[0], numbers[1])


if __name__ == "__main__":
    unittest.main()
