"""A manifold whose points are stored in another shape."""

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
class Viewed(Combination[P], Generic[P]):
    """The points of a manifold in the shape in which a weight holds them.

    The entries are read in order of memory, as by `Tensor.reshape`. With `transposed`, the weight
    is first taken as a matrix (shape[0], the rest) and then transposed: so the rows of the weight
    of a linear layer (out, in), or the filters of a convolution (out, in, height, width), become
    the columns of a point of Stiefel(n, p), n = in * height * width and p = out.

    The view is an isometry, and costs no copy unless the manifold needs one. It has the type of
    its manifold: geodesic and curved if and only if that is.

    Args:
        manifold: the manifold that is viewed.
        shape: shape of a point as stored.
        transposed: whether the stored matrix is the transpose of the manifold's.

    Raises:
        InputError: not a manifold; a shape that holds another number of entries; `transposed`
            where the manifold has no matrices or shape[0] is not their number of columns.

    Example:
        >>> import torch, immersion as im
        >>> filters = im.Viewed(im.Oblique(27, 16), (16, 3, 3, 3), transposed=True)
        >>> weight = filters.proj(torch.ones(16, 3, 3, 3))
        >>> weight.square().sum((1, 2, 3)).allclose(torch.ones(16))
        True
    """

    manifold: P
    shape: tuple[int, ...]
    transposed: bool

    @overload
    def __new__(
        cls, manifold: CurvedManifold, shape: Sequence[int], transposed: bool = False
    ) -> CurvedViewed: ...
    @overload
    def __new__(
        cls, manifold: GeodesicManifold, shape: Sequence[int], transposed: bool = False
    ) -> GeodesicViewed | CurvedViewed: ...
    @overload
    def __new__(
        cls, manifold: Manifold, shape: Sequence[int], transposed: bool = False
    ) -> PlainViewed | GeodesicViewed | CurvedViewed: ...
    def __new__(
        cls, manifold: Manifold, shape: Sequence[int], transposed: bool = False
    ) -> Viewed[Manifold]:
        """The class that this manifold allows."""
        kind = cls
        if cls is Viewed:
            kind = strongest([manifold], PlainViewed, GeodesicViewed, CurvedViewed)
        return cast("Viewed[Manifold]", object.__new__(kind))

    def __init__(self, manifold: P, shape: Sequence[int], transposed: bool = False) -> None:
        inner = manifold.point_shape
        if math.prod(shape) != math.prod(inner) or len(shape) == 0:
            raise InputError(
                f"Viewed: points of shape {tuple(shape)} cannot be viewed as points of {manifold}, "
                f"of shape {inner}"
            )
        if transposed and (len(inner) != 2 or shape[0] != inner[1]):
            raise InputError(
                f"Viewed(transposed=True) takes shape ({inner[-1]}, ...), one row for each column "
                f"of a point of {manifold}, of shape {inner}; not {tuple(shape)}"
            )
        object.__setattr__(self, "manifold", manifold)
        object.__setattr__(self, "shape", tuple(shape))
        object.__setattr__(self, "transposed", transposed)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Viewed, (self.manifold, self.shape, self.transposed)

    def __repr__(self) -> str:
        how = ", transposed=True" if self.transposed else ""
        return f"Viewed({self.manifold!r}, {self.shape}{how})"

    @property
    def parts(self) -> tuple[P, ...]:
        """The manifold."""
        return (self.manifold,)

    @property
    def dim(self) -> int:
        """Dimension of the manifold."""
        return self.manifold.dim

    @property
    def point_shape(self) -> tuple[int, ...]:
        """The shape as stored."""
        return self.shape

    def _split(self, x: Float[Tensor, "*b *p"]) -> Sequence[Tensor]:
        batch = x.shape[: x.ndim - len(self.shape)]
        shape = self.manifold.point_shape
        if self.transposed:
            return (x.reshape(*batch, *reversed(shape)).mT,)
        return (x.reshape(*batch, *shape),)

    def _join(self, pieces: Sequence[Tensor]) -> Float[Tensor, "*b *p"]:
        y = pieces[0].mT if self.transposed else pieces[0]
        return y.reshape(*y.shape[: y.ndim - len(self.manifold.point_shape)], *self.shape)

    def _row(self, numbers: Sequence[Tensor]) -> Float[Tensor, "*b k"]:
        return numbers[0].unsqueeze(-1)

    def _repeats(self) -> tuple[int, ...]:
        return ()


@final
class PlainViewed(Viewed[Manifold]):
    """A view of a manifold without closed geodesics."""


@final
class GeodesicViewed(Viewed[GeodesicManifold], GeodesicCombination[GeodesicManifold]):
    """A view of a geodesic manifold without closed curvature."""


@final
class CurvedViewed(Viewed[CurvedManifold], CurvedCombination):
    """A view of a manifold with closed curvature."""
