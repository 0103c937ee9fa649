"""Intrinsic dimension from the ratio of the two smallest neighbour distances."""

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


def two_nn(points: ArrayLike | torch.Tensor | NeighborGraph, *, keep: float = 0.9) -> Measurement:
    """Intrinsic dimension from the ratio of the second to the first neighbour's distance.

    On a d-dimensional manifold sampled densely, mu = r2 / r1 has P(mu > t) = t^-d, so log mu is
    exponential with rate d. The largest 1 - keep of the ratios are censored, which keeps outliers
    out, and the maximum-likelihood rate of the censored sample is taken:
    d = m / (sum of the m kept log mu + (n - m) log mu_m).

    Args:
        points: (n, D) points, or a graph with k >= 2.
        keep: share of ratios below the censoring point, in (0, 1].

    Returns:
        Dimension (a pure number) with a standard error that allows for shared neighbours. NaN where
        fewer than 20 points have two distinct neighbours.

    Fails quietly where: the density changes within two neighbour distances, noise is larger than
    the distance to the neighbours, or d > 2 log10(n) (then it is a lower bound; a caveat says so).

    Source: Facco, d'Errico, Rodriguez, Laio 2017, doi:10.1038/s41598-017-11873-y; censoring in
    place of their regression makes it the exact maximum-likelihood estimate.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> plane = rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 50))
        >>> d = two_nn(plane)
        >>> abs(d.value - 2) < 3 * d.stderr
        True
    """
    if not 0 < keep <= 1:
        raise InputError(f"keep must lie in (0, 1], not {keep}")
    graph = as_graph(points, 2)
    settings = {"keep": keep}
    first, second = graph.distances[:, 0].astype(np.float64), graph.distances[:, 1]
    usable = first > 0
    if np.count_nonzero(usable) < FEWEST:
        return undecided("two_nn", graph, settings, int(np.count_nonzero(usable)))
    logs = np.log(second[usable] / first[usable])
    m = max(2, int(keep * len(logs)))
    bound = np.partition(logs, m - 1)[m - 1]
    below, censored = logs <= bound, np.minimum(logs, bound)
    if censored.sum() == 0:
        return undecided("two_nn", graph, settings, len(logs))
    d = float(np.count_nonzero(below) / censored.sum())
    influence = np.zeros(graph.n)
    influence[usable] = (below - d * censored) / censored.mean()
    stderr = max(graph_stderr(graph, influence, usable, 2), d / math.sqrt(m))
    return Measurement("two_nn", d, stderr, len(logs), settings, caveats=caveats(graph, d))
