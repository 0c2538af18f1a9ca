# SPDX-License-Identifier: BSD-3-Clause
"""Maps of where people look: drawn, blurred, of several annotators, and controls."""

from . import _C

_functions = [name for name in dir(_C.human) if not name.startswith("_")]
globals().update({name: getattr(_C.human, name) for name in _functions})
__all__ = sorted(_functions)
