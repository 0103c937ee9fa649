"""What the two metrics of the Stiefel manifold have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import torch

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold
from immersion.known.orthonormal.factors import haar, plus_product, residual
from immersion.known.orthonormal.logarithms.stiefel import stiefel_dist, stiefel_log
from immersion.known.orthonormal.moves import Retraction, geodesic_step, step, turn
from immersion.known.orthonormal.polar import polar

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class Frames(CurvedManifold):
    """n x p matrices with orthonormal columns, under one of a family of metrics."""

    n: int
    p: int
    retraction: Retraction = "polar"

    def __post_init__(self) -> None:
        if not 1 <= self.p <= self.n or self.n < 2:
            raise InputError(
                f"{type(self).__name__}(n, p) needs 1 <= p <= n and n >= 2, "
                f"not n = {self.n}, p = {self.p}"
            )
        if self.retraction not in get_args(Retraction):
            raise InputError(
                f"{type(self).__name__}: retraction is one of {', '.join(get_args(Retraction))}; "
                f"not {self.retraction!r}"
            )

    @property
    @abstractmethod
    def _beta(self) -> float:
        """The metric is tr(u^T (I - x x^T) v) + beta tr(u^T x x^T v)."""

    @property
    def dim(self) -> int:
        """n p - p (p + 1) / 2."""
        return self.n * self.p - self.p * (self.p + 1) // 2

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n, p)."""
        return (self.n, self.p)

    def proj(self, x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
        """Polar factor, the nearest point of the manifold, by a singular value decomposition.

        The derivative is that of the polar factor, finite also where singular values repeat. Of a
        rank-deficient matrix several points are nearest; one is taken, always the same.
        """
        return polar(x)

    def to_tangent(
        self, x: Float[Tensor, "*b n p"], a: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """a - x sym(x^T a), the nearest tangent vector under both metrics."""
        s = x.mT @ a
        return plus_product(a, x, s + s.mT, -0.5)

    def retract(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """The retraction chosen, for tangent u."""
        return step(x, u, self.retraction, self._beta)

    def transport(
        self, x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """Q v for the rotation Q of R^n that takes x to y and moves nothing else: an isometry.

        It is parallel transport where p = 1 only, and agrees with it up to second order in the
        distance. Where x and y have a column combination of opposite signs, Q reflects that one.
        """
        return turn(x, y, v)

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
        """Uniform points. With p = n, uniform rotations: of two components, the one of I."""
        return haar(self.n, self.p, batch, generator, dtype, device)

    def violation(self, x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
        """Spectral norm of x^T x - I: no unit vector z has |x z|^2 further from 1."""
        return residual(x)

    def exp(
        self, x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """End of the geodesic with velocity u = x A + q B, in closed form.

        [x q] exp([[2 beta A, -B^T], [B, 0]]) [I; 0] exp((1 - 2 beta) A), where beta is 1 for the
        Euclidean metric and 1/2 for the canonical one.
        """
        return geodesic_step(x, u, self._beta)

    def log(
        self, x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"]
    ) -> Float[Tensor, "*b n p"]:
        """Inverse of `exp`, by iterations on 2p x 2p matrices, in float64 inside.

        The error is about 1e-14 within 0.9 of the injectivity radius. Further away the geodesic
        found need not be the shortest, and where the iterations give up their last state is
        returned: finite, and `exp` tells. It costs O(n p^2) and 4 to 15 decompositions of 2p x 2p
        matrices; a gradient costs one linear system more, solved by 10 to 200 applications of
        O(p^3). Gradients of first order only; those of `dist` of second.
        """
        return stiefel_log(x, y, self._beta)

    def dist(self, x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
        """Length of `log`. Its gradient is the unit vector away from y, and zero at y = x."""
        return stiefel_dist(x, y, self._beta)
