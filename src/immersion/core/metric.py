"""The abstract types that known, sampled and learned geometry share.

A capability that a space lacks is a type it does not have: a space without a closed `log` is a
`Manifold` and not a `GeodesicManifold`, so no method ever answers "not implemented".

Conventions: points `x, y` have shape `(*batch, *point_shape)`, tangent vectors `u, v` the shape of
their base point, and the base point comes first. All methods broadcast over leading dimensions
and work in the dtype (float32 or float64) and on the device of their arguments. A manifold is a
value: a frozen dataclass that compares by its parameters and holds no data, so that equal manifolds
can be stepped together and a copy of a module keeps its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, final

import torch

from immersion.core.arguments import check_methods, require_points
from immersion.core.errors import InputError
from immersion.core.scalars import safe_sqrt

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Metric(ABC):
    """A smoothly varying inner product on the tangent spaces of a set of points."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension of the tangent spaces."""

    @property
    @abstractmethod
    def point_shape(self) -> tuple[int, ...]:
        """Shape of one point, without batch dimensions."""

    @abstractmethod
    def inner(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """Inner product g_x(u, v) of two tangent vectors at `x`."""

    @final
    def norm(self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Length sqrt(g_x(u, u)), in the units of the metric.

        Rounding can leave g_x(u, u) slightly below zero; it is taken as zero there. The gradient
        at the zero vector is zero.
        """
        return safe_sqrt(self.inner(x, u, u))


class Manifold(Metric):
    """All that an optimiser needs: points and vectors brought back to the manifold, and a step.

    Each method that a subclass defines checks the shape and dtype of its tensors before it runs
    (`core.arguments`). Whether points lie on the manifold costs more to see, so it is `check` that
    sees it, and what takes points from a user calls it once.
    """

    def __init_subclass__(cls, **named: object) -> None:
        super().__init_subclass__(**named)
        check_methods(cls)

    @abstractmethod
    def proj(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """Point of the manifold near the ambient point `x`; idempotent."""

    @abstractmethod
    def to_tangent(
        self, x: Float[Tensor, "*b *p"], a: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Projection of the ambient vector `a` to the tangent space at `x`; idempotent."""

    @abstractmethod
    def egrad2rgrad(
        self, x: Float[Tensor, "*b *p"], g: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Riemannian gradient from the Euclidean one: inner(x, result, u) = <g, u>, tangent u."""

    @abstractmethod
    def christoffel(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """What the metric adds to a derivative: bilinear in tangent u, v, and symmetric.

        For a tangent field V, the Levi-Civita connection is
        to_tangent(x, DV(x)[u] + christoffel(x, u, V)). It is zero where the metric is that of the
        ambient space, as on the sphere. Newton's method needs it, first-order methods do not.
        """

    @abstractmethod
    def retract(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Point reached from `x` along `u`, equal to `exp` to first order."""

    @abstractmethod
    def transport(
        self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Tangent vector at `y` for `v` at `x`, an isometry; parallel unless said otherwise."""

    @abstractmethod
    def carry(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> tuple[Float[Tensor, "*b *p"], Float[Tensor, "*b *p"]]:
        """`retract(x, u)`, and `v` carried along to it in the cheapest way that suits momentum.

        What an optimiser does at every step. The vector is tangent at the new point and equals
        `transport` to zeroth order in u; it need not keep its length.
        """

    @abstractmethod
    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b *p"]:
        """Random points of shape `(*batch, *point_shape)`: uniform where the volume is finite.

        Elsewhere a normal vector of unit scale at the natural origin, through `exp`. The default
        dtype is torch's default dtype.
        """

    @abstractmethod
    def random_tangent(
        self, x: Float[Tensor, "*b *p"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b *p"]:
        """Standard normal tangent vector at each point of `x`, by the metric: E norm^2 = dim."""

    @abstractmethod
    def violation(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """How far each point is from the manifold, zero on it; in ambient units."""

    @final
    def check(
        self, x: Float[Tensor, "*b *p"], tolerance: float | None = None
    ) -> Float[Tensor, "*b *p"]:
        """`x` itself, if it is made of points of the manifold.

        Args:
            x: points (*b, *point_shape).
            tolerance: largest `violation` accepted; by default eps^0.6 of the dtype, which is
                7e-5 in float32 and 4e-10 in float64.

        Raises:
            InputError: wrong shape, dtype or device; NaN; off the manifold, with the residual met.
        """
        require_points(self, "check", x)
        limit = torch.finfo(x.dtype).eps ** 0.6 if tolerance is None else tolerance
        residual = self.violation(x.detach())
        off = ~(residual <= limit)
        if bool(off.any()):
            worst = float(residual[off].nan_to_num(torch.inf).max())
            raise InputError(
                f"{self}: {int(off.sum())} of {off.numel()} points of shape {tuple(x.shape)} are "
                f"not on the manifold: violation {worst:.3g}, tolerance {limit:.3g}. "
                "Bring them there with .proj(x)"
            )
        return x


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
    def wrapped_normal(
        self,
        mean: Float[Tensor, "*b *p"],
        scale: Float[Tensor, "*b"] | float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "*b *p"]:
        """Random points round `mean`: a normal tangent vector of that scale, through `exp`.

        One point is drawn for each point of `mean`; expand it for more. The scale is the standard
        deviation in every tangent direction, in the units of the metric.
        """
        u = self.random_tangent(mean, generator)
        size = torch.as_tensor(scale, dtype=u.dtype, device=u.device)
        return self.exp(mean, size.reshape(*size.shape, *(1,) * len(self.point_shape)) * u)

    @final
    def geodesic(
        self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"], t: Float[Tensor, "*b"] | float
    ) -> Float[Tensor, "*b *p"]:
        """Point at time `t` in [0, 1] of the shortest geodesic from `x` to `y`."""
        u = self.log(x, y)
        time = torch.as_tensor(t, dtype=u.dtype, device=u.device)
        return self.exp(x, time.reshape(*time.shape, *(1,) * len(self.point_shape)) * u)


class CurvedManifold(GeodesicManifold):
    """A geodesic manifold whose curvature has a closed form."""

    @abstractmethod
    def sectional_curvature(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """Curvature of the plane that tangent u and v span; zero where they span none."""
