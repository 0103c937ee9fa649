"""Intrinsic dimension from the angles between neighbours: expected simplex skewness."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.dimension.pca import PATCHES, centred_grams, euclidean_graph, patch_rows
from immersion.measure.dimension.uncertainty import (
    FEWEST,
    Sentence,
    patch_caveats,
    patch_stderr,
    undecided,
)

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from immersion.sampled.graph import NeighborGraph

_LARGEST = 1e4
"""Dimensions above this one are not told apart."""


def ess_dimension(
    points: ArrayLike | torch.Tensor | NeighborGraph,
    *,
    k: int = 10,
    patches: int = PATCHES,
    seed: int = 0,
) -> Measurement:
    """Intrinsic dimension from expected simplex skewness: high dimensions make right angles.

    The statistic is the area of the triangles that pairs of neighbours span with the centre of
    their patch, over the area if the angle were right:
    s = sum |v_i| |v_j| sin(v_i, v_j) / sum |v_i| |v_j|. It does not depend on how density varies
    with the radius, which makes it far less biased than distance ratios where n is small for the
    dimension. Its expectation is increasing in d and known (`expected_skewness`), here with the
    exact correction for a centre that is the mean of k points; without it, k = 12 takes 24
    dimensions for 20.

    Args:
        points: (n, D) points, or a Euclidean graph with at least k neighbours.
        k: points of a patch, at least 4.
        patches: most patches used, drawn at random.
        seed: of the draw.

    Returns:
        Dimension with a standard error that allows for overlapping patches. NaN where fewer than
        20 patches have an extent.

    Fails quietly where: the manifold bends within a patch (too high), or directions differ in
    density (too low).

    Raises:
        InputError: k < 4, too few neighbours, or a graph of another metric.

    Cost: patches k^2 D flops.

    Source: Johnsson, Soneson, Fontes 2015, doi:10.1109/TPAMI.2014.2343220, ESS(a) with d = 1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> flat = rng.normal(size=(1000, 24)) @ np.linalg.qr(rng.normal(size=(100, 24)))[0].T
        >>> d = ess_dimension(flat)
        >>> abs(d.value - 24) < 1
        True
    """
    if k < 4:
        raise InputError(f"k must be at least 4, not {k}")
    graph = euclidean_graph(points, k, "ess_dimension")
    rows = patch_rows(graph.n, patches, seed)
    settings = {"k": k, "patches": len(rows), "seed": seed}
    skewness = np.full(len(rows), np.nan)
    for part, gram in centred_grams(graph, k, rows):
        lengths = np.sqrt(np.einsum("mkk->mk", gram))
        right = lengths[:, :, None] * lengths[:, None, :]
        area = np.sqrt(np.maximum(right**2 - gram**2, 0))
        # The diagonals of both are pairs of a point with itself.
        weight = right.sum(axis=(1, 2)) - np.einsum("mkk->m", right)
        area = area.sum(axis=(1, 2)) - np.einsum("mkk->m", area)
        skewness[part] = np.divide(area, weight, where=weight > 0, out=np.full(len(area), np.nan))
    extended = np.isfinite(skewness)
    count = int(np.count_nonzero(extended))
    if count < FEWEST:
        return undecided("ess_dimension", graph, settings, count)
    mean = float(skewness[extended].mean())
    influence, usable = np.zeros(graph.n), np.zeros(graph.n, bool)
    usable[rows[extended]] = True
    influence[rows[extended]] = skewness[extended] - mean
    error = patch_stderr(graph, influence, usable, k)
    d = _dimension_of(mean, k)
    if math.isinf(d):
        why = Sentence(
            "right_angles",
            "angles are as right as patches of {k} points allow; larger k may decide",
            k=k,
        )
        return Measurement("ess_dimension", math.nan, math.nan, count, settings, None, (why,))
    # A difference over one standard error, since the expectation is flat in high dimension.
    above, below = _dimension_of(mean + error, k), _dimension_of(mean - error, k)
    stderr = (above - below) / 2 if math.isfinite(above) else d - below
    return Measurement("ess_dimension", d, stderr, count, settings, caveats=patch_caveats(graph, d))


def expected_skewness(d: float, k: int) -> float:
    """The statistic's expectation for k Gaussian points in d dimensions about their mean.

    Independent directions give Gamma(d/2)^2 / (Gamma((d+1)/2) Gamma((d-1)/2)). About the mean of k
    points any two vectors have the correlation rho = -1 / (k - 1), which multiplies the area by
    sqrt(1 - rho^2) and the product of lengths by 2F1(-1/2, -1/2; d/2; rho^2).

    Example:
        >>> round(expected_skewness(3.0, 10**9), 6) == round(math.pi / 4, 6)
        True
    """
    from scipy.special import gammaln, hyp2f1

    if d <= 1:
        return 0.0
    free = math.exp(2 * gammaln(d / 2) - gammaln((d + 1) / 2) - gammaln((d - 1) / 2))
    square = 1 / (k - 1) ** 2
    return float(free * math.sqrt(1 - square) / hyp2f1(-0.5, -0.5, d / 2, square))


def _dimension_of(skewness: float, k: int) -> float:
    """The dimension at which the skewness is expected; infinite above every expectation."""
    from scipy import optimize

    if skewness <= 0:
        return 1.0
    if skewness >= expected_skewness(_LARGEST, k):
        return math.inf

    def excess(d: float) -> float:
        return expected_skewness(d, k) - skewness

    return cast("float", optimize.brentq(excess, 1, _LARGEST, xtol=1e-9))
