"""The rotations of R^n."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final, get_args

import torch

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold
from immersion.known.orthonormal.factors import exponential, haar, per_area, product, residual, skew
from immersion.known.orthonormal.logarithms.rotation import orthogonal_dist, orthogonal_log
from immersion.known.orthonormal.moves import Retraction, geodesic_step, step
from immersion.known.orthonormal.polar import polar_rotation

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
@dataclass(frozen=True)
class Rotations(CurvedManifold):
    """SO(n): orthogonal n x n matrices of determinant 1, under the ambient metric tr(u^T v).

    A turn by the angle t in one plane has length sqrt(2) |t| under this metric, and dist(x, y) is
    sqrt(2) times the length of the vector of angles of x^T y; for angles themselves, divide by
    sqrt(2). Tangent vectors at x are x w with w skew-symmetric. All methods cost O(n^3).

    Args:
        n: size of the matrices, at least 2.
        retraction: "polar", the nearest rotation to x + u, by matrix products alone; "qr", of first
            order (the others are of second); "cayley"; or "exp".

    Raises:
        InputError: n below 2, or an unknown retraction.

    Example:
        >>> import torch, immersion as im
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> im.Rotations(2).log(torch.eye(2), turn)
        tensor([[ 0.0000, -1.5708],
                [ 1.5708,  0.0000]])
    """

    n: int
    retraction: Retraction = "polar"

    def __post_init__(self) -> None:
        if self.n < 2:
            raise InputError(f"Rotations(n) needs n of at least 2, not {self.n}")
        if self.retraction not in get_args(Retraction):
            raise InputError(
                f"Rotations: retraction is one of {', '.join(get_args(Retraction))}; "
                f"not {self.retraction!r}"
            )

    @property
    def dim(self) -> int:
        """n (n - 1) / 2."""
        return self.n * (self.n - 1) // 2

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n, n)."""
        return (self.n, self.n)

    def inner(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b"]:
        """tr(u^T v), whatever x."""
        return product(u, v)

    def proj(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """Nearest rotation, by a singular value decomposition; its determinant is 1 always.

        Where several are nearest (the least singular value repeats and the determinant is negative,
        or the rank is below n - 1) one is taken, always the same, with gradient zero in the choice.
        """
        return polar_rotation(x)

    def to_tangent(
        self, x: Float[Tensor, "*b n n"], a: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """x skew(x^T a)."""
        return x @ skew(x.mT @ a)

    def egrad2rgrad(
        self, x: Float[Tensor, "*b n n"], g: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Tangent part of g."""
        return self.to_tangent(x, g)

    def christoffel(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Zero: the metric is that of the ambient space."""
        return torch.zeros_like(x * u * v)

    def retract(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """The retraction chosen."""
        return step(x, u, self.retraction, 0.5)

    def transport(
        self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Parallel transport along the shortest geodesic: x h (x^T v) h, with h^2 = x^T y."""
        h = exponential(orthogonal_log(x, y) / 2)
        return x @ h @ (x.mT @ v) @ h

    def carry(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> tuple[Float[Tensor, "*b n n"], Float[Tensor, "*b n n"]]:
        """The step, and the projection of v to its tangent space."""
        y = self.retract(x, u)
        return y, self.to_tangent(y, v)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b n n"]:
        """Uniform rotations."""
        return haar(self.n, self.n, batch, generator, dtype, device)

    def random_tangent(
        self, x: Float[Tensor, "*b n n"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b n n"]:
        """Tangent part of a standard normal matrix."""
        a = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return self.to_tangent(x, a)

    def violation(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """Spectral norm of x^T x - I, and 2 more, the way to a rotation, where det x < 0."""
        reflected = torch.det(x.detach()) < 0
        return residual(x) + 2 * reflected.to(x.dtype)

    def exp(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """End of the geodesic with velocity u: x times the exponential of x^T u."""
        return geodesic_step(x, u, 0.5)

    def log(
        self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b n n"]:
        """Velocity of the shortest geodesic to y: x times the principal logarithm of x^T y.

        Rotations by pi itself have two shortest geodesics in each such plane; one is chosen, always
        the same. The gradient is finite there, and differentiates once.
        """
        return x @ orthogonal_log(x, y)

    def dist(self, x: Float[Tensor, "*b n n"], y: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """sqrt(2) times the length of the angles of x^T y; gradient zero at y = x."""
        return orthogonal_dist(x, y)

    def injectivity_radius(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
        """sqrt(2) pi: one plane turned by pi."""
        return torch.full_like(x[..., 0, 0], math.sqrt(2) * math.pi)

    def sectional_curvature(
        self, x: Float[Tensor, "*b n n"], u: Float[Tensor, "*b n n"], v: Float[Tensor, "*b n n"]
    ) -> Float[Tensor, "*b"]:
        """|[x^T u, x^T v]|^2 / (4 area), of a bi-invariant metric; at most 1/4, and 1/8 for n = 3.

        The area is |u|^2 |v|^2 - <u, v>^2.
        """
        cross = u.mT @ v
        bracket = cross - cross.mT
        return per_area(self, x, u, v, product(bracket, bracket) / 4)
