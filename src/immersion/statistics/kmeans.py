"""Clusters round Frechet means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold
from immersion.statistics.cloud import require_cloud
from immersion.statistics.descent import descend

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Clusters:
    """Points grouped round centres.

    Attributes:
        centres: (k, *p) the Frechet mean of each cluster.
        labels: (n,) the centre nearest to each point; the first among equals.
        inertia: sum of the squared distances of the points to their centres.
        iterations: rounds of the start that was best.
        converged: whether the last round changed no label.
    """

    centres: Float[Tensor, "k *p"]
    labels: Int[Tensor, "n"]
    inertia: float
    iterations: int
    converged: bool


def kmeans(
    manifold: GeodesicManifold,
    points: Float[Tensor, "n *p"],
    n_clusters: int,
    *,
    n_init: int = 3,
    max_iterations: int = 100,
    random_state: int = 0,
) -> Clusters:
    """Clusters with least inertia, the sum of squared distances to the centres.

    Lloyd's algorithm from `n_init` starts by greedy k-means++, of which the best result counts:
    each a local minimum. A cluster that loses all its points moves to the point that is farthest
    from its own centre. If there are fewer different points than clusters, some centres coincide
    and have no points. Same points and `random_state`, same result.

    Cost of a round: n k distances, and some `log` of n points for the means, which start at those
    of the round before. Distances are held for 1 GiB of points at a time, not for all.

    Args:
        manifold: any manifold with geodesics.
        points: (n, *p), at least k.
        n_clusters: number k of clusters.
        n_init: number of starts.
        max_iterations: rounds after which to give up, for each start.
        random_state: seed of the starts.

    Raises:
        InputError: a manifold without geodesics; points off it, fewer than k or in more than one
            batch dimension; k, n_init or max_iterations below 1.

    Source: Lloyd 1982; Arthur and Vassilvitskii 2007.

    Example:
        >>> import immersion as im
        >>> angle = torch.tensor([0.0, 0.1, 3.0, 3.1])
        >>> found = kmeans(im.Sphere(1), torch.stack([angle.cos(), angle.sin()], -1), 2)
        >>> bool(found.labels[0] == found.labels[1] != found.labels[2]), round(found.inertia, 4)
        (True, 0.01)
    """
    if min(n_clusters, n_init, max_iterations) < 1:
        raise InputError(
            "kmeans: n_clusters, n_init and max_iterations are at least 1, not "
            f"{n_clusters}, {n_init} and {max_iterations}"
        )
    require_cloud(manifold, points, f"kmeans with n_clusters = {n_clusters}", least=n_clusters)
    if points.ndim != 1 + len(manifold.point_shape):
        raise InputError(
            f"kmeans takes one set of points, of shape (n, "
            f"{', '.join(map(str, manifold.point_shape))}), not {tuple(points.shape)}"
        )
    points = points.detach()
    generator = torch.Generator().manual_seed(random_state)
    runs = [
        _lloyd(manifold, points, _seeds(manifold, points, n_clusters, generator), max_iterations)
        for _ in range(n_init)
    ]
    return min(runs, key=lambda run: run.inertia)


@torch.no_grad()
def _lloyd(
    manifold: GeodesicManifold,
    points: Float[Tensor, "n *p"],
    centres: Float[Tensor, "k *p"],
    max_iterations: int,
) -> Clusters:
    """Rounds of assignment and means, until no label changes although the means are exact."""
    labels, squares = _nearest(manifold, points, centres)
    eps = torch.finfo(points.dtype).eps
    # Means need not be exact before the labels are.
    precision = rough = eps**0.25
    for iteration in range(1, max_iterations + 1):
        labels = _fill_empty(labels, squares, len(centres))
        centres = _means(manifold, points, labels, centres, precision)
        before = labels
        labels, squares = _nearest(manifold, points, centres)
        if bool((labels == before).all()):
            if precision < rough:
                return Clusters(centres, labels, float(squares.sum()), iteration, True)
            precision = eps**0.75
        else:
            precision = rough
    return Clusters(centres, labels, float(squares.sum()), max_iterations, False)


def _means(
    manifold: GeodesicManifold,
    points: Float[Tensor, "n *p"],
    labels: Int[Tensor, "n"],
    centres: Float[Tensor, "k *p"],
    precision: float,
) -> Float[Tensor, "k *p"]:
    """The Frechet mean of each cluster, all at once: each step takes one `log` of every point."""
    k, axes = len(centres), len(manifold.point_shape)
    counts = torch.bincount(labels, minlength=k).clamp_min(1).to(points.dtype)

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        at = x[labels]
        logs = manifold.log(at, points)
        force = torch.zeros_like(x).index_add(0, labels, logs)
        square = torch.zeros_like(counts).index_add(0, labels, manifold.inner(at, logs, logs))
        return force / counts.reshape(-1, *(1,) * axes), square / counts

    found = descend(
        manifold,
        centres,
        moments,
        points.abs().max().expand(k),
        tolerance=precision,
        max_iterations=100,
    )
    return found.point


def _nearest(
    manifold: GeodesicManifold, points: Float[Tensor, "n *p"], centres: Float[Tensor, "k *p"]
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
    """The nearest centre of each point, and its squared distance."""
    found = [square.min(-1) for square in _squares(manifold, points, centres)]
    labels = torch.cat([nearest.indices for nearest in found])
    return labels, torch.cat([nearest.values for nearest in found])


def _squares(
    manifold: GeodesicManifold, points: Float[Tensor, "n *p"], centres: Float[Tensor, "k *p"]
) -> list[Float[Tensor, "m k"]]:
    """Squared distances to all centres, for pieces of the points that fit the memory."""
    row = 4 * points.itemsize * math.prod(centres.shape)
    return [
        manifold.dist(points[piece].unsqueeze(1), centres).square()
        for piece in row_chunks(len(points), row)
    ]


@torch.no_grad()
def _seeds(
    manifold: GeodesicManifold,
    points: Float[Tensor, "n *p"],
    k: int,
    generator: torch.Generator,
) -> Float[Tensor, "k *p"]:
    """Centres among the points, spread out: greedy k-means++.

    Each new centre is the best of a few that are drawn with odds by squared distance to the
    centres so far.
    """
    trials = 2 + int(math.log(k))
    first = int(torch.randint(len(points), (), generator=generator))
    chosen = [first]
    squares = torch.cat(_squares(manifold, points, points[first : first + 1])).squeeze(1)
    for _ in range(1, k):
        heights = squares.double().cumsum(0)
        draws = torch.rand(trials, generator=generator, dtype=torch.float64).to(heights.device)
        drawn = torch.searchsorted(heights, draws * heights[-1], right=True)
        drawn = drawn.clamp(max=len(points) - 1)
        left = [
            torch.minimum(squares, torch.cat(_squares(manifold, points, points[i : i + 1])).T[0])
            for i in map(int, drawn)
        ]
        best = int(torch.stack([square.sum() for square in left]).argmin())
        squares = left[best]
        chosen.append(int(drawn[best]))
    return points[chosen]


def _fill_empty(labels: Int[Tensor, "n"], squares: Float[Tensor, "n"], k: int) -> Int[Tensor, "n"]:
    """Labels in which each empty cluster has taken the point farthest from its centre."""
    empty = (torch.bincount(labels, minlength=k) == 0).nonzero().squeeze(1)
    farthest = squares.argsort(descending=True, stable=True)[: len(empty)]
    farthest = farthest[squares[farthest] > 0]
    labels = labels.clone()
    labels[farthest] = empty[: len(farthest)]
    return labels
