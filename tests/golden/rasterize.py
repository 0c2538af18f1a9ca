# SPDX-License-Identifier: BSD-3-Clause
"""Writes rasterize.json beside it: maps of shapes, as other libraries draw them.

    python3 -m venv venv && venv/bin/pip install scipy scikit-image pycocotools
    venv/bin/python tests/golden/rasterize.py

Masks are run lengths as COCO counts them: down the columns, outside first.
tests/test_draw.cpp compares.
"""

import json
import pathlib

import numpy as np
import scipy.integrate
import scipy.signal
import scipy.stats
import skimage.draw
import skimage.measure
from pycocotools import mask as coco

random = np.random.default_rng(19)


def runs(mask):
    """The run lengths of a mask [H, W]."""
    flat = np.asarray(mask, bool).flatten(order="F")
    counts, inside, length = [], False, 0
    for value in flat:
        if value != inside:
            counts.append(length)
            inside, length = value, 0
        length += 1
    return counts + [length]


def rounded(values, digits=10):
    return [round(float(v), digits) for v in np.asarray(values).flatten()]


def gaussian():
    """Values of SciPy's normal density, over its peak, in every pixel."""
    height, width, sigma = 20, 30, 2.5
    points = [[3.25, 4.5, 1.0], [29.9, 19.75, 0.5], [12.0, 0.0, 2.0]]
    y, x = np.mgrid[0:height, 0:width] + 0.5
    total = 0
    for px, py, weight in points:
        at = scipy.stats.multivariate_normal([px, py], sigma**2)
        total = total + weight * at.pdf(np.dstack([x, y])) / at.pdf([px, py])
    return {"size": [height, width], "sigma": sigma, "points": points, "map": rounded(total)}


def coarse():
    """Means over the positions of a small map, by numerical integration."""
    picture, size, sigma, point = [30, 40], [3, 4], 1.7, [14.2, 11.0]

    def mean(place, step, index):
        density = lambda t: np.exp(-0.5 * ((t - place) / sigma) ** 2)
        value, _ = scipy.integrate.quad(
            density, index * step, (index + 1) * step, points=[place], epsabs=1e-13
        )
        return value / step

    rows = [mean(point[1], picture[0] / size[0], i) for i in range(size[0])]
    columns = [mean(point[0], picture[1] / size[1], i) for i in range(size[1])]
    return {
        "picture": picture,
        "size": size,
        "sigma": sigma,
        "point": point,
        "map": rounded(np.outer(rows, columns), 12),
    }


def polygons():
    """Random polygons, also crossing themselves, by scikit-image and pycocotools."""
    made = []
    height, width = 36, 48
    for i in range(12):
        corners = random.uniform(-6, 54, size=(3 + i % 6, 2)).round(3)
        mask = np.zeros((height, width), bool)
        # scikit-image's coordinates are those of middles.
        mask[
            skimage.draw.polygon(
                corners[:, 1] - 0.5, corners[:, 0] - 0.5, (height, width)
            )
        ] = True
        rle = coco.frPyObjects([corners.flatten().tolist()], height, width)[0]
        made.append(
            {
                "corners": corners.tolist(),
                "runs": runs(mask),
                "coco": runs(coco.decode(rle)),
                # The shares of a map of a third of the size
                "shares": rounded(
                    skimage.measure.block_reduce(mask.astype(float), (3, 3), np.mean), 6
                ),
            }
        )
    return {"size": [height, width], "polygons": made}


def strokes():
    """All pixels by their distance to the line, and dots by scikit-image."""
    height, width = 30, 40
    y, x = np.mgrid[0:height, 0:width] + 0.5
    made = []
    for i in range(8):
        line = random.uniform(-4, 44, size=(1 + i, 2)).round(2)
        brush = round(random.uniform(1, 9), 2)
        nearest = np.full((height, width), np.inf)
        for a, b in zip(line[: max(len(line) - 1, 1)], line[1:] if len(line) > 1 else line):
            d = b - a
            t = ((x - a[0]) * d[0] + (y - a[1]) * d[1]) / max(d @ d, 1e-30)
            t = np.clip(t, 0, 1)
            nearest = np.minimum(
                nearest, np.hypot(x - a[0] - t * d[0], y - a[1] - t * d[1])
            )
        mask = nearest <= brush / 2
        if len(line) == 1:
            disk = np.zeros((height, width), bool)
            disk[
                skimage.draw.disk(
                    (line[0][1] - 0.5, line[0][0] - 0.5), brush / 2, shape=disk.shape
                )
            ] = True
            assert (disk == mask).all()
        made.append({"line": line.tolist(), "width": brush, "runs": runs(mask)})
    return {"size": [height, width], "strokes": made}


def masks():
    """Run lengths of pycocotools, plain and compressed."""
    made = []
    for height, width, density in [(7, 5, 0.5), (33, 21, 0.02), (64, 80, 0.9), (4, 4, 0), (3, 6, 1)]:
        mask = random.random((height, width)) < density
        rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert (coco.decode(rle) == mask).all()
        made.append(
            {
                "size": [height, width],
                "counts": rle["counts"].decode(),
                "runs": runs(mask),
                "rows": ["".join("01"[int(v)] for v in row) for row in mask],
            }
        )
    return made


def clickme():
    """The published kernel, and SciPy's correlation with TensorFlow's padding."""
    numbers = np.arange(-5, 5)
    kernel = np.exp(-(numbers[None, :] ** 2 + numbers[::-1, None] ** 2) / 200)
    kernel /= kernel.sum()
    source = random.random((16, 20)).round(4)
    padded = np.pad(source, ((4, 5), (4, 5)))
    return {
        "size": [16, 20],
        "source": rounded(source, 4),
        "map": rounded(scipy.signal.correlate2d(padded, kernel, mode="valid")),
    }


golden = {
    "gaussian": gaussian(),
    "coarse": coarse(),
    "polygons": polygons(),
    "strokes": strokes(),
    "masks": masks(),
    "clickme": clickme(),
}
target = pathlib.Path(__file__).with_suffix(".json")
target.write_text(json.dumps(golden, separators=(",", ":")).replace('],"', '],\n"') + "\n")
