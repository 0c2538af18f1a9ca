# SPDX-License-Identifier: BSD-3-Clause
"""What applies to every map, the model's and people's."""

from . import _C

_functions = [name for name in dir(_C.maps) if not name.startswith("_")]
globals().update({name: getattr(_C.maps, name) for name in _functions})
__all__ = sorted(_functions)
