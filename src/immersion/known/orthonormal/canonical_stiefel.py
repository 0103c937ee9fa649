"""The Stiefel manifold under its canonical metric."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch

from immersion.known.orthonormal.factors import per_area, plus_product, product, skew
from immersion.known.orthonormal.frames import Frames

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
@dataclass(frozen=True)
class CanonicalStiefel(Frames):
    """n x p matrices with orthonormal columns, p <= n, under <u, v> = tr(u^T (I - x x^T / 2) v).

    The metric of the quotient SO(n) / SO(n-p): a rotation of the columns among themselves, x A, has
    half the squared length that `Stiefel` gives it. Geodesics are orbits of rotations of R^n.

    Args:
        n: number of rows, at least 2.
        p: number of columns, 1 to n. With p = n the manifold has two components, the orthogonal
            matrices of determinant 1 and -1; no geodesic joins them, so `log` and `dist` are
            meant for points of one, and `random` draws from that of I.
        retraction: "polar", by matrix products alone; "qr"; "cayley", of second order under this
            metric (the others are of first); or "exp".

    Raises:
        InputError: p above n or below 1, n below 2, or an unknown retraction.

    Example:
        >>> import torch, immersion as im
        >>> x = torch.eye(4, 2, dtype=torch.float64)
        >>> u = torch.tensor([[0.0, -1.0], [1.0, 0.0], [0.5, 0.0], [0.0, 0.5]]).double()
        >>> [float(M.inner(x, u, u)) for M in (im.Stiefel(4, 2), im.CanonicalStiefel(4, 2))]
        [2.5, 1.5]
    """

    @property
    def _beta(self) -> float:
        return 0.5

    def inner(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b"]:
        """tr(u^T v) - tr(u^T x x^T v) / 2."""
        return product(u, v) - product(x.mT @ u, x.mT @ v) / 2

    def egrad2rgrad(
        self, x: Float[Tensor, "*b n p"], g: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """g - x g^T x."""
        return plus_product(g, x, g.mT @ x, -1)

    def christoffel(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """-(I - x x^T)(u x^T v + v x^T u) / 2: the tangent part that geodesics lack.

        They satisfy x'' + u u^T x + x ((x^T u)^2 + u^T u) = 0 (Edelman, Arias and Smith 1998,
        equation 2.41), whose tangent part is -(I - x x^T) u x^T u.
        """
        both = u @ (x.mT @ v) + v @ (x.mT @ u)
        return (x @ (x.mT @ both) - both) / 2

    def random_tangent(
        self, x: Float[Tensor, "*b n p"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b n p"]:
        """Tangent part of a standard normal matrix, its rotation x A enlarged by sqrt(2)."""
        a = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        m = x.mT @ a
        return a - x @ (m - math.sqrt(2) * skew(m))

    def injectivity_radius(self, x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
        """2 pi / sqrt(5) = 0.894 pi, a lower bound: the curvature is at most 5/4.

        The true radius is above 0.9 pi and not known in closed form (Rentmeesters 2013; Absil and
        Mataigne 2024, arXiv 2403.02079). It is pi for p = 1, the sphere, and for p >= n - 1,
        the rotations.
        """
        exact = self.p == 1 or self.p >= self.n - 1
        return torch.full_like(x[..., 0, 0], math.pi if exact else 2 * math.pi / math.sqrt(5))

    def sectional_curvature(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b"]:
        """(|[X, Y]_m|^2 / 4 + |[X, Y]_h|^2) / area, for the lifts X, Y of u, v to so(n).

        m is tangent to the quotient SO(n) / SO(n-p), h to its fibres, and |X|^2 = tr(X^T X) / 2.
        With u = x A + w and v = x C + z: [X, Y]_m has the parts [A, C] - w^T z + z^T w and
        w C - z A, and [X, Y]_h = z w^T - w z^T.
        """
        A, C = x.mT @ u, x.mT @ v
        w, z = u - x @ A, v - x @ C
        cross = w.mT @ z
        around = A @ C - C @ A - cross + cross.mT
        along = w @ C - z @ A
        lifted = product(w.mT @ w, z.mT @ z) - product(cross, cross.mT)
        bend = product(around, around) / 8 + product(along, along) / 4 + lifted
        return per_area(self, x, u, v, bend)
