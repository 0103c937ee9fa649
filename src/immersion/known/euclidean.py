"""Flat space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from immersion.core.errors import InputError
from immersion.core.linalg import broadcast
from immersion.core.metric import CurvedManifold
from immersion.core.scalars import safe_length

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, init=False, repr=False)
class Euclidean(CurvedManifold):
    """Flat space R^n, or arrays of a shape, with the usual inner product and straight lines.

    All methods cost O(dim). Every array is a point, so `proj` and `to_tangent` return what they
    are given, and `violation` is zero (NaN where the array holds NaN).

    Args:
        *shape: shape of a point: `Euclidean(3)` has vectors of length 3, `Euclidean(4, 2)` has
            4 x 2 matrices under the Frobenius inner product.

    Raises:
        InputError: no number, or one that is not a whole number of at least 1.

    Example:
        >>> import immersion as im
        >>> plane = im.Euclidean(2)
        >>> plane.dist(torch.tensor([0.0, 0.0]), torch.tensor([3.0, 4.0]))
        tensor(5.)
    """

    shape: tuple[int, ...]

    def __init__(self, *shape: int) -> None:
        if not shape or any(size < 1 for size in shape):
            raise InputError(f"Euclidean(*shape) needs numbers of at least 1, not {shape}")
        object.__setattr__(self, "shape", shape)

    def __repr__(self) -> str:
        return f"Euclidean({', '.join(map(str, self.shape))})"

    @property
    def dim(self) -> int:
        """Product of the shape."""
        return math.prod(self.shape)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """The shape itself."""
        return self.shape

    def inner(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """Sum of the products of entries, whatever x."""
        return self._flat(u * v).sum(-1)

    def proj(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """x itself."""
        return x

    def to_tangent(
        self, x: Float[Tensor, "*b *p"], a: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """a itself."""
        return broadcast(x, a)[1]

    def egrad2rgrad(
        self, x: Float[Tensor, "*b *p"], g: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """g itself."""
        return broadcast(x, g)[1]

    def christoffel(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """Zero."""
        return torch.zeros_like(u * v)

    def retract(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """x + u."""
        return x + u

    def transport(
        self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """v itself."""
        return broadcast(broadcast(x, y)[0], v)[1]

    def carry(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> tuple[Float[Tensor, "*b *p"], Float[Tensor, "*b *p"]]:
        """x + u, and v itself."""
        return broadcast(x + u, v)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b *p"]:
        """Standard normal points."""
        return torch.randn(*batch, *self.shape, generator=generator, dtype=dtype, device=device)

    def random_tangent(
        self, x: Float[Tensor, "*b *p"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b *p"]:
        """Standard normal vectors."""
        return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)

    def violation(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Zero; NaN where an entry is NaN or infinite."""
        return (self._flat(x) * 0).sum(-1)

    def exp(self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """x + u."""
        return x + u

    def log(self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """y - x."""
        return y - x

    def dist(self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Length of y - x, with gradient zero where the points coincide."""
        return safe_length(self._flat(y - x))

    def injectivity_radius(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """Infinite."""
        return torch.full_like(self._flat(x)[..., 0], torch.inf)

    def sectional_curvature(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """Zero."""
        return torch.zeros_like(self._flat(x * u * v)[..., 0])

    def _flat(self, a: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b m"]:
        """Each array as a vector."""
        return a.flatten(-len(self.shape))
