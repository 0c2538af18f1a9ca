# SPDX-License-Identifier: BSD-3-Clause
"""Train a network to look where people look.

    import torchcyborg as cyborg

    hook = cyborg.CamHook(net)
    criterion = cyborg.CyborgL2Loss(alpha=0.5)
    ...
    logits = net(images)                                  # as it was
    terms = criterion(logits, labels, hook, maps)
    terms.total.backward()

`CamHook` finds the features that the logits come from. The losses compare the class
activation map of each sample with a map of where people look. `human`, `maps` and
`measure` hold the functions for maps of people, for any map, and for scores.
"""

from . import _check

_check.before_loading()

from . import _C, human, maps, measure  # noqa: E402
from .head import GuidedHead, GuidedHeadOutput  # noqa: E402
from .hook import CamHook, Observation, watch  # noqa: E402
from .loss import (  # noqa: E402
    CyborgKLLoss,
    CyborgL1Loss,
    CyborgL2Loss,
    Guidance,
    GuidanceTerms,
    LossTerms,
    Part,
    SaliencyGuidedLoss,
    term_names,
    whole_batch_total,
)

__version__ = _C.version

__all__ = [
    "CamHook",
    "CyborgKLLoss",
    "CyborgL1Loss",
    "CyborgL2Loss",
    "Guidance",
    "GuidanceTerms",
    "GuidedHead",
    "GuidedHeadOutput",
    "LossTerms",
    "Observation",
    "Part",
    "SaliencyGuidedLoss",
    "human",
    "maps",
    "measure",
    "term_names",
    "watch",
    "whole_batch_total",
]
