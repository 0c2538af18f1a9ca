# SPDX-License-Identifier: BSD-3-Clause
"""Compares the torch that is here with the one of the build, before the extension is
loaded: a newer torch often has every symbol that the extension needs, so the loader
would not object, and the layout of objects may differ all the same."""

AGAIN = (
    "pip install --force-reinstall --no-deps --no-cache-dir PATH_TO_CYBORG/examples/python"
)


def before_loading():
    """Raises `ImportError`, which says what to do, unless this torch is the one that
    torchcyborg was compiled against."""
    import torch

    try:
        from . import _built
    except ImportError:
        raise ImportError(
            "torchcyborg is not compiled: this is its source folder. Install it: "
            "pip install PATH_TO_CYBORG/examples/python"
        ) from None
    if torch.__version__ != _built.torch:
        raise ImportError(
            f"torchcyborg was compiled against torch {_built.torch}, and this is torch "
            f"{torch.__version__}. Install it again: {AGAIN}"
        )
