"""Intrinsic dimension by maximum likelihood over the k nearest neighbours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.dimension.uncertainty import FEWEST, caveats, graph_stderr, undecided
from immersion.sampled.graph import as_graph

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from immersion.sampled.graph import NeighborGraph


def mle_dimension(points: ArrayLike | torch.Tensor | NeighborGraph, *, k: int = 10) -> Measurement:
    """Intrinsic dimension by maximum likelihood over the k nearest neighbours.

    1 / d = mean over points of 1 / (k - 1) sum_{j < k} log(r_k / r_j): the inverse estimates are
    averaged, not the estimates, which is the likelihood of all points together.

    Args:
        points: (n, D) points, or a graph with at least k neighbours.
        k: neighbours used; larger k measures at a larger scale, with less variance and more bias.

    Returns:
        Dimension with a standard error that allows for shared neighbours. NaN where fewer than 20
        points have distinct neighbours.

    Source: Levina and Bickel 2004; pooling of MacKay and Ghahramani 2005.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> curve = rng.uniform(size=(1000, 1)) * np.ones(3)
        >>> d = mle_dimension(curve, k=5)
        >>> abs(d.value - 1) < 3 * d.stderr
        True
    """
    if k < 3:
        raise InputError(f"k must be at least 3, not {k}")
    graph = as_graph(points, k)
    settings = {"k": k}
    near = graph.distances[:, :k].astype(np.float64)
    usable = near[:, 0] > 0
    if np.count_nonzero(usable) < FEWEST:
        return undecided("mle_dimension", graph, settings, int(np.count_nonzero(usable)))
    inverse = np.log(near[usable, -1:] / near[usable, :-1]).mean(axis=1)
    if inverse.mean() == 0:
        return undecided("mle_dimension", graph, settings, len(inverse))
    d = float(1 / inverse.mean())
    influence = np.zeros(graph.n)
    influence[usable] = d - d**2 * inverse
    stderr = max(graph_stderr(graph, influence, usable, k), d / math.sqrt(len(inverse) * (k - 1)))
    return Measurement(
        "mle_dimension", d, stderr, len(inverse), settings, caveats=caveats(graph, d)
    )
