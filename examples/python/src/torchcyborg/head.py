# SPDX-License-Identifier: BSD-3-Clause
"""`GuidedHead`: pooling, linear layer and class activation maps in one pass."""

import math
from typing import NamedTuple, Optional

import torch

from . import _C
from ._results import expect_tensors


class GuidedHeadOutput(NamedTuple):
    """What `GuidedHead.guided` returns."""

    logits: torch.Tensor  # [B, K]
    cam: Optional[torch.Tensor]  # [B, *S], or [B, K, *S] of all classes


class GuidedHead(torch.nn.Module):
    """The end of a classifier that also makes its class activation maps: the mean over
    the positions, and a linear layer whose weights are those of the map.

        logits = W mean_s F[s] + b,    cam[s] = W[label] F[s]

    `weight` [K, C] and `bias` [K] have the names, shapes and initial values of
    torch.nn.Linear, so state dictionaries fit.

    Example:
        net.avgpool, net.fc = torch.nn.Identity(), cyborg.GuidedHead.from_linear(net.fc)
    """

    def __init__(self, channels, classes, bias=True, device=None, dtype=None):
        super().__init__()
        if channels < 1 or classes < 1:
            raise ValueError(
                "torchcyborg.GuidedHead: expected channels and classes above 0, got "
                f"{channels} and {classes}"
            )
        made = {"device": device, "dtype": dtype}
        self.weight = torch.nn.Parameter(torch.empty(classes, channels, **made))
        if bias:
            self.bias = torch.nn.Parameter(torch.empty(classes, **made))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws new random parameters, as torch.nn.Linear does."""
        torch.nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight.size(1))
            torch.nn.init.uniform_(self.bias, -bound, bound)

    @torch.compiler.disable
    def forward(self, features):
        """The logits [B, K] of features [B, C, *S]. When a `CamHook` observes and there
        are up to 8 classes, the maps of all classes are made in the same pass."""
        expect_tensors("GuidedHead", features=features)
        return _C.guided_head(features, self.weight, self.bias, None, None)[0]

    @torch.compiler.disable
    def guided(self, features, labels=None, *, which=None):
        """Logits, and the maps of the labels' classes [B, *S]; without labels those of
        the "predicted" classes, or of "all" [B, K, *S]."""
        if labels is None and which is None:
            raise ValueError(
                "torchcyborg.GuidedHead.guided: expected labels [B], or "
                'which="predicted" or "all", got neither'
            )
        expect_tensors("GuidedHead.guided", features=features, labels=labels)
        return GuidedHeadOutput(
            *_C.guided_head(features, self.weight, self.bias, labels, which)
        )

    @classmethod
    def from_linear(cls, linear):
        """A head with a copy of the parameters of a torch.nn.Linear."""
        head = cls(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            linear.weight.device,
            linear.weight.dtype,
        )
        head.load_state_dict(linear.state_dict())
        return head

    def to_linear(self):
        """A torch.nn.Linear with a copy of the parameters."""
        classes, channels = self.weight.shape
        linear = torch.nn.Linear(
            channels,
            classes,
            self.bias is not None,
            self.weight.device,
            self.weight.dtype,
        )
        linear.load_state_dict(self.state_dict())
        return linear

    def extra_repr(self):
        classes, channels = self.weight.shape
        return f"channels={channels}, classes={classes}, bias={self.bias is not None}"
