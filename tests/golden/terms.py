#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Computes what the terms of a Guidance should return: terms.json.

Everything is written from the formulas, in float64, with PyTorch's autograd for
the gradients. It shares no code with the library. README.md says how to run it.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
RANDOM = np.random.default_rng(20240817)


def normal(*sizes, scale=1.0):
    return torch.tensor(np.round(scale * RANDOM.normal(size=sizes), 3))


def uniform(*sizes):
    return torch.tensor(np.round(RANDOM.uniform(size=sizes), 3))


def plain(value):
    """Tensors as lists, with 14 significant digits."""
    if isinstance(value, torch.Tensor):
        return plain(value.detach().tolist())
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return float(f"{value:.14g}") if isinstance(value, float) else value


def with_gradient(function, *leaves):
    """The value [B], and the gradient of sum over b of (b + 1) value_b."""
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value = function(*leaves)
    factor = torch.arange(1.0, len(value) + 1)
    return value, torch.autograd.grad((factor * value).sum(), leaves)


# Distances of one raw map of the model and one map of people, both [P].


def min_max(x):
    return (x - x.min()) / (x.max() - x.min())


def l1(m, h):
    return (min_max(m) - min_max(h)).abs().sum() / len(m)


def l2(m, h):
    return ((min_max(m) - min_max(h)) ** 2).sum() / len(m)


def kl(m, h):
    q = h / h.sum()
    p = torch.exp(m) / torch.exp(m).sum()
    some = q > 0
    return (q[some] * (torch.log(q[some]) - torch.log(p[some]))).sum()


def cosine(m, h):
    m, h = min_max(m), min_max(h)
    return 1 - m @ h / (torch.sqrt(m @ m) * torch.sqrt(h @ h))


def pearson(m, h):
    # Of the raw maps: a correlation does not see a scale.
    return 1 - torch.corrcoef(torch.stack([m, h]))[0, 1]


def dice(m, h):
    m, h = min_max(m), min_max(h)
    return 1 - 2 * (m @ h) / (m @ m + h @ h)


def bce_with_logits(m, h):
    return F.binary_cross_entropy_with_logits(m, min_max(h))


def ssim(m, h):
    m, h = min_max(m), min_max(h)
    c1, c2 = 0.01**2, 0.03**2
    cov = (m * h).mean() - m.mean() * h.mean()
    var_m = (m * m).mean() - m.mean() ** 2
    var_h = (h * h).mean() - h.mean() ** 2
    return 1 - (2 * m.mean() * h.mean() + c1) * (2 * cov + c2) / (
        (m.mean() ** 2 + h.mean() ** 2 + c1) * (var_m + var_h + c2)
    )


def energy_inside(m, h):
    positive = torch.relu(m)
    return 1 - (positive * h / h.max()).sum() / positive.sum()


def outside_square(m, wrong):
    return ((wrong * min_max(m)) ** 2).sum()


def distances():
    maps, people = normal(3, 12, scale=2.0), uniform(3, 12)
    people[0, 3] = 0
    cases = {"maps": maps, "people": people}
    for one in (l1, l2, kl, cosine, pearson, dice, bce_with_logits, ssim,
                energy_inside, outside_square):
        value, (slope,) = with_gradient(
            lambda x, one=one: torch.stack(
                [one(x[b], people[b]) for b in range(3)]),
            maps)
        cases[one.__name__] = {"value": value, "gradient": slope}
    return cases


def entropy_of(row):
    p = torch.exp(row) / torch.exp(row).sum()
    return -(p * torch.log(p)).sum() / math.log(len(row))


def entropy():
    maps = normal(3, 12, scale=2.0)
    exists = torch.tensor(RANDOM.uniform(size=(3, 12)) < 0.6)
    value, (slope,) = with_gradient(
        lambda x: torch.stack([entropy_of(row) for row in x]), maps)
    some, (some_slope,) = with_gradient(
        lambda x: torch.stack(
            [entropy_of(row[at]) for row, at in zip(x, exists)]),
        maps)
    return {
        "maps": maps, "value": value, "gradient": slope,
        "positions": exists.long(), "value_of_positions": some,
        "gradient_of_positions": some_slope,
    }


