"""Principal components: the linear picture that every other one is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from immersion.core.linalg import symmetric_eigen
from immersion.sampled.graph import as_points

_EXACT = 1024


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Coordinates along the leading principal directions.

    Attributes:
        coordinates: (n, c) scores, in the units of the points.
        explained: (c,) share of the total variance along each direction.
    """

    coordinates: NDArray[np.float32]
    explained: NDArray[np.float64]


def pca(
    points: ArrayLike | torch.Tensor, n_components: int = 2, *, random_state: int = 0
) -> PrincipalComponents:
    """The leading principal components.

    Exact (eigenvectors of the covariance or Gram matrix) where n or D is at most 1,024; else by a
    randomised range finder with power iterations, about 28 n D (c + 16) flops, which may mix
    directions whose variances differ by less than some percent. Directions beyond the rank of the
    data get coordinates and share 0. The sign of a direction is such that its largest coordinate
    is positive.

    Source: Halko, Martinsson, Tropp 2011.

    Example:
        >>> line = np.outer(np.arange(10.0), [3.0, 4.0])
        >>> pca(line).explained.round(6).tolist()
        [1.0, 0.0]
    """
    given = as_points(points)
    # Centring copies, so that read-only memory maps serve as well.
    centred = np.subtract(given, given.mean(axis=0), dtype=np.float32, casting="same_kind")
    x = torch.from_numpy(centred)  # pyright: ignore[reportUnknownMemberType]
    rank = min(n_components, *x.shape)
    if min(x.shape) <= _EXACT:
        left, scale = _exact(x)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            left, scale, _ = torch.svd_lowrank(x, q=rank + 16, niter=6)
    total = float(x.square().sum(dtype=torch.float64))
    found = left[:, :rank] * scale[:rank]
    largest = found.gather(0, found.abs().argmax(0, keepdim=True))
    found = found * torch.where(largest < 0, -1.0, 1.0)
    coordinates = np.zeros((len(x), n_components), np.float32)
    coordinates[:, :rank] = found.numpy()
    explained = np.zeros(n_components)
    explained[:rank] = scale[:rank].double().square().numpy() / total if total > 0 else 0.0
    return PrincipalComponents(coordinates, explained)


def _exact(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Left singular vectors and singular values, in descending order."""
    tall = x.shape[1] < x.shape[0]
    variances, vectors = symmetric_eigen(x.T @ x if tall else x @ x.T)
    scale = variances.clamp_min(0).sqrt().flip(0)
    vectors = vectors.flip(1)
    if not tall:
        return vectors, scale
    # Directions without variance have no left vector; zero scores stand for them.
    usable = torch.where(scale > scale[0] * 1e-6, scale, torch.inf)
    return x @ vectors / usable, scale
