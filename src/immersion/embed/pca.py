"""Principal components: the linear picture that every other one is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from immersion.sampled.graph import as_points


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
    """The leading principal components by a randomised range finder with power iterations.

    Directions beyond the rank of the data get coordinates and share 0. The sign of a direction is
    such that its largest coordinate is positive. Cost: about 14 n D (c + 8) flops.

    Source: Halko, Martinsson, Tropp 2011.

    Example:
        >>> line = np.outer(np.arange(10.0), [3.0, 4.0])
        >>> pca(line).explained.round(6).tolist()
        [1.0, 0.0]
    """
    x = torch.from_numpy(as_points(points)).float()  # pyright: ignore[reportUnknownMemberType]
    x = x - x.mean(0)
    rank = min(n_components, *x.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        left, scale, _ = torch.svd_lowrank(x, q=min(rank + 8, *x.shape), niter=4)  # pyright: ignore[reportUnknownMemberType]
    total = float(x.square().sum(dtype=torch.float64))
    found = left[:, :rank] * scale[:rank]
    largest = found.gather(0, found.abs().argmax(0, keepdim=True))
    found = found * torch.where(largest < 0, -1.0, 1.0)
    coordinates = np.zeros((len(x), n_components), np.float32)
    coordinates[:, :rank] = found.numpy()
    explained = np.zeros(n_components)
    explained[:rank] = scale[:rank].double().square().numpy() / total if total > 0 else 0.0
    return PrincipalComponents(coordinates, explained)
