"""The dimension at every point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from immersion.core.errors import InputError
from immersion.measure.dimension.uncertainty import resolvable
from immersion.sampled.graph import as_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from jaxtyping import Float
    from numpy.typing import ArrayLike

    from immersion.core.measurement import Setting
    from immersion.sampled.graph import NeighborGraph


@dataclass(frozen=True, eq=False)
class LocalDimension:
    """The dimension at every point.

    Attributes:
        values: (n,) the dimension; NaN where fewer than four neighbours differ from the point.
        stderrs: (n,) one standard error of each value.
        radii: (n,) distance to the farthest neighbour used, the scale in space.
        settings: every parameter that changes the values.
        caveats: when not to trust them.
    """

    values: Float[np.ndarray, " n"]
    stderrs: Float[np.ndarray, " n"]
    radii: Float[np.ndarray, " n"]
    settings: Mapping[str, Setting]
    caveats: tuple[str, ...]


def local_dimension(
    points: ArrayLike | torch.Tensor | NeighborGraph, *, k: int = 15
) -> LocalDimension:
    """The dimension at every point, by maximum likelihood over its k neighbours.

    d = (m - 2) / sum_{j < m} log(r_m / r_j) over the m <= k neighbours at a distance above zero:
    the sum is a Gamma(m - 1, 1 / d) variable where the density is even, so d is unbiased and its
    standard error is d / sqrt(m - 3) exactly. Values of neighbouring points are correlated: a
    patch of k points holds about one independent value.

    Args:
        points: (n, D) points, or a graph with at least k neighbours.
        k: neighbours used, at least 4.

    Returns:
        Values with standard errors and radii. NaN at points with fewer than four neighbours that
        differ from them, or with all of these equally far.

    Raises:
        InputError: k < 4, or the graph has fewer than k neighbours.

    Source: Levina and Bickel 2004, with the unbiased factor of MacKay and Ghahramani 2005.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> line = np.pad(rng.uniform(size=(500, 1)), ((0, 0), (0, 2)))
        >>> cube = 5 + rng.uniform(size=(500, 3))
        >>> d = local_dimension(np.concatenate([line, cube]))
        >>> bool(np.median(d.values[:500]) < 1.3 < 2.2 < np.median(d.values[500:]))
        True
    """
    if k < 4:
        raise InputError(f"k must be at least 4, not {k}")
    graph = as_graph(points, k)
    near = graph.distances[:, :k].astype(np.float64)
    apart = near > 0
    used = np.count_nonzero(apart, axis=1)
    logs = np.log(near[:, -1:], where=apart[:, -1:], out=np.zeros((graph.n, 1)))
    total = np.where(apart, logs - np.log(near, where=apart, out=np.zeros_like(near)), 0).sum(1)
    known = (used >= 4) & (total > 0)
    values = np.full(graph.n, np.nan)
    values[known] = (used[known] - 2) / total[known]
    stderrs = np.full(graph.n, np.nan)
    stderrs[known] = values[known] / np.sqrt(used[known] - 3)
    notes: list[str] = []
    if missing := int(np.count_nonzero(~known)):
        notes.append(f"{missing} points have no four neighbours at different distances")
    limit = resolvable(graph.n)
    if (above := int(np.count_nonzero(values[known] > limit))) and known.any():
        share = above / int(np.count_nonzero(known))
        notes.append(
            f"{share:.0%} of the values exceed 2 log10(n) = {limit:.1f}; there they are lower "
            "bounds on average (Eckmann and Ruelle 1992)"
        )
    return LocalDimension(values, stderrs, near[:, -1], {"k": k}, tuple(notes))
