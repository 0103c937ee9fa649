"""The three abstract types that known, sampled and learned geometry share.

A capability that a space lacks is a type it does not have: a space without a closed `log` is a
`Manifold` and not a `GeodesicManifold`, so no method ever answers "not implemented".

Conventions: points `x, y` have shape `(*batch, *point_shape)`, tangent vectors `u, v` the shape of
their base point, and the base point comes first. All methods broadcast over leading dimensions
and work in the dtype and on the device of their arguments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, final

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Metric(ABC):
    """A smoothly varying inner product on the tangent spaces of a set of points.

    Attributes:
        dim: dimension of the tangent spaces.
        point_shape: shape of one point, without batch dimensions.
    """

    dim: int
    point_shape: tuple[int, ...]

    @abstractmethod
    def inner(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """Inner product g_x(u, v) of two tangent vectors at `x`."""

    @final
    def norm(self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Length sqrt(g_x(u, u)), in the units of the metric.

        Rounding can leave g_x(u, u) slightly below zero; it is taken as zero there.
        """
        return torch.sqrt(torch.clamp_min(self.inner(x, u, u), 0))


class Manifold(Metric):
    """All that an optimiser needs: points and vectors brought back to the manifold, and a step."""

    @abstractmethod
    def proj(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """Point of the manifold near the ambient point `x`; idempotent."""

    @abstractmethod
    def to_tangent(
        self, x: Float[Tensor, "*b *p"], a: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Orthogonal projection of the ambient vector `a` to the tangent space at `x`."""

    @abstractmethod
    def egrad2rgrad(
        self, x: Float[Tensor, "*b *p"], g: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Riemannian gradient from the Euclidean one: inner(x, result, u) = <g, u>, tangent u."""

    @abstractmethod
    def retract(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Point reached from `x` along `u`, equal to `exp` to first order."""

    @abstractmethod
    def transport(
        self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Tangent vector at `y` that corresponds to `v` at `x`; parallel unless said otherwise."""

    @abstractmethod
    def random(
        self, *batch: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b *p"]:
        """Random points of shape `(*batch, *point_shape)`."""

    @abstractmethod
    def random_tangent(
        self, x: Float[Tensor, "*b *p"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b *p"]:
        """Standard normal tangent vector at each point of `x`."""

    @abstractmethod
    def violation(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """How far each point is from the manifold, zero on it; in ambient units."""


class GeodesicManifold(Manifold):
    """All that statistics need: shortest paths in closed form."""

    @abstractmethod
    def exp(self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """End point of the geodesic from `x` with initial velocity `u`, at time 1."""

    @abstractmethod
    def log(self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """Initial velocity of the shortest geodesic from `x` to `y`; inverse to `exp`."""

    @abstractmethod
    def dist(self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Geodesic distance, never squared."""

    @abstractmethod
    def injectivity_radius(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Radius around `x` within which `log` is unique and inverse to `exp`."""

    @final
    def geodesic(
        self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"], t: Float[Tensor, "*b"] | float
    ) -> Float[Tensor, "*b *p"]:
        """Point at time `t` in [0, 1] of the shortest geodesic from `x` to `y`."""
        u = self.log(x, y)
        time = torch.as_tensor(t, dtype=u.dtype, device=u.device)
        return self.exp(x, time.reshape(*time.shape, *(1,) * len(self.point_shape)) * u)
