# SPDX-License-Identifier: BSD-3-Clause
"""The published CYBORG loss, in our own words, for comparison.

It does what the code of Boyd, Tinsley, Bowyer, Czajka (WACV 2023) does, with its costs:
the features are computed by a second run of the convolutions, and the maps one sample at
a time. `torchcyborg` gives the same number, from one run.
"""

import torch
from torch.nn import functional as F


def published_loss(net, images, labels, maps, alpha=0.5):
    """alpha CE + (1 - alpha) mean over samples of the squared difference of the maps.

    Args:
        net: a DenseNet or another network with `features` and `classifier`.
        images: [B, 3, H, W]; labels: [B]; maps: [B, h, w] of the size of the features,
            in [0, 1].
    Returns:
        The loss, and the logits.
    """
    logits = net(images)
    features = net.features(images)  # the second run
    weight = net.classifier.weight
    classes = logits.argmax(1)
    distance = 0
    for b in range(len(images)):
        channels, height, width = features[b].shape
        cam = weight[classes[b]] @ features[b].reshape(channels, height * width)
        cam = cam.reshape(height, width)
        cam = cam - cam.min()
        cam = cam / cam.max()
        distance = distance + F.mse_loss(cam, maps[b])
    loss = alpha * F.cross_entropy(logits, labels)
    return loss + (1 - alpha) * distance / len(images), logits


def same_loss(net, images, labels, maps, alpha=0.5):
    """The same number by torchcyborg. The published map is that of the predicted class,
    and it is made of what stands before the last ReLU, which the head does not read.
    torchvision writes this ReLU over its input, so the two are run one by one here."""
    import torchcyborg as cyborg

    def run():
        features = net.features(images)
        return net.classifier(torch.relu(features).mean((2, 3)))

    criterion = cyborg.CyborgL2Loss(alpha, cam_class="predicted")
    with cyborg.watch(net, layer="features.norm5", method="cam") as hook:
        logits = hook.forward(run)
        return criterion(logits, labels, hook, maps).total, logits


if __name__ == "__main__":
    from torchvision.models import densenet121

    torch.manual_seed(0)
    net = densenet121(num_classes=2).double()
    images = torch.randn(4, 3, 96, 96, dtype=torch.double)
    labels = torch.tensor([0, 1, 1, 0])
    maps = torch.rand(4, 3, 3, dtype=torch.double)
    maps = (maps - maps.amin((1, 2), True)) / (maps.amax((1, 2), True) - maps.amin((1, 2), True))
    net.eval()
    for loss in (published_loss, same_loss):
        print(f"{loss.__name__}: {float(loss(net, images, labels, maps)[0].detach()):.12f}")
