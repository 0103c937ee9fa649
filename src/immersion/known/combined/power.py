"""Many points of one manifold, as one point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, cast, final, overload

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold, GeodesicManifold, Manifold
from immersion.known.combined.combination import (
    Combination,
    CurvedCombination,
    GeodesicCombination,
    P,
    strongest,
)

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, init=False, repr=False)
class Power(Combination[P], Generic[P]):
    """Arrays of points of one manifold: a product of equal factors, worked on as one batch.

    Points have shape (*shape, *manifold.point_shape), and the metric is the sum over the array. It
    has the type of its manifold: geodesic and curved if and only if that is. An embedding table of
    n rows of a manifold is `Power(manifold, n)`.

    Args:
        manifold: the manifold of each entry.
        *shape: shape of the array, of at least one number.

    Raises:
        InputError: not a manifold; no number in the shape, or one below 1.

    Example:
        >>> import torch, immersion as im
        >>> table = im.Power(im.Sphere(2), 10)
        >>> table.dim, table.point_shape
        (20, (10, 3))
        >>> x = table.random(generator=torch.Generator().manual_seed(0))
        >>> table.dist(x, -x) / 10**0.5
        tensor(3.1416)
    """

    manifold: P
    shape: tuple[int, ...]

    @overload
    def __new__(cls, manifold: CurvedManifold, *shape: int) -> CurvedPower: ...
    @overload
    def __new__(cls, manifold: GeodesicManifold, *shape: int) -> GeodesicPower | CurvedPower: ...
    @overload
    def __new__(
        cls, manifold: Manifold, *shape: int
    ) -> PlainPower | GeodesicPower | CurvedPower: ...
    def __new__(cls, manifold: Manifold, *shape: int) -> Power[Manifold]:
        """The class that this manifold allows."""
        kind = cls
        if cls is Power:
            kind = strongest([manifold], PlainPower, GeodesicPower, CurvedPower)
        return cast("Power[Manifold]", object.__new__(kind))

    def __init__(self, manifold: P, *shape: int) -> None:
        if not shape or any(size < 1 for size in shape):
            raise InputError(f"Power(manifold, *shape) needs numbers of at least 1, not {shape}")
        object.__setattr__(self, "manifold", manifold)
        object.__setattr__(self, "shape", shape)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Power, (self.manifold, *self.shape)

    def __repr__(self) -> str:
        return f"Power({self.manifold!r}, {', '.join(map(str, self.shape))})"

    @property
    def parts(self) -> tuple[P, ...]:
        """The manifold, once: its points come as one batch."""
        return (self.manifold,)

    @property
    def dim(self) -> int:
        """Dimension of the manifold times the size of the array."""
        return math.prod(self.shape) * self.manifold.dim

    @property
    def point_shape(self) -> tuple[int, ...]:
        """(*shape, *manifold.point_shape)."""
        return (*self.shape, *self.manifold.point_shape)

    def _split(self, x: Float[Tensor, "*b *p"]) -> Sequence[Tensor]:
        return (x,)

    def _join(self, pieces: Sequence[Tensor]) -> Float[Tensor, "*b *p"]:
        return pieces[0]

    def _row(self, numbers: Sequence[Tensor]) -> Float[Tensor, "*b k"]:
        return numbers[0].flatten(-len(self.shape))

    def _repeats(self) -> tuple[int, ...]:
        return self.shape


@final
class PlainPower(Power[Manifold]):
    """A power of a manifold without closed geodesics."""


@final
class GeodesicPower(Power[GeodesicManifold], GeodesicCombination[GeodesicManifold]):
    """A power of a geodesic manifold without closed curvature."""


@final
class CurvedPower(Power[CurvedManifold], CurvedCombination):
    """A power of a manifold with closed curvature."""
