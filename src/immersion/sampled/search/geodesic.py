"""Exact neighbours by the geodesic distance of a manifold.

Distances are computed in float64 in tiles whose shape depends on n and the manifold alone. A tile
has fewer than 2^15 numbers, which torch does not split among threads: so a pair always meets the
same instructions, and the graph does not depend on the number of threads or processes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.sampled.exact import empty_lists, numbers_of
from immersion.sampled.search import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from immersion.core.metric import GeodesicManifold
    from immersion.sampled.exact import Found

_TILE = (1 << 15) - 1
"""Numbers in a tile on the CPU: torch gives larger ones to several threads."""
_DEVICE_TILE = 1 << 24
"""Numbers in a tile on a device, which needs many to be busy."""


def nearest_by_geodesic(
    points: NDArray[np.floating],
    k: int,
    manifold: GeodesicManifold,
    rows: NDArray[np.int64],
    device: torch.device,
) -> Found:
    """Indices and distances (m, k) of the k nearest other points of some points.

    Args:
        points: (n, D), flattened points of the manifold.
        k: neighbours a point.
        manifold: the metric.
        rows: (m,) the points that ask.
        device: where the distances are computed.

    Raises:
        InputError: the manifold gives a distance that is not a number.
    """
    n, width = points.shape
    who, near = empty_lists(len(rows), k, n)
    size = max(1, (_TILE if device.type == "cpu" else _DEVICE_TILE) // width)
    tall = min(64 if device.type == "cpu" else 4096, size)
    for part in row_chunks(len(rows), 1, tall):
        asking = rows[part]
        # Rows of a tile that are left over are filled with the last: the shape stays the same.
        filled = np.minimum(numbers_of(slice(part.start, part.start + tall)), len(rows) - 1)
        left = _points(points[rows[filled]], manifold, device)[:, None]
        for base in row_chunks(n, 1, max(1, size // tall)):
            right = _points(points[base], manifold, device)[None]
            tile = manifold.dist(left, right)[: len(asking)].cpu().numpy()
            bad = kernels.merge_tile(tile, points, asking, base.start, near[part], who[part])
            if bad.max() >= 0:
                row = int(np.argmax(bad))
                raise InputError(
                    f"{manifold}: the distance between points {asking[row]} and {bad[row]} is not "
                    "a number; bring the points to the manifold with .proj(x)"
                )
    return who, near


def on_manifold(points: NDArray[np.floating], manifold: GeodesicManifold) -> None:
    """Raise unless all flattened points lie on the manifold.

    Raises:
        InputError: wrong size, or how far off they are.
    """
    width = math.prod(manifold.point_shape)
    if points.shape[1] != width:
        raise InputError(
            f"{manifold}: points have shape {manifold.point_shape}, {width} numbers; "
            f"met {points.shape[1]} numbers a point"
        )
    for part in row_chunks(len(points), 16 * points.itemsize * width, 1 << 28):
        x = torch.from_numpy(np.array(points[part]))
        manifold.check(x.reshape(-1, *manifold.point_shape))


def _points(
    x: NDArray[np.floating], manifold: GeodesicManifold, device: torch.device
) -> torch.Tensor:
    wide = torch.from_numpy(np.array(x, np.float64))
    return wide.to(device).reshape(-1, *manifold.point_shape)
