"""Several manifolds side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, cast, final, overload

import torch

from immersion.core.arguments import require_points
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
class Product(Combination[P], Generic[P]):
    """Tuples of points, one of each factor: x = (x_1, ..., x_k).

    A point is one tensor: the factors' points, flattened, one behind the other on the last axis.
    `join` makes it of its pieces and `split` gives them back. The metric is the sum of the
    factors' metrics, so dist^2 is the sum of their dist^2, the injectivity radius is the least of
    theirs, and a plane that mixes directions of two factors is flat.

    It is a `GeodesicManifold` if and only if all factors are, and a `CurvedManifold` likewise; the
    constructor chooses the class. Costs are those of the factors.

    Args:
        *factors: the manifolds, at least one, products among them if need be.

    Raises:
        InputError: no factor, or one that is not a manifold.

    Example:
        >>> import torch, immersion as im
        >>> pose = im.Product(im.Sphere(2), im.Euclidean(3))
        >>> pose.dim, pose.point_shape
        (5, (6,))
        >>> north, east = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
        >>> here, there = pose.join(north, torch.zeros(3)), pose.join(east, torch.ones(3))
        >>> pose.dist(here, there).square() - (torch.pi / 2) ** 2
        tensor(3.0000)
        >>> pose.split(there)[1]
        tensor([1., 1., 1.])
    """

    factors: tuple[P, ...]

    @overload
    def __new__(cls, *factors: CurvedManifold) -> CurvedProduct: ...
    @overload
    def __new__(cls, *factors: GeodesicManifold) -> GeodesicProduct | CurvedProduct: ...
    @overload
    def __new__(cls, *factors: Manifold) -> PlainProduct | GeodesicProduct | CurvedProduct: ...
    def __new__(cls, *factors: Manifold) -> Product[Manifold]:
        """The class that these factors allow."""
        kind = cls
        if cls is Product:
            kind = strongest(factors, PlainProduct, GeodesicProduct, CurvedProduct)
        return cast("Product[Manifold]", object.__new__(kind))

    def __init__(self, *factors: P) -> None:
        if not factors:
            raise InputError("Product(*factors) needs at least one manifold")
        object.__setattr__(self, "factors", factors)

    def __reduce__(self) -> tuple[object, tuple[P, ...]]:
        return Product, self.factors

    def __repr__(self) -> str:
        return f"Product({', '.join(map(repr, self.factors))})"

    @property
    def parts(self) -> tuple[P, ...]:
        """The factors."""
        return self.factors

    @property
    def dim(self) -> int:
        """Sum of the dimensions."""
        return sum(factor.dim for factor in self.factors)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """One axis, as long as all the factors' points together."""
        return (sum(self._sizes()),)

    @final
    def split(self, x: Float[Tensor, "*b m"]) -> tuple[Tensor, ...]:
        """The points of the factors, each in its own shape; views of `x`."""
        require_points(self, "split", x)
        return tuple(self._split(x))

    @final
    def join(self, *pieces: Tensor) -> Float[Tensor, "*b m"]:
        """The point made of one point of each factor; leading dimensions broadcast.

        Raises:
            InputError: another number of pieces than factors, or one of the wrong shape or dtype.
        """
        if len(pieces) != len(self.factors):
            raise InputError(
                f"{self}.join: {len(pieces)} points for {len(self.factors)} factors; give one each"
            )
        for factor, piece in zip(self.factors, pieces, strict=True):
            require_points(factor, "join", piece)
        return self._join(pieces)

    def _split(self, x: Float[Tensor, "*b m"]) -> Sequence[Tensor]:
        pieces = torch.split(x, self._sizes(), -1)
        return [
            piece.reshape(*x.shape[:-1], *factor.point_shape)
            for factor, piece in zip(self.factors, pieces, strict=True)
        ]

    def _join(self, pieces: Sequence[Tensor]) -> Float[Tensor, "*b m"]:
        flat = [
            piece.reshape(*piece.shape[: piece.ndim - len(factor.point_shape)], size)
            for factor, piece, size in zip(self.factors, pieces, self._sizes(), strict=True)
        ]
        batch = cast("torch.Size", torch.broadcast_shapes(*[row.shape[:-1] for row in flat]))
        return torch.cat([row.expand(*batch, row.shape[-1]) for row in flat], -1)

    def _row(self, numbers: Sequence[Tensor]) -> Float[Tensor, "*b k"]:
        return torch.stack(cast("list[Tensor]", torch.broadcast_tensors(*numbers)), -1)

    def _repeats(self) -> tuple[int, ...]:
        return ()

    def _sizes(self) -> list[int]:
        """How many numbers a point of each factor has."""
        return [math.prod(factor.point_shape) for factor in self.factors]


@final
class PlainProduct(Product[Manifold]):
    """A product in which some factor has no closed geodesics."""


@final
class GeodesicProduct(Product[GeodesicManifold], GeodesicCombination[GeodesicManifold]):
    """A product in which all factors have closed geodesics, and some no closed curvature."""


@final
class CurvedProduct(Product[CurvedManifold], CurvedCombination):
    """A product in which all factors have closed curvature."""