# A smooth network: convolution 3 x 3, tanh, mean, linear.


def make_net(classes):
    return [normal(3, 2, 3, 3, scale=0.7), normal(3, scale=0.3),
            normal(classes, 3, scale=1.5), normal(classes, scale=0.3)]


def run(net, x):
    kernel, shift, weight, bias = net
    features = torch.tanh(F.conv2d(x, kernel, shift, padding=1))
    return features.mean((2, 3)) @ weight.T + bias


def features_of(net, x):
    return torch.tanh(F.conv2d(x, net[0], net[1], padding=1))


def on_net(function, net, images, **more):
    """The mean of function(net, images) and its gradient by the parameters."""
    leaves = [one.clone().requires_grad_() for one in net]
    value = function(leaves, images)
    slopes = torch.autograd.grad(value.mean(), leaves, allow_unused=True)
    return {
        "value": value,
        "gradient": [torch.zeros_like(one) if slope is None else slope
                     for one, slope in zip(net, slopes)],
        **more,
    }


def picture_gradient(score, x):
    """d score_b / d x_b: one sample after the other, not the batch's sum."""
    rows = [torch.autograd.grad(score[b], x, create_graph=True)[0][b]
            for b in range(len(x))]
    return torch.stack(rows)


def log_sigmoid(z):
    return -torch.log1p(torch.exp(-z))


def task_of(kind, logits, labels):
    if kind == "classes":
        return F.cross_entropy(logits, labels, reduction="none")
    if kind == "one_logit":
        return F.binary_cross_entropy_with_logits(
            logits[:, 0], labels.double(), reduction="none")
    return F.binary_cross_entropy_with_logits(
        logits, labels, reduction="none").mean(1)


def score_of(kind, name, logits, labels):
    if name == "loss":
        return task_of(kind, logits, labels)
    if name == "log_probabilities":
        if kind == "classes":
            p = torch.exp(logits)
            return torch.log(p / p.sum(1, keepdim=True)).sum(1)
        return (log_sigmoid(logits) + log_sigmoid(-logits)).sum(1)
    if kind == "classes":
        return logits[torch.arange(len(labels)), labels]
    if kind == "one_logit":
        return torch.where(labels == 1, logits[:, 0], -logits[:, 0])
    return (labels * logits).sum(1)


def kinds():
    return {
        "classes": (make_net(3), torch.tensor([2, 0, 1])),
        "one_logit": (make_net(1), torch.tensor([0, 1, 1])),
        "multi_label": (
            make_net(3),
            torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 0]])),
    }


def right_reasons(images, all_kinds):
    wrong = uniform(3, 5, 4)
    cases = []
    for kind, (net, labels) in all_kinds.items():
        for score in ("log_probabilities", "loss", "logit"):
            for power in (1, 2):
                def term(leaves, x):
                    x = x.clone().requires_grad_()
                    g = picture_gradient(
                        score_of(kind, score, run(leaves, x), labels), x)
                    return ((wrong[:, None] * g.abs()) ** power).sum((1, 2, 3))

                cases.append(on_net(term, net, images, kind=kind, score=score,
                                    power=power))
    return {"wrong": wrong, "cases": cases}


def same_padding(size):
    """Rows before and after, as TensorFlow's SAME has them; stride 2, width 5."""
    total = max((math.ceil(size / 2) - 1) * 2 + 5 - size, 0)
    return total // 2, total - total // 2


def halved(m):
    """One level of the pyramid of [H, W], pixel by pixel."""
    line = torch.tensor([1.0, 4, 6, 4, 1])
    kernel = line[:, None] * line[None] / 256
    (top, bottom), (left, right) = map(same_padding, m.shape)
    wide = F.pad(m, (left, right, top, bottom))
    rows = [
        torch.stack([(wide[i:i + 5, j:j + 5] * kernel).sum()
                     for j in range(0, wide.shape[1] - 4, 2)])
        for i in range(0, wide.shape[0] - 4, 2)]
    return torch.stack(rows)


