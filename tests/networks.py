# SPDX-License-Identifier: BSD-3-Clause
"""Small networks of the kinds that people bring, for tests/test_python.cpp.

Each is a function that examples/export_torchscript.py calls. They have five
classes, so that `train` replaces their last layer.
"""

from typing import NamedTuple, Optional

import torch
from torch import nn


def convolution(inputs, outputs, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """A shortcut; global average pooling and a linear layer."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem = convolution(3, 8, stride=2)
        self.inner = nn.Sequential(convolution(8, 8), nn.Conv2d(8, 8, 3, padding=1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(x + self.inner(x))
        return self.fc(torch.flatten(self.pool(x), 1))


class Dense(nn.Module):
    """Features concatenated; ReLU and pooling in `forward`, as torchvision's."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem = convolution(3, 8, stride=2)
        self.layers = nn.ModuleList([convolution(8 + 4 * i, 4) for i in range(3)])
        self.norm = nn.BatchNorm2d(20)
        self.classifier = nn.Linear(20, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        x = nn.functional.relu(self.norm(x), inplace=True)
        x = nn.functional.adaptive_avg_pool2d(x, (1, 1))
        return self.classifier(torch.flatten(x, 1))


class SqueezeExcitation(nn.Module):
    """Channels weighed by their own means: space is collapsed twice; dropout."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem = convolution(3, 8, stride=2)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(8, 2, 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(2, 8, 1),
            nn.Sigmoid(),
        )
        self.last = convolution(8, 12)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, num_classes))

    def forward(self, x):
        x = self.stem(x)
        x = self.last(x * self.squeeze(x))
        return self.classifier(x.mean([2, 3]))


class Outputs(NamedTuple):
    logits: torch.Tensor
    auxiliary: Optional[torch.Tensor]


class Auxiliary(nn.Module):
    """A second head in training; both results in a named tuple."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem = convolution(3, 8, stride=2)
        self.auxiliary = nn.Linear(8, num_classes)
        self.last = convolution(8, 12)
        self.fc = nn.Linear(12, num_classes)

    def forward(self, x) -> Outputs:
        x = self.stem(x)
        auxiliary: Optional[torch.Tensor] = None
        if self.training:
            auxiliary = self.auxiliary(x.mean([2, 3]))
        return Outputs(self.fc(self.last(x).mean([2, 3])), auxiliary)


class Unscriptable(Residual):
    """Python that TorchScript does not know: it is traced."""

    def forward(self, *pictures):
        return super().forward(*pictures)


def residual(num_classes=5):
    return Residual(num_classes)


def dense(num_classes=5):
    return Dense(num_classes)


def squeeze(num_classes=5):
    return SqueezeExcitation(num_classes)


def auxiliary(num_classes=5):
    return Auxiliary(num_classes)


def unscriptable(num_classes=5):
    return Unscriptable(num_classes)
