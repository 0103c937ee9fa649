"""The Stiefel manifold under the metric of the ambient space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch

from immersion.known.orthonormal.factors import per_area, product, sym
from immersion.known.orthonormal.frames import Frames

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
@dataclass(frozen=True)
class Stiefel(Frames):
    """n x p matrices with orthonormal columns, p <= n, under the metric tr(u^T v).

    The choice for weights with orthonormal columns or, through `Viewed`, rows. Tangent vectors at x
    are x A + q B with A skew-symmetric and q orthonormal across x.

    Args:
        n: number of rows, at least 2.
        p: number of columns, 1 to n. With p = n the manifold has two components, the orthogonal
            matrices of determinant 1 and -1; no geodesic joins them, so `log` and `dist` are
            meant for points of one, and `random` draws from that of I.
        retraction: "polar", the nearest point to x + u, by matrix products alone and of second
            order; "qr", of first order; "cayley", of first order under this metric; or "exp".

    Raises:
        InputError: p above n or below 1, n below 2, or an unknown retraction.

    Example:
        >>> import torch, immersion as im
        >>> stiefel = im.Stiefel(3, 2)
        >>> x = stiefel.proj(torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        >>> x
        tensor([[1., 0.],
                [0., 1.],
                [0., 0.]])
        >>> u = stiefel.to_tangent(x, torch.tensor([[1.0, 0.5], [0.0, 0.0], [0.0, 0.3]]))
        >>> stiefel.log(x, stiefel.exp(x, u)).allclose(u, atol=1e-6)
        True
    """

    @property
    def _beta(self) -> float:
        return 1.0

    def inner(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b"]:
        """tr(u^T v), whatever x."""
        return product(u, v)

    def egrad2rgrad(
        self, x: Float[Tensor, "*b n p"], g: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """Tangent part of g."""
        return self.to_tangent(x, g)

    def christoffel(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """Zero: the metric is that of the ambient space."""
        return torch.zeros_like(x * u * v)

    def random_tangent(
        self, x: Float[Tensor, "*b n p"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b n p"]:
        """Tangent part of a standard normal matrix."""
        a = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return self.to_tangent(x, a)

    def injectivity_radius(self, x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
        """pi (Zimmermann and Stoye 2024, arXiv 2405.02268); sqrt(2) pi on rotations, p = n."""
        radius = math.sqrt(2) * math.pi if self.p == self.n else math.pi
        return torch.full_like(x[..., 0, 0], radius)

    def sectional_curvature(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b"]:
        """(tr(u^T u v^T v) - |sym(u^T v)|^2) / area, by the equation of Gauss.

        The second fundamental form is -x sym(u^T v), the area |u|^2 |v|^2 - <u, v>^2.
        """
        mixed = sym(u.mT @ v)
        bend = product(u.mT @ u, v.mT @ v) - product(mixed, mixed)
        return per_area(self, x, u, v, bend)