def standardised_and_cut(m):
    deviation = torch.sqrt(((m - m.mean()) ** 2).mean())
    return torch.relu((m - m.mean()) / (deviation + 1e-5))


def harmonize():
    images, people = uniform(2, 2, 12, 7), uniform(2, 12, 7)
    net, labels = make_net(3), torch.tensor([1, 2])

    def term(leaves, x):
        x = x.clone().requires_grad_()
        logits = run(leaves, x)
        g = picture_gradient(score_of("classes", "logit", logits, labels), x)
        values = []
        for b in range(len(x)):
            ours = standardised_and_cut(g[b].mean(0))
            theirs = standardised_and_cut(min_max(people[b]))
            theirs = (theirs / (theirs.max() + 1e-6)
                      * (ours.detach().max() + 1e-6))
            parts = []
            for _ in range(5):
                parts.append(((theirs - ours) ** 2).mean())
                ours, theirs = halved(ours), halved(theirs)
            values.append(sum(parts) / 5)
        return torch.stack(values)

    level = uniform(6, 5)
    return {"images": images, "people": people, "net": net, "labels": labels,
            "level": level, "next_level": halved(level),
            **on_net(term, net, images)}


def perturbed(images, all_kinds):
    """Three sign steps of a third of the range, projected to the range."""
    wrong = (uniform(3, 5, 4) > 0.5).double()
    cases = []
    for kind, (net, labels) in all_kinds.items():
        for share in (1.0, 0.3):
            low, high = torch.tensor([0.0, -0.5]), torch.tensor([1.0, 1.5])
            low, high = low[:, None, None], high[:, None, None]
            epsilon = share * (high - low)
            mask = wrong[:, None]
            delta = torch.zeros_like(images)
            for _ in range(3):
                moved = delta.clone().requires_grad_()
                loss = task_of(kind, run(net, images + mask * moved), labels)
                slope = torch.autograd.grad(loss.sum(), moved)[0]
                delta = delta + epsilon / 3 * torch.sign(slope)
                delta = torch.maximum(torch.minimum(delta, epsilon), -epsilon)
                delta = torch.maximum(
                    torch.minimum(images + delta, high), low) - images
            changed = images + mask * delta
            cases.append(on_net(
                lambda leaves, x: task_of(kind, run(leaves, changed), labels),
                net, images, kind=kind, epsilon=share))
    return {"wrong": wrong, "cases": cases}


def ternary():
    maps = normal(3, 4, 5, scale=2.0)
    # Twice as large: the nearest value is that of the even rows and columns.
    people = (uniform(3, 8, 10) > 0.7).double()
    wrong = (uniform(3, 8, 10) > 0.7).double()
    f = people[:, ::2, ::2] - wrong[:, ::2, ::2]

    def one(form, m, f):
        m = min_max(m)
        wanted = (f > 0).double()
        if form == "gradia":
            return (m - wanted).abs().mean()
        said = f != 0
        if form == "haics":
            p = torch.clamp(m[said], 1e-4, 1 - 1e-4)
            y = wanted[said]
            return F.binary_cross_entropy(p, y)
        wide = F.pad(wanted[None, None], (1, 1, 1, 1), mode="reflect")[0, 0]
        soft = torch.zeros_like(wanted)
        for i, a in enumerate((0.25, 0.5, 0.25)):
            for j, b in enumerate((0.25, 0.5, 0.25)):
                soft = soft + a * b * wide[i:i + 4, j:j + 5]
        differ = (torch.tanh(5 * (m - 0.4)) - f).abs()[said].mean()
        return ((m - soft / soft.max()).abs().mean()
                + torch.relu(differ - 0.05))

    found = {"maps": maps, "people": people, "wrong": wrong,
             "threshold": 0.4, "slack": 0.05}
    for form in ("gradia", "haics", "res_g"):
        value, (slope,) = with_gradient(
            lambda x, form=form: torch.stack(
                [one(form, x[b], f[b]) for b in range(3)]),
            maps)
        found[form] = {"value": value, "gradient": slope}
    return found


