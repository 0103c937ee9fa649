"""Estimates by class, and beside their nulls: the same estimate on data without structure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from immersion.core.measurement import Measurement
from immersion.measure.dimension.uncertainty import (
    FEWEST,
    Sentence,
)
from immersion.sampled.graph import NeighborGraph, as_points, neighbor_graph

Estimate = Callable[[ArrayLike | NeighborGraph], Measurement]


def dimension_per_class(
    estimate: Estimate,
    points: ArrayLike,
    labels: NDArray[np.integer],
    classes: Sequence[str],
    *,
    fewest: int = 3 * FEWEST,
) -> dict[str, Measurement]:
    """The dimension of each class on its own: neighbours are searched within the class.

    Classes with fewer than `fewest` points are not decidable and say so.
    """
    x = as_points(points)
    measured: dict[str, Measurement] = {}
    for index, name in enumerate(classes):
        members = x[labels == index]
        if len(members) < fewest:
            why = Sentence(
                "small_class",
                "the class has {n} samples and {fewest} are needed",
                n=len(members),
                fewest=fewest,
            )
            measured[name] = Measurement(
                "dimension", math.nan, math.nan, len(members), {}, None, (why,)
            )
        else:
            measured[name] = estimate(members)
    return measured


def against_shuffled(
    estimate: Estimate, points: ArrayLike | NeighborGraph, *, seed: int = 0, k: int = 10
) -> Measurement:
    """The estimate with its null: the same estimate on the points with shuffled features.

    Args:
        estimate: `two_nn`, `mle_dimension` or the like.
        points: (n, D) points or their graph, which is not searched again.
        seed: of the shuffle.
        k: neighbours of the control's graph, at least what `estimate` needs.
    """
    return _against(estimate, points, shuffle_features, seed, k)


def against_gaussian(
    estimate: Estimate, points: ArrayLike | NeighborGraph, *, seed: int = 0, k: int = 10
) -> Measurement:
    """The estimate with its null: the same estimate on a Gaussian of the points' covariance.

    A value below this null says that the data bends or branches inside its linear span; equal
    values say that principal components tell all that there is.

    Args:
        estimate: `two_nn`, `mle_dimension` or the like.
        points: (n, D) points or their graph, which is not searched again.
        seed: of the sample.
        k: neighbours of the control's graph, at least what `estimate` needs.

    Example:
        >>> from immersion.measure.dimension import two_nn
        >>> angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 1000)
        >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        >>> d = against_gaussian(two_nn, circle)
        >>> round(d.value), round(d.null.value)
        (1, 2)
    """
    return _against(estimate, points, gaussian_like, seed, k)


def shuffle_features(points: NDArray[np.floating], seed: int) -> NDArray[np.floating]:
    """A control without structure: every feature permuted over the samples on its own.

    Each feature keeps its distribution and loses its relation to all others, so what remains is
    the dimension of noise with these margins at this n and D.
    """
    return np.random.default_rng(seed).permuted(points, axis=0)


def gaussian_like(points: NDArray[np.floating], seed: int) -> NDArray[np.floating]:
    """A control that is flat: n samples of the Gaussian with the points' mean and covariance.

    z @ (points - mean) / sqrt(n) with standard normal z has that covariance exactly. Where D < n,
    the D x D factor R of a QR decomposition stands for the centred points.

    Cost: O(n D min(n, D)) flops.
    """
    centre = points.mean(axis=0, dtype=np.float64).astype(points.dtype)
    factor = points - centre
    if points.shape[1] < len(points):
        factor = np.linalg.qr(factor, mode="r")
    noise = np.random.default_rng(seed).standard_normal(
        (len(points), len(factor)), dtype=points.dtype.type
    )
    return centre + noise @ factor / points.dtype.type(math.sqrt(len(points)))


def _against(
    estimate: Estimate,
    points: ArrayLike | NeighborGraph,
    control: Callable[[NDArray[np.floating], int], NDArray[np.floating]],
    seed: int,
    k: int,
) -> Measurement:
    x = points.points if isinstance(points, NeighborGraph) else as_points(points)
    measured = estimate(points)
    if not measured.decidable:
        return measured
    return replace(measured, null=estimate(neighbor_graph(control(x, seed), k)))
