"""Probability vectors under the Fisher-Rao metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold
from immersion.core.scalars import safe_length, safe_sqrt, sinc
from immersion.known.sphere import Sphere

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

RETRACTIONS = ("polar", "exp", "softmax")


@dataclass(frozen=True)
class Simplex(CurvedManifold):
    """Positive probability vectors of n+1 outcomes, with the Fisher information as metric.

    g_p(u, v) = sum u v / p. Points have shape (n+1,); tangent vectors sum to zero. The map
    p -> 2 sqrt(p) is an isometry to the positive part of a sphere of radius 2, so

        dist(p, q) = 2 arccos sum sqrt(p q),  at most pi,

    evaluated from the differences sqrt(q) - sqrt(p) = (q - p) / (sqrt(q) + sqrt(p)), which do not
    cancel. All methods cost O(n).

    A probability of zero lies on the boundary, at a finite distance, where the metric is infinite.
    Such points are accepted: `dist`, `log` and `transport` are those of the sphere, components of
    vectors and derivatives there count as zero. `proj` and `retract` stay inside, at least the
    square of eps from the boundary. A geodesic that runs on past the boundary is reflected there.

    Source: Amari and Nagaoka, "Methods of Information Geometry", 2000, chapter 2.

    Args:
        n: dimension, at least 1; one less than the number of outcomes.
        retraction: "polar", (sqrt(p) + u / (2 sqrt(p)))^2 normalised, of second order; "exp"; or
            "softmax", p exp(u / p) normalised, of first order (multiplicative weights).

    Example:
        >>> import immersion as im
        >>> simplex = im.Simplex(2)
        >>> p, q = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.1, 0.8, 0.1])
        >>> simplex.dist(p, q)
        tensor(1.1872)
        >>> simplex.geodesic(p, q, 0.5)
        tensor([0.2863, 0.5316, 0.1821])
    """

    n: int
    retraction: Literal["polar", "exp", "softmax"] = "polar"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"Simplex(n) needs a dimension n of at least 1, not {self.n}")
        if self.retraction not in RETRACTIONS:
            raise InputError(
                f"Simplex: retraction is one of {', '.join(RETRACTIONS)}; not {self.retraction!r}"
            )

    @property
    def dim(self) -> int:
        """Dimension n."""
        return self.n

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n+1,)."""
        return (self.n + 1,)

    def inner(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b"]:
        """Sum of u v / x, the covariance of the scores u / x and v / x."""
        return (u * v * _inverse(x)).sum(-1)

    def proj(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """x with its entries raised to at least eps^2, divided by their sum."""
        positive = torch.clamp_min(x, torch.finfo(x.dtype).eps ** 2)
        return positive / positive.sum(-1, keepdim=True)

    def to_tangent(
        self, x: Float[Tensor, "*b m"], a: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """a - (sum of a) x, orthogonal under the metric."""
        return a - a.sum(-1, keepdim=True) * x

    def egrad2rgrad(
        self, x: Float[Tensor, "*b m"], g: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """x (g - mean of g under x), the natural gradient."""
        return self.to_tangent(x, x * g)

    def christoffel(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """-u v / (2 x), its tangent part."""
        return self.to_tangent(x, -u * v * _inverse(x) / 2)

    def retract(self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The retraction chosen, kept inside."""
        if self.retraction == "exp":
            return self.proj(self.exp(x, u))
        score = u * _inverse(x)
        if self.retraction == "softmax":
            score = score - score.detach().amax(-1, keepdim=True)
            return self.proj(x * torch.exp(score))
        return self.proj(x * (1 + score / 2).square())

    def transport(
        self, x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """Parallel transport along the shortest geodesic, by that of the sphere."""
        s, t = safe_sqrt(x), safe_sqrt(y)
        return t * self._sphere.transport(s, t, v * _inverse(s))

    def carry(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> tuple[Float[Tensor, "*b m"], Float[Tensor, "*b m"]]:
        """The step, and the projection on the sphere of v to its tangent space."""
        y = self.retract(x, u)
        return y, self.to_tangent(y, v * safe_sqrt(y * _inverse(x)))

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b m"]:
        """Uniform in the volume of the metric: Dirichlet with all parameters 1/2."""
        point = self._sphere.random(*batch, generator=generator, dtype=dtype, device=device)
        return self.proj(point.square())

    def random_tangent(
        self, x: Float[Tensor, "*b m"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b m"]:
        """Normal tangent vector of the sphere, brought here."""
        s = safe_sqrt(x)
        return self.to_tangent(x, s * self._sphere.random_tangent(s, generator))

    def violation(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """|sum - 1|, and the most negative entry."""
        return (x.sum(-1) - 1).abs() + torch.clamp_min(-x.amin(-1), 0)

    def exp(self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """(cos|w| s + sinc|w| w)^2 with s = sqrt(x) and w = u / (2 s)."""
        s = safe_sqrt(x)
        w = u * _inverse(s) / 2
        angle = safe_length(w, keepdim=True)
        return (torch.cos(angle) * s + sinc(angle) * w).square()

    def log(self, x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """2 s times the logarithm of the sphere, s = sqrt(x)."""
        s, across, angle = _angle(x, y)
        size = safe_length(across, keepdim=True)
        apart = size > 0
        scale = torch.where(apart, angle / torch.where(apart, size, 1), 1)
        return 2 * s * scale * across

    def dist(self, x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """Twice the angle between sqrt(x) and sqrt(y); gradient zero at x = y."""
        return 2 * _angle(x, y)[2].squeeze(-1)

    def injectivity_radius(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """Distance to the boundary, twice the least of arcsin sqrt(x)."""
        return 2 * torch.arcsin(torch.clamp(safe_sqrt(x.amin(-1)), max=1))

    def sectional_curvature(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b"]:
        """1/4 for every plane; zero where u and v are parallel to rounding."""
        inverse = _inverse(safe_sqrt(x))
        return self._sphere.sectional_curvature(x, u * inverse, v * inverse) / 4

    @property
    def _sphere(self) -> Sphere:
        return Sphere(self.n)


def _inverse(x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
    """1 / x, and zero where x is not positive."""
    positive = x > 0
    return torch.where(positive, 1 / torch.where(positive, x, 1), 0)


def _angle(
    x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"]
) -> tuple[Float[Tensor, "*b m"], Float[Tensor, "*b m"], Float[Tensor, "*b 1"]]:
    """sqrt(x), the part of sqrt(y) orthogonal to it, and the angle between the two."""
    s, t = safe_sqrt(x), safe_sqrt(y)
    difference = (y - x) * _inverse(s + t)
    square = s.square().sum(-1, keepdim=True)
    across = difference - (s * difference).sum(-1, keepdim=True) / square * s
    along = (s * t).sum(-1, keepdim=True)
    return s, across, torch.atan2(square.sqrt() * safe_length(across, keepdim=True), along)
