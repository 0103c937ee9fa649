"""Reach of a sampled manifold: how far off it a point may be and still have one nearest point."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.sampled.shape.spaces import tangent_spaces

if TYPE_CHECKING:
    from immersion.core.measurement import Setting
    from immersion.sampled.graph import NeighborGraph


def reach(graph: NeighborGraph, dim: int, *, sample: int = 4000, seed: int = 0) -> Measurement:
    """The largest radius within which every point has a unique nearest point on the manifold.

    reach = inf over pairs of |y - x|^2 / (2 dist(y - x, T_x)): it is 1 / curvature where the
    manifold bends most, or half the width where it comes back to itself. With estimated tangent
    spaces a close pair says more about noise than about shape, so each pair carries the error of
    its distance to the tangent space (angle error x |y - x|, and the noise). The pair taken is that
    whose value is least with the distance shrunk by z errors, z = sqrt(2 log pairs) being what the
    largest of so many errors comes to.

    Args:
        graph: its points and k neighbours; k >= (d + 1)(d + 2) / 2 + d + 2.
        dim: dimension d of the manifold.
        sample: at most so many points x, drawn without replacement; y are all points.
        seed: of the draw.

    Returns:
        The reach in the units of the points, with the error of the pair that attains it and,
        p^2 / (8 reach) for a patch of radius p, of what may bend more between the points. NaN where
        no pair leaves the tangent space by more than z errors: the data are flat within
        their noise.

    Raises:
        InputError: too few neighbours or coordinates for `dim`, or a graph without points.

    Fails quietly where: the sample misses the place of the greatest bend (the estimate is then too
    large), or a boundary or crossing makes the true reach of another kind.

    Cost: sample x n x D x (d + 1) products, beside the tangent spaces.

    Source: Aamari, Kim, Chazal, Michel, Rinaldo, Wasserman, Estimating the reach of a manifold
    (2019), equation 6.1 after Federer 1959.

    Example:
        >>> from immersion.sampled.graph import neighbor_graph
        >>> turn = 2 * np.pi * np.arange(400) / 400
        >>> ellipse = np.stack([2 * np.cos(turn), np.sin(turn)], axis=1)  # 1^2 / 2 at its ends
        >>> found = reach(neighbor_graph(ellipse, 8), 1)
        >>> abs(found.value - 0.5) < 0.01
        True
    """
    if sample < 1:
        raise InputError(f"sample must be at least 1, not {sample}")
    rows = np.arange(graph.n)
    if graph.n > sample:
        rows = np.sort(np.random.default_rng(seed).choice(graph.n, sample, replace=False))
    spaces = tangent_spaces(graph, dim, rows)
    x = graph.points.astype(np.float64)
    x -= x.mean(axis=0)
    # An error of one patch rests on few neighbours; over all, some are far too small by chance.
    noise, angle = (_at_least_typical(own, spaces.decided) for own in (spaces.noise, spaces.stderr))
    # The largest of that many independent errors, about.
    z = math.sqrt(2 * math.log(len(rows) * graph.n))
    best, value, error = math.inf, math.nan, math.nan
    for part in row_chunks(len(rows), 8 * graph.n * (dim + 6), 1 << 28):
        at, basis = rows[part], spaces.basis[part]
        square = (x**2).sum(axis=1)
        length = np.maximum(square[at, None] + square - 2 * (x[at] @ x.T), 0)
        along = (basis.reshape(-1, x.shape[1]) @ x.T).reshape(len(at), dim, -1)
        along -= np.einsum("bdi,bi->bd", basis, x[at])[:, :, None]
        off = np.sqrt(np.maximum(length - (along**2).sum(axis=1), 0))
        lean = angle[part, None] * np.sqrt(length)
        # The expansion of |y - x|^2 loses what lies below this.
        rounding = 1e-7 * math.sqrt(float(square.max()))
        doubt = np.sqrt(lean**2 + 2 * noise[part, None] ** 2 + rounding**2)
        sure = (off > z * doubt) & (length > 0)
        upper = np.where(sure, length / 2 / np.where(sure, off - z * doubt, 1), np.inf)
        i, j = np.unravel_index(int(np.argmin(upper)), upper.shape)
        if upper[i, j] < best:
            best = float(upper[i, j])
            value = float(length[i, j] / 2 / off[i, j])
            near = min(float(graph.distances[at[i], -1]), math.sqrt(float(length[i, j])))
            error = math.hypot(value * float(doubt[i, j] / off[i, j]), near**2 / 8 / value)
    settings: dict[str, Setting] = {"dim": dim, "k": graph.k, "sample": sample, "seed": seed}
    caveats = [
        "a smallest value over finitely many points: the reach of the manifold itself may be less"
    ]
    if not math.isfinite(value):
        caveats = ["no pair leaves its tangent space by more than the error: flat within the noise"]
    undecided = len(rows) - int(np.count_nonzero(spaces.decided))
    if undecided:
        caveats.append(f"{undecided} of {len(rows)} tangent spaces are not decidable, left out")
    return Measurement("reach", value, error, len(rows) - undecided, settings, None, tuple(caveats))


def _at_least_typical(own: NDArray[np.float64], decided: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Each error, or the root mean square of all where that is greater; NaN where not decided."""
    if not decided.any():
        return np.full(len(own), math.nan)
    typical = math.sqrt(float((own[decided] ** 2).mean()))
    return np.where(decided, np.maximum(own, typical), math.nan)