def tasks():
    """Means over the batch, and their gradients by the logits."""
    logits, single = normal(4, 3, scale=2.0), normal(4, 1, scale=2.0)
    shares = uniform(4, 3)
    shares = shares / shares.sum(1, keepdim=True)
    labels = torch.tensor([2, -100, 0, 1])
    all_known = torch.tensor([2, 1, 0, 1])
    binary = torch.tensor([1, 0, -100, 1])
    many = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    weight, pair = torch.tensor([0.5, 2.0, 1.25]), torch.tensor([0.5, 2.0])
    numbers = normal(4, 3, scale=2.0)
    two = lambda z: torch.cat([torch.zeros_like(z), z], 1)

    def focal(z, y, gamma):
        p = torch.softmax(z, 1)[torch.arange(len(y)), y]
        return ((1 - p) ** gamma * -torch.log(p)).mean()

    def focal_shares(z, y, gamma):
        p = torch.softmax(z, 1)
        share = weight * (F.one_hot(y, 3) * 0.9 + 0.1 / 3)
        loss = (share * (1 - p) ** gamma * -torch.log(p)).sum()
        return loss / weight[y].sum()

    def focal_many(z, y, gamma):
        p = torch.sigmoid(z)
        right = torch.where(y == 1, p, 1 - p)
        return ((1 - right) ** gamma * -torch.log(right)).mean()

    cases = {
        "known": (logits, lambda z: F.cross_entropy(z, all_known)),
        "unknown": (logits, lambda z: F.cross_entropy(z, labels)),
        "weighted": (logits, lambda z: F.cross_entropy(z, labels, weight)),
        "smoothing": (logits, lambda z: F.cross_entropy(
            z, labels, label_smoothing=0.1)),
        "weight_smoothing": (logits, lambda z: F.cross_entropy(
            z, labels, weight, label_smoothing=0.1)),
        "of_shares": (logits, lambda z: F.cross_entropy(z, shares)),
        "shares_weight_smoothing": (logits, lambda z: F.cross_entropy(
            z, shares, weight, label_smoothing=0.1)),
        "sum_weight": (logits, lambda z: F.cross_entropy(
            z, labels, weight, reduction="sum")),
        "focal": (logits, lambda z: focal(z, all_known, 2.0)),
        "focal_weight_smoothing": (logits, lambda z: focal_shares(
            z, all_known, 2.0)),
        "one_logit": (single, lambda z: F.cross_entropy(two(z), binary)),
        "one_logit_weight_smoothing": (single, lambda z: F.cross_entropy(
            two(z), binary, pair, label_smoothing=0.2)),
        "one_logit_share": (single, lambda z:
                            F.binary_cross_entropy_with_logits(
                                z, shares[:, :1])),
        "of_many": (logits, lambda z: F.binary_cross_entropy_with_logits(z, many)),
        "many_weight": (logits, lambda z: F.binary_cross_entropy_with_logits(
            z, many, pos_weight=weight)),
        "many_smoothing": (logits, lambda z:
                           F.binary_cross_entropy_with_logits(
                               z, many * 0.9 + 0.05)),
        "many_focal": (logits, lambda z: focal_many(z, many, 1.5)),
        "numbers_l1": (logits, lambda z: F.l1_loss(z, numbers)),
        "numbers_l2": (logits, lambda z: F.mse_loss(z, numbers)),
        "numbers_smooth": (logits, lambda z: F.smooth_l1_loss(z, numbers)),
    }
    found = {"logits": logits, "single": single, "shares": shares,
             "labels": labels, "all_known": all_known, "binary": binary,
             "many": many, "weight": weight, "pair": pair, "numbers": numbers}
    for name, (leaf, function) in cases.items():
        leaf = leaf.clone().requires_grad_()
        value = function(leaf)
        found[name] = {"value": value,
                       "gradient": torch.autograd.grad(value, leaf)[0]}
    return found


