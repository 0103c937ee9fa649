"""What products, powers and reshaped manifolds share: each operation is done on the parts.

A combination is a geodesic manifold if and only if all its parts are, and its curvature has a
closed form if and only if theirs have. So each kind of combination comes in three final classes, on
the three abstract ones here, and its constructor chooses among them with `strongest`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import torch

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold, GeodesicManifold, Manifold
from immersion.core.scalars import safe_length

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

P = TypeVar("P", bound=Manifold, covariant=True)
G = TypeVar("G", bound=GeodesicManifold, covariant=True)


def strongest(
    parts: Sequence[object], plain: type[P], geodesic: type[P], curved: type[P]
) -> type[P]:
    """The class for these parts: as much as the weakest of them can do.

    Raises:
        InputError: a part is no manifold.
    """
    for part in parts:
        if not isinstance(part, Manifold):
            raise InputError(f"{plain.__name__} is made of manifolds, not of {part!r}")
    if all(isinstance(part, CurvedManifold) for part in parts):
        return curved
    return geodesic if all(isinstance(part, GeodesicManifold) for part in parts) else plain


class Combination(Manifold, Generic[P]):
    """Points are made of points of parts; squared lengths add up."""

    @property
    @abstractmethod
    def parts(self) -> tuple[P, ...]:
        """The manifolds it is made of."""

    @abstractmethod
    def _split(self, x: Float[Tensor, "*b *p"]) -> Sequence[Tensor]:
        """Points of the parts, with further batch dimensions where a part is used many times."""

    @abstractmethod
    def _join(self, pieces: Sequence[Tensor]) -> Float[Tensor, "*b *p"]:
        """Inverse of `_split`, where the leading dimensions of the pieces may differ."""

    @abstractmethod
    def _row(self, numbers: Sequence[Tensor]) -> Float[Tensor, "*b k"]:
        """One number for each point of each part, side by side on the last axis."""

    @abstractmethod
    def _repeats(self) -> tuple[int, ...]:
        """The further batch dimensions of each piece."""

    def inner(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """Sum of the inner products of the parts."""
        return self._row([part.inner(*a) for part, *a in self._pieces(x, u, v)]).sum(-1)

    def proj(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """Each part projected."""
        return self._join([part.proj(*a) for part, *a in self._pieces(x)])

    def to_tangent(
        self, x: Float[Tensor, "*b *p"], a: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Each part projected to its tangent space."""
        return self._join([part.to_tangent(*b) for part, *b in self._pieces(x, a)])

    def egrad2rgrad(
        self, x: Float[Tensor, "*b *p"], g: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """The Riemannian gradient of each part."""
        return self._join([part.egrad2rgrad(*a) for part, *a in self._pieces(x, g)])

    def christoffel(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Of each part: the parts do not mix."""
        return self._join([part.christoffel(*a) for part, *a in self._pieces(x, u, v)])

    def retract(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """The retraction of each part."""
        return self._join([part.retract(*a) for part, *a in self._pieces(x, u)])

    def transport(
        self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """The transport of each part."""
        return self._join([part.transport(*a) for part, *a in self._pieces(x, y, v)])

    def carry(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> tuple[Float[Tensor, "*b *p"], Float[Tensor, "*b *p"]]:
        """What each part does."""
        moved = [part.carry(*a) for part, *a in self._pieces(x, u, v)]
        return self._join([y for y, _ in moved]), self._join([w for _, w in moved])

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b *p"]:
        """Random points of each part, independent of each other."""
        shape = (*batch, *self._repeats())
        return self._join(
            [
                part.random(*shape, generator=generator, dtype=dtype, device=device)
                for part in self.parts
            ]
        )

    def random_tangent(
        self, x: Float[Tensor, "*b *p"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b *p"]:
        """A standard normal vector of each part."""
        drawn = [
            part.random_tangent(piece, generator)
            for part, piece in zip(self.parts, self._split(x), strict=True)
        ]
        return self._join(drawn)

    def violation(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Root of the sum of the squared violations of the parts."""
        return safe_length(self._row([part.violation(*a) for part, *a in self._pieces(x)]))

    def _pieces(self, *tensors: Float[Tensor, "*b *p"]) -> list[tuple[P, *tuple[Tensor, ...]]]:
        """Each part with its piece of each tensor."""
        return list(zip(self.parts, *[self._split(a) for a in tensors], strict=True))


class GeodesicCombination(Combination[G], GeodesicManifold, Generic[G]):
    """Geodesics of the parts run side by side."""

    def exp(self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """The geodesic of each part."""
        return self._join([part.exp(*a) for part, *a in self._pieces(x, u)])

    def log(self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """The initial velocity of each part."""
        return self._join([part.log(*a) for part, *a in self._pieces(x, y)])

    def dist(self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Root of the sum of the squared distances of the parts; gradient zero at zero."""
        return safe_length(self._row([part.dist(*a) for part, *a in self._pieces(x, y)]))

    def injectivity_radius(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """The least of the parts."""
        radii = [part.injectivity_radius(*a) for part, *a in self._pieces(x)]
        return self._row(radii).amin(-1)


class CurvedCombination(GeodesicCombination[CurvedManifold], CurvedManifold):
    """Curvature of the parts, closed since the curvature tensor of a product is a sum."""

    def sectional_curvature(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """sum_i K_i(u_i, v_i) area_i(u_i, v_i)^2 / area(u, v)^2.

        A plane spanned by vectors of two parts is flat. The plane is given an orthonormal basis
        first: otherwise area(u, v) would cancel for vectors that are nearly parallel.
        """
        e, f, spans = self._basis(x, u, v)
        shares = [
            part.sectional_curvature(*a) * _area_squared(part, *a)
            for part, *a in self._pieces(x, e, f)
        ]
        return torch.where(spans, self._row(shares).sum(-1), 0)

    def _basis(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Orthonormal basis of the plane of u and v, and whether they span one."""
        e, _ = self._normalised(x, u)
        f, _ = self._normalised(x, v)
        across = f - self._scaled(self.inner(x, e, f), e)
        f, size = self._normalised(x, across)
        f, _ = self._normalised(x, f - self._scaled(self.inner(x, e, f), e))
        return e, f, size > 4 * torch.finfo(size.dtype).eps ** 0.5

    def _normalised(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]
    ) -> tuple[Tensor, Tensor]:
        """The vector at length 1, zero where it is zero, and its length."""
        size = self.norm(x, u)
        return self._scaled(1 / torch.where(size > 0, size, 1), u), size

    def _scaled(self, c: Float[Tensor, "*b"], u: Float[Tensor, "*b *p"]) -> Tensor:
        """One multiple a vector."""
        return c.reshape(*c.shape, *(1,) * len(self.point_shape)) * u


def _area_squared(part: Manifold, x: Tensor, u: Tensor, v: Tensor) -> Float[Tensor, "*b"]:
    """Squared area of the parallelogram of u and v."""
    return part.inner(x, u, u) * part.inner(x, v, v) - part.inner(x, u, v).square()
