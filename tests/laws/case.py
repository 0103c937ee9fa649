"""One entry of the table of manifolds that the laws run over."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from immersion.core.metric import GeodesicManifold, Manifold


@dataclass(frozen=True)
class Case:
    """A manifold and what the laws have to know of it.

    Attributes:
        name: unique among all cases.
        manifold: small, since gradients are checked entry by entry.
        order: 2 where the retraction agrees with exp up to t^3, 1 where up to t^2.
        reach: length of tangent vectors used where the injectivity radius is infinite.
        quotient: points are classes, so that two of them are compared by `dist`.
        conditioning: factor on the tolerance for rounding, where the manifold's own condition
            numbers call for it.
    """

    name: str
    manifold: Manifold
    order: int = 2
    reach: float = 1.0
    quotient: bool = False
    conditioning: float = 1.0

    def tolerance(self, dtype: torch.dtype) -> float:
        """Rounding allowed in one evaluation, for values of size one."""
        return 200 * self.conditioning * torch.finfo(dtype).eps

    def generator(self, seed: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    def points(self, *batch: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.manifold.random(*batch, generator=self.generator(seed), dtype=dtype)

    def tangent(self, x: Tensor, length: float, seed: int = 1) -> Tensor:
        """A random tangent vector of that norm at each point."""
        u = self.manifold.random_tangent(x, self.generator(seed))
        norm = self.manifold.norm(x, u)
        return u * (length / norm).reshape(*norm.shape, *(1,) * len(self.manifold.point_shape))

    def within(self, x: Tensor, fraction: float) -> float:
        """A length inside the injectivity radius at all points of x."""
        if not isinstance(self.manifold, GeodesicManifold):
            return fraction * self.reach
        return fraction * min(self.reach, float(self.manifold.injectivity_radius(x).min()))

    def difference(self, x: Tensor, y: Tensor) -> float:
        """Largest distance between points that should be equal."""
        if self.quotient:
            assert isinstance(self.manifold, GeodesicManifold)
            return float(self.manifold.dist(x, y).max())
        return float((x - y).abs().max())
