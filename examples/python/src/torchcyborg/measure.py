# SPDX-License-Identifier: BSD-3-Clause
"""Scores of detectors and of maps, and their statistics."""

from . import _C

_functions = [name for name in dir(_C.measure) if not name.startswith("_")]
globals().update({name: getattr(_C.measure, name) for name in _functions})
__all__ = sorted(_functions)