def blends():
    """Two terms, squared difference and entropy, blended with cross entropy."""
    logits, maps, people = normal(4, 3), normal(4, 12), uniform(4, 12)
    labels = torch.tensor([0, 2, 1, 1])
    annotated = torch.tensor([True, False, True, False])
    weight = torch.tensor([0.5, 2.0, 1.5, 0.0])
    s, t = 0.3, 0.2
    found = {"logits": logits, "maps": maps, "people": people,
             "labels": labels, "annotated": annotated.long(), "weight": weight,
             "strengths": [s, t]}
    guided = annotated.double()
    n, size = guided.sum(), len(labels)
    for name in ("convex", "additive", "sum", "additive_sum", "share",
                 "share_sum", "attached"):
        z = logits.clone().requires_grad_()
        m = maps.clone().requires_grad_()
        task = weight * F.cross_entropy(z, labels, reduction="none")
        one = weight * guided * torch.stack(
            [l2(m[b], people[b]) for b in range(size)])
        two = weight * torch.stack([entropy_of(row) for row in m])
        if name.startswith("additive"):
            total = task.mean() + s * one.sum() / size + t * two.mean()
        elif name in ("convex", "sum"):
            total = ((1 - s * n / size - t) * task.mean()
                     + s * n / size * (one.sum() / n) + t * two.mean())
        else:
            mean = one.sum() / n
            alpha = task.mean() / (task.mean() + mean + 1e-8)
            if name != "attached":
                alpha = alpha.detach()
            share = (1 - alpha) * n / size
            total = (1 - share) * task.mean() + share * mean
        if name.endswith("sum"):
            total = total * size
        of_logits, of_maps = torch.autograd.grad(total, (z, m))
        found[name] = {"total": total, "of_logits": of_logits,
                       "of_maps": of_maps}
    return found


def class_maps(images):
    """The squared difference of maps of chosen classes, on the network."""
    net, labels = make_net(3), torch.tensor([2, 0, 1])
    people = uniform(3, 5, 4)
    cases = []
    for which in ("label", "predicted", "difference", "fixed"):
        def term(leaves, x):
            features, logits = features_of(leaves, x), run(leaves, x)
            values = []
            for b in range(3):
                rows = torch.einsum("kc,chw->khw", leaves[2], features[b])
                order = torch.argsort(logits[b], descending=True).tolist()
                y = int(labels[b])
                rival = order[1] if order[0] == y else order[0]
                m = {"label": rows[y], "predicted": rows[order[0]],
                     "difference": rows[y] - rows[rival],
                     "fixed": rows[1]}[which]
                values.append(l2(m.flatten(), people[b].flatten()))
            return torch.stack(values)

        cases.append(on_net(term, net, images, which=which))
    return {"net": net, "labels": labels, "people": people, "cases": cases}


def main():
    images = uniform(3, 2, 5, 4)
    images[0, 0, 0, 0], images[1, 1, 2, 3] = 0.0, 1.0  # ends of the range
    all_kinds = kinds()
    found = {
        "distances": distances(),
        "entropy": entropy(),
        "images": images,
        "nets": {kind: {"net": net, "labels": labels}
                 for kind, (net, labels) in all_kinds.items()},
        "right_reasons": right_reasons(images, all_kinds),
        "harmonize": harmonize(),
        "perturbed": perturbed(images, all_kinds),
        "ternary": ternary(),
        "tasks": tasks(),
        "blends": blends(),
        "class_maps": class_maps(images),
    }
    lines = [f'"{name}": {json.dumps(plain(value))}'
             for name, value in found.items()]
    path = Path(__file__).with_suffix(".json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
