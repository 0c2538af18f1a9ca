# SPDX-License-Identifier: BSD-3-Clause
"""Small networks, and the guided loss in plain PyTorch, for the tests."""

import os
import unittest

import torch
from torch import nn
from torch.nn import functional as F

# Where the tests run: CYBORG_TEST_DEVICE=cuda runs them on a GPU.
DEVICE = torch.device(os.environ.get("CYBORG_TEST_DEVICE", "cpu"))
if DEVICE.type == "cuda":
    DEVICE = torch.device("cuda", DEVICE.index or 0)  # as tensors name it
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def needs_cuda(case):
    """Skips a test, or a class of tests, unless the tests run on a GPU."""
    return unittest.skipUnless(
        DEVICE.type == "cuda", "CYBORG_TEST_DEVICE is not cuda"
    )(case)


def about(tolerance):
    """A tolerance for two ways to the same number. A GPU adds in any order."""
    return tolerance if DEVICE.type == "cpu" else 10 * tolerance


class Small(nn.Module):
    """Two convolutions, a mean over the positions, and a linear layer."""

    def __init__(self, classes=3, channels=8, act=None, device=DEVICE):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1, device=device),
            nn.BatchNorm2d(channels, device=device),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, device=device),
            nn.ReLU() if act is None else act,
        )
        self.fc = nn.Linear(channels, classes, device=device)

    def features(self, x):
        return self.body(x)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


def batch(count=6, classes=3, side=8, dtype=torch.float32, seed=0, device=DEVICE):
    """Images, labels and maps of people; sample 1 has no map."""
    made = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, side, side, generator=made, dtype=torch.double)
    labels = torch.randint(classes, (count,), generator=made)
    maps = torch.rand(count, side, side, generator=made, dtype=torch.double)
    maps[1] = float("nan")
    return images.to(device, dtype), labels.to(device), maps.to(device, dtype)


def min_max(maps):
    low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
    return (maps - low) / (high - low)


def divergence(model, human):
    p = human / human.sum(1, keepdim=True)
    return (torch.xlogy(p, p) - p * model.log_softmax(1)).sum(1)


# Each takes flat maps of the model and of people, not normalised.
DISTANCES = {
    "l1": lambda m, h: (min_max(m) - min_max(h)).abs().mean(1),
    "l2": lambda m, h: (min_max(m) - min_max(h)).square().mean(1),
    "kl": divergence,
    "cosine": lambda m, h: 1 - F.cosine_similarity(min_max(m), min_max(h), dim=1),
    "pearson": lambda m, h: 1
    - F.cosine_similarity(
        m - m.mean(1, keepdim=True), h - h.mean(1, keepdim=True), dim=1
    ),
    "dice": lambda m, h: 1
    - 2
    * (min_max(m) * min_max(h)).sum(1)
    / (min_max(m).square().sum(1) + min_max(h).square().sum(1)),
    "bce": lambda m, h: F.binary_cross_entropy_with_logits(
        m, min_max(h), reduction="none"
    ).mean(1),
}


def cam(features, weight, labels):
    """The class activation maps of the labels, [B, *S]."""
    return torch.einsum("bchw,bc->bhw", features, weight[labels])


def guided(logits, labels, cams, maps, distance, alpha):
    """The guided loss, and its two parts."""
    used = maps.flatten(1).isfinite().all(1)
    own = cams.flatten(1)[used]
    people = maps.flatten(1)[used].to(own.dtype)
    saliency = DISTANCES[distance](own, people).mean()
    task = F.cross_entropy(logits, labels)
    a = 1 - (1 - alpha) * int(used.sum()) / len(labels)
    return a * task + (1 - a) * saliency, task, saliency


def gradients(loss, net):
    """The gradient of each parameter of a network."""
    net.zero_grad(set_to_none=True)
    loss.backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in net.named_parameters()
    }
