"""The Grassmann manifold: subspaces, each given by an orthonormal basis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, final, get_args

import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.core.linalg import broadcast, length, singular_values
from immersion.core.metric import CurvedManifold
from immersion.core.scalars import safe_length
from immersion.known.orthonormal.factors import (
    haar,
    per_area,
    plus_product,
    product,
    residual,
    settled,
    sym,
)
from immersion.known.orthonormal.moves import geodesic_step, step, turn
from immersion.known.orthonormal.operators import batched_operator
from immersion.known.orthonormal.polar import polar

if TYPE_CHECKING:
    from jaxtyping import Float

Retraction = Literal["polar", "qr", "exp"]


@final
@dataclass(frozen=True)
class Grassmann(CurvedManifold):
    """Subspaces of dimension p of R^n, with the Euclidean length of their principal angles.

    A point is given by n x p orthonormal columns x that span it: x and x o, for any orthogonal
    p x p matrix o, are the same point, and functions to be optimised should not tell them apart.
    Tangent vectors at x are the u with x^T u = 0; at x o the same vector is u o. The metric is
    tr(u^T v), and dist(x, y)^2 the sum of the squared principal angles.

    Everything here is a product, a p x p singular value decomposition or a function of a p x p
    matrix, O(n p^2). Angles are found from their sines or their cosines, accurate both at 0 and at
    pi / 2 (`tests/oracle/test_orthonormal_oracle.py`).

    Args:
        n: dimension of the space, at least 2.
        p: dimension of the subspaces, 1 to n - 1.
        retraction: "polar", by matrix products alone; "qr", the same subspace in another basis;
            or "exp". All are of second order.

    Raises:
        InputError: p below 1, p not below n, or an unknown retraction.

    Example:
        >>> import torch, immersion as im
        >>> planes = im.Grassmann(3, 2)
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> y = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
        >>> planes.dist(x, y)
        tensor(1.5708)
    """

    n: int
    p: int
    retraction: Retraction = "polar"

    def __post_init__(self) -> None:
        if not 1 <= self.p < self.n:
            raise InputError(f"Grassmann(n, p) needs 1 <= p < n, not n = {self.n}, p = {self.p}")
        if self.retraction not in get_args(Retraction):
            raise InputError(
                f"Grassmann: retraction is one of {', '.join(get_args(Retraction))}; "
                f"not {self.retraction!r}"
            )

    @property
    def dim(self) -> int:
        """p (n - p)."""
        return self.p * (self.n - self.p)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n, p)."""
        return (self.n, self.p)

    def inner(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b"]:
        """tr(u^T v), whatever x."""
        return product(u, v)

    def proj(self, x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
        """Polar factor: an orthonormal basis of the columns, the nearest one to them.

        Where columns depend, the basis is completed, always in the same way.
        """
        return polar(x)

    def to_tangent(
        self, x: Float[Tensor, "*b n p"], a: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """a - x x^T a."""
        return plus_product(a, x, x.mT @ a, -1)

    def egrad2rgrad(
        self, x: Float[Tensor, "*b n p"], g: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """Tangent part of g."""
        return self.to_tangent(x, g)

    def christoffel(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """Zero: the projection of an ambient derivative is the connection."""
        return torch.zeros_like(x * u * v)

    def retract(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """The retraction chosen."""
        return step(x, u, self.retraction, 0.5)

    def transport(
        self, x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """Parallel transport along the shortest geodesic, given in the basis y.

        With y' = y o the basis of y nearest to x, it is the rotation of R^n that takes x to y' and
        moves nothing else. Where an angle is pi / 2, along the geodesic that `log` chooses.
        """
        o = _alignment(x, y)
        return turn(x, y @ o, v) @ o.mT

    def carry(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> tuple[Float[Tensor, "*b n p"], Float[Tensor, "*b n p"]]:
        """The step, and the projection of v to its tangent space."""
        y = self.retract(x, u)
        return y, self.to_tangent(y, v)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b n p"]:
        """Uniform bases of uniform subspaces."""
        return haar(self.n, self.p, batch, generator, dtype, device)

    def random_tangent(
        self, x: Float[Tensor, "*b n p"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b n p"]:
        """Tangent part of a standard normal matrix."""
        a = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return self.to_tangent(x, a)

    def violation(self, x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
        """Spectral norm of x^T x - I: no unit vector z has |x z|^2 further from 1."""
        return residual(x)

    def exp(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """x v cos(s) v^T + q sin(s) v^T, for u = q s v^T; as functions of u^T u."""
        return geodesic_step(x, u, 0.5)

    def log(
        self, x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """(I - x x^T) y' f(x^T y'), f(cos t) = t / sin t, with y' the basis of y nearest to x.

        x^T y' is symmetric with eigenvalues in [0, 1], where f is analytic: a Chebyshev series in
        it is exact to rounding and differentiable to any order. Where an angle is pi / 2 several
        geodesics are shortest; one is chosen, with gradient zero in the choice.
        """
        return _log(settled(x), settled(y))

    def dist(self, x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
        """Length of the principal angles. Its gradient is the unit vector away, zero at y = x."""
        return cast("Tensor", _grassmann_distance(*broadcast(settled(x), settled(y))))

    def injectivity_radius(self, x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
        """pi / 2, everywhere."""
        return torch.full_like(x[..., 0, 0], math.pi / 2)

    def sectional_curvature(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b"]:
        """(|u^T v - v^T u|^2 + |u v^T - v u^T|^2) / (2 area), between 0 and 2 (Wong 1968).

        The area is |u|^2 |v|^2 - <u, v>^2.
        """
        cross = u.mT @ v
        turned = cross - cross.mT
        bend = product(turned, turned) / 2 + product(u.mT @ u, v.mT @ v) - product(cross, cross.mT)
        return per_area(self, x, u, v, bend)


def _alignment(x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b p p"]:
    """Orthogonal o that makes y o nearest to x: then x^T y o is positive semi-definite."""
    return polar(x.mT @ y).mT


def _log(x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    o = _alignment(x, y)
    return _across(x, y) @ o @ _theta_over_sine(sym(x.mT @ y @ o))


def _across(x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """(I - x x^T) y, from y - x: exact to the last digits where the bases are near."""
    d = y - x
    return d - x @ (x.mT @ d)


def _chebyshev(function: Callable[[float], float], degree: int) -> list[float]:
    """Coefficients of the Chebyshev series on [0, 1]."""
    angles = [math.pi * (k + 0.5) / 64 for k in range(64)]
    values = [function((1 + math.cos(angle)) / 2) for angle in angles]
    pairs = list(zip(values, angles, strict=True))
    return [
        (2 if j else 1) / 64 * math.fsum(value * math.cos(j * angle) for value, angle in pairs)
        for j in range(degree + 1)
    ]


def _angle_over_sine(cosine: float) -> float:
    sine = math.sqrt((1 - cosine) * (1 + cosine))  # no digits are lost where the cosine is near 1
    return math.atan2(sine, cosine) / sine


#: The series of t / sin t in cos t: its singularity at -1 makes each term 5.8 times smaller.
_SERIES = _chebyshev(_angle_over_sine, 21)


def _theta_over_sine(cosines: Float[Tensor, "*b p p"]) -> Float[Tensor, "*b p p"]:
    """f(c), f(cos t) = t / sin t, for symmetric c of eigenvalues in [0, 1], by Clenshaw's rule."""
    eye = torch.eye(cosines.shape[-1], dtype=cosines.dtype, device=cosines.device)
    double = 4 * cosines - 2 * eye
    after, term = torch.zeros_like(cosines), _SERIES[-1] * eye.expand_as(cosines)
    for coefficient in reversed(_SERIES[1:-1]):
        after, term = term, coefficient * eye + double @ term - after
    return _SERIES[0] * eye + double @ term / 2 - after


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """Length of the principal angles, each from its sine up to pi / 4 and its cosine above.

    The cosines are singular values. Of the sines only squares enter, to eps of the largest: the
    eigenvalues of a Gram matrix have them, and cost half as much as singular values.
    """
    cosines = singular_values(x.mT @ y)
    across = _across(x, y)
    squares = cast("Tensor", torch.linalg.eigvalsh(across.mT @ across)).clamp_min(0)
    small = torch.asin(squares.sqrt().clamp_max(1))
    return length(torch.where(squares < 0.5, small, torch.acos(cosines.clamp_max(1))))


def _distance_backward(inputs: tuple[Tensor, Tensor], output: Tensor, g: Tensor) -> Any:
    x, y = inputs
    u, v = _log(x, y), _log(y, x)
    length = safe_length(u.flatten(-2))[..., None, None]
    apart = length > 0
    size = torch.where(apart, g[..., None, None] / torch.where(apart, length, 1), 0)
    return -size * u, -size * v


_grassmann_distance = batched_operator("grassmann_distance", _distance, _distance_backward, core=0)
