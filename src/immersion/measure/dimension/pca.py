"""Intrinsic dimension from local principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.dimension.uncertainty import (
    FEWEST,
    patch_caveats,
    patch_stderr,
    undecided,
)
from immersion.sampled.graph import as_graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import ArrayLike, NDArray

    from immersion.sampled.graph import NeighborGraph

PATCHES = 2000
"""Patches drawn where the data has more points: their error is below that of the estimators."""


def pca_dimension(
    points: ArrayLike | torch.Tensor | NeighborGraph,
    *,
    k: int = 12,
    patches: int = PATCHES,
    seed: int = 0,
) -> Measurement:
    """Intrinsic dimension from how evenly the variance of small patches is spread.

    d = (sum over patches of tr(S)^2) / (sum of tr(S^2)), the participation ratio of the covariance
    S of the k nearest neighbours of a point: d where the patch is flat and isotropic. Both traces
    are estimated without bias (a sample covariance of 12 points in 24 dimensions has a
    participation ratio of 8, not 24), so k may be smaller than d. No threshold is chosen.

    Args:
        points: (n, D) points, or a Euclidean graph with at least k neighbours.
        k: points of a patch, at least 4.
        patches: most patches used, drawn at random.
        seed: of the draw.

    Returns:
        Dimension with a standard error that allows for overlapping patches. NaN where fewer than
        20 patches have an extent.

    Fails quietly where: the manifold bends within a patch (too high by twice the share of variance
    normal to it), directions differ in density or noise is as large as a patch.

    Raises:
        InputError: k < 4, too few neighbours, or a graph of another metric.

    Cost: patches k^2 D flops.

    Source: unbiased traces of Himeno and Yamada 2014, doi:10.1016/j.jmva.2014.04.018.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> flat = rng.normal(size=(1000, 15)) @ rng.normal(size=(15, 80))
        >>> sphere = rng.normal(size=(1000, 6))
        >>> sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
        >>> d = pca_dimension(sphere)
        >>> abs(d.value - 5) < 0.2
        True
    """
    if k < 4:
        raise InputError(f"k must be at least 4, not {k}")
    graph = euclidean_graph(points, k, "pca_dimension")
    rows = patch_rows(graph.n, patches, seed)
    settings = {"k": k, "patches": len(rows), "seed": seed}
    squared, of_square = np.zeros(len(rows)), np.zeros(len(rows))
    for part, gram in centred_grams(graph, k, rows):
        squared[part], of_square[part] = _traces(gram)
    extended = squared > 0
    count = int(np.count_nonzero(extended))
    if count < FEWEST:
        return undecided("pca_dimension", graph, settings, count)
    squared, of_square = squared[extended], of_square[extended]
    d = float(squared.sum() / of_square.sum())
    influence, usable = np.zeros(graph.n), np.zeros(graph.n, bool)
    usable[rows[extended]] = True
    influence[rows[extended]] = (squared - d * of_square) / of_square.mean()
    stderr = patch_stderr(graph, influence, usable, k)
    return Measurement("pca_dimension", d, stderr, count, settings, caveats=patch_caveats(graph, d))


def euclidean_graph(
    points: ArrayLike | torch.Tensor | NeighborGraph, k: int, who: str
) -> NeighborGraph:
    """The graph, if angles and covariances have a meaning in it.

    Raises:
        InputError: the graph's metric is not Euclidean, or it has no points.
    """
    graph = as_graph(points, k)
    if graph.metric != "euclidean":
        raise InputError(f"{who} needs a Euclidean graph; this one has the metric {graph.metric!r}")
    if graph.points.shape[1] == 0:
        raise InputError(f"{who} needs the points, and the graph was made without them")
    return graph


def patch_rows(n: int, patches: int, seed: int) -> NDArray[np.int64]:
    """At most `patches` of n rows, ascending, drawn at random.

    Raises:
        InputError: fewer than 20 patches are asked for.
    """
    if patches < FEWEST:
        raise InputError(f"patches must be at least {FEWEST}, not {patches}")
    if n <= patches:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, patches, replace=False))


def centred_grams(
    graph: NeighborGraph, k: int, rows: NDArray[np.int64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Inner products (m, k, k) of the k neighbours of each row about their mean, in chunks.

    Patches are scaled to a mean squared length of one, or are zero.
    """
    width = graph.points.shape[1]
    for part in row_chunks(len(rows), k * (2 * width * graph.points.itemsize + 24 * k), 1 << 26):
        patch = graph.points[graph.indices[rows[part], :k]]
        patch = patch - patch.mean(axis=1, keepdims=True)
        # Scaled before the product, so that neither 1e-30 nor 1e30 is lost in float32.
        largest = np.abs(patch).max(axis=(1, 2), keepdims=True)
        patch /= np.where(largest > 0, largest, 1)
        gram = (patch @ patch.swapaxes(1, 2)).astype(np.float64)
        size = np.einsum("mkk->m", gram)[:, None, None] / k
        yield part, gram / np.where(size > 0, size, 1)


def _traces(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unbiased tr(S)^2 and tr(S^2) of the covariance behind each Gram matrix of centred points.

    In units of the squared sample trace. Himeno and Yamada 2014, equation 2.1, and its like for
    tr(S)^2; exact for any distribution with fourth moments.
    """
    k = gram.shape[1]
    trace = np.einsum("mkk->m", gram) / (k - 1)
    square = np.einsum("mij,mij->m", gram, gram) / (k - 1) ** 2
    fourth = np.einsum("mkk,mkk->m", gram, gram) / (k - 1)
    scale = (k - 1) / (k * (k - 2) * (k - 3))
    of_square = scale * ((k - 1) * (k - 2) * square + trace**2 - k * fourth)
    squared = scale * (2 * square + (k * k - 3 * k + 1) * trace**2 - k * fourth)
    return squared, of_square
