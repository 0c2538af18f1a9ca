# SPDX-License-Identifier: BSD-3-Clause
"""What a network returned: where the logits are in it, and how it is detached."""

import copy
import dataclasses
from collections.abc import Mapping

import torch

_NAMES = ("logits", "out")  # "out": torchvision's segmentation


def expect_tensors(of, **given):
    """Raises `TypeError` for what is neither a tensor nor None."""
    for name, value in given.items():
        if value is not None and not isinstance(value, torch.Tensor):
            raise TypeError(
                f"torchcyborg.{of}: expected {name} to be a tensor, got "
                f"{type(value).__name__}"
            )


def _add(value, tensors):
    """Appends the tensors in a value, in order."""
    if isinstance(value, torch.Tensor):
        tensors.append(value)
    elif isinstance(value, Mapping):
        for one in value.values():
            _add(one, tensors)
    elif isinstance(value, (tuple, list)):
        for one in value:
            _add(one, tensors)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            _add(getattr(value, field.name), tensors)


def _named(value):
    """The logits by their name in a dictionary or an object, and the names there."""
    if isinstance(value, Mapping):
        names = [str(key) for key in value]
        for name in _NAMES:
            if name in value:
                return value[name], names
        return None, names
    names = sorted(vars(value)) if hasattr(value, "__dict__") else []
    for name in _NAMES:
        if isinstance(getattr(value, name, None), torch.Tensor):
            return getattr(value, name), names
    return None, names


def tensors_of(value, logits_of=None):
    """The tensors of what a network returned, the logits first, and why the first one
    is not the logits ("" where it is)."""
    tensors = []
    problem = ""
    if logits_of is not None:
        tensors.append(logits_of(value))
        if not isinstance(tensors[0], torch.Tensor):
            raise TypeError(
                "torchcyborg.CamHook: expected logits_of to return a tensor, got "
                f"{type(tensors[0]).__name__}"
            )
    elif not isinstance(value, (torch.Tensor, tuple, list)):
        logits, names = _named(value)
        if logits is not None:
            tensors.append(logits)
        else:
            problem = (
                "expected a tensor, a tuple, or something with 'logits' or 'out', got "
                f"{type(value).__name__}"
                + (f" with {', '.join(names)}" if names else "")
                + "; name the logits with CamHook(net, logits_of=...)"
            )
    first = tensors[0] if tensors else None
    rest = []
    _add(value, rest)
    tensors += [one for one in rest if one is not first]
    return tensors, problem


def mapped(value, function):
    """The same value with `function(tensor)` for every tensor in it. Containers are made
    anew."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple):
        items = [mapped(one, function) for one in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, list):
        return [mapped(one, function) for one in value]
    if isinstance(value, Mapping):
        made = copy.copy(value)
        for key in value:
            made[key] = mapped(value[key], function)
        return made
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            one = mapped(getattr(value, field.name), function)
            object.__setattr__(made, field.name, one)
        return made
    return value


def detached(value):
    """The same value with every tensor in it detached."""
    return mapped(value, torch.Tensor.detach)
