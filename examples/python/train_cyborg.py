# SPDX-License-Identifier: BSD-3-Clause
"""The usual training loop of torchvision, guided by maps of people.

    python train_cyborg.py PICTURES MAPS        # PICTURES/train/CLASS/NAME.png ...
    python train_cyborg.py --fake               # random pictures, to try it

MAPS has the same folders and names, gray, in any size: high means look here. A picture
without a map counts as not annotated. The lines marked with CYBORG are the ones that
guidance adds to an ordinary script; the data set's are needed to read the maps.
"""

import argparse
import os

import torch
import torchvision

import torchcyborg as cyborg  # CYBORG

SIDE = 224


class Annotated(torch.utils.data.Dataset):
    """Pictures with the maps of the same name; without one it is NaN."""

    def __init__(self, pictures, maps):
        self.pictures = torchvision.datasets.ImageFolder(pictures)
        self.root, self.maps = pictures, maps
        self.classes = self.pictures.classes
        self.to_image = torchvision.transforms.Compose([
            torchvision.transforms.Resize((SIDE, SIDE)),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        image, label = self.pictures[index]
        name = os.path.relpath(self.pictures.samples[index][0], self.root)
        path = os.path.join(self.maps, os.path.splitext(name)[0] + ".png")
        human = cyborg.human.missing([SIDE, SIDE])
        if os.path.exists(path):
            gray = torchvision.io.read_image(path, torchvision.io.ImageReadMode.GRAY)
            human = cyborg.maps.resize(gray[0].float(), [SIDE, SIDE])
        return self.to_image(image), label, human


class Fake(torch.utils.data.Dataset):
    """Noise with a bright square, whose place is the class and the map."""

    classes = ["left", "right"]

    def __len__(self):
        return 32

    def __getitem__(self, index):
        made = torch.Generator().manual_seed(index)
        image = torch.randn(3, SIDE, SIDE, generator=made)
        columns = slice(20, 60) if index % 2 == 0 else slice(160, 200)
        human = torch.zeros(SIDE, SIDE)
        image[:, 90:130, columns] += 3
        human[90:130, columns] = 1
        return image, index % 2, human


def run(net, loader, device, hook, criterion, optimizer=None):
    """One epoch; without an optimizer an evaluation. Returns loss and accuracy."""
    net.train(optimizer is not None)
    losses, right, count = 0.0, 0, 0
    for images, labels, maps in loader:
        images, labels, maps = (x.to(device) for x in (images, labels, maps))
        with torch.set_grad_enabled(optimizer is not None):
            logits = net(images)
            terms = criterion(logits, labels, hook, maps)  # CYBORG: was the cross entropy
            loss = terms.total  # CYBORG
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses += float(loss.detach()) * len(labels)
        right += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    return losses / count, right / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="?", help="folder with train/ and val/")
    parser.add_argument("maps", nargs="?", help="folder with the maps of people")
    parser.add_argument("--fake", action="store_true", help="use made-up pictures")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = parser.parse_args()
    if not a.fake and not (a.pictures and a.maps):
        parser.error("expected PICTURES and MAPS, or --fake")
    folder = lambda part: [os.path.join(d, part) for d in (a.pictures, a.maps)]
    sets = {part: Fake() if a.fake else Annotated(*folder(part)) for part in ("train", "val")}
    loaders = {part: torch.utils.data.DataLoader(data, a.batch, shuffle=part == "train")
               for part, data in sets.items()}
    net = torchvision.models.get_model(a.model, num_classes=len(sets["train"].classes))
    net.to(a.device)
    optimizer = torch.optim.SGD(net.parameters(), a.lr, momentum=0.9)
    hook = cyborg.CamHook(net)  # CYBORG
    criterion = cyborg.CyborgL2Loss(a.alpha)  # CYBORG
    for epoch in range(a.epochs):
        train = run(net, loaders["train"], a.device, hook, criterion, optimizer)
        val = run(net, loaders["val"], a.device, hook, criterion)
        print(f"epoch {epoch}: loss {train[0]:.4f}, accuracy {train[1]:.3f}; "
              f"validation: loss {val[0]:.4f}, accuracy {val[1]:.3f}")
    print(hook)


if __name__ == "__main__":
    main()
