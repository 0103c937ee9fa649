"""A manifold in another unit of length."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, cast, final, overload

import torch

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold, GeodesicManifold, Manifold
from immersion.known.combined.combination import G, P, strongest

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Scaled(Manifold, Generic[P]):
    """The same points and geodesics, with all distances multiplied by a factor.

    The metric is multiplied by factor^2 and curvature divided by it: `Scaled(Sphere(2), r)` has the
    geometry of the sphere of radius r, on unit vectors. Points, tangent vectors, `exp`, `log`,
    `retract` and `transport` stay what they are; `inner`, `dist`, `egrad2rgrad`, `random_tangent`,
    `injectivity_radius` and `sectional_curvature` change. It has the type of its manifold: geodesic
    and curved if and only if that is.

    The factor can be learned: give a tensor of no dimensions, for example a `Parameter`, and keep
    it positive (as the exponential of a parameter). Two scaled manifolds are equal if their
    manifolds are and their factors are equal numbers, or the very same tensor.

    Args:
        manifold: the manifold in its own unit.
        factor: length of its unit, positive; a number, or a floating tensor of no dimensions.

    Raises:
        InputError: not a manifold; a factor that is not positive and finite, or is a tensor with
            dimensions or whole numbers. The sign of a tensor on a GPU, in a compiled function or
            under a transform is not looked at.

    Example:
        >>> import torch, immersion as im
        >>> earth = im.Scaled(im.Sphere(2), 6371.0)
        >>> north, east = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
        >>> round(float(earth.dist(north, east)))
        10008
    """

    manifold: P
    factor: float | Tensor

    @overload
    def __new__(cls, manifold: CurvedManifold, factor: float | Tensor) -> CurvedScaled: ...
    @overload
    def __new__(
        cls, manifold: GeodesicManifold, factor: float | Tensor
    ) -> GeodesicScaled | CurvedScaled: ...
    @overload
    def __new__(
        cls, manifold: Manifold, factor: float | Tensor
    ) -> PlainScaled | GeodesicScaled | CurvedScaled: ...
    def __new__(cls, manifold: Manifold, factor: float | Tensor) -> Scaled[Manifold]:
        """The class that this manifold allows."""
        kind = cls
        if cls is Scaled:
            kind = strongest([manifold], PlainScaled, GeodesicScaled, CurvedScaled)
        return object.__new__(kind)

    def __init__(self, manifold: P, factor: float | Tensor) -> None:
        object.__setattr__(self, "manifold", manifold)
        object.__setattr__(self, "factor", _positive(factor))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Scaled, (self.manifold, self.factor)

    def __repr__(self) -> str:
        tensor = isinstance(self.factor, torch.Tensor)
        factor = type(self.factor).__name__ if tensor else repr(self.factor)
        return f"Scaled({self.manifold!r}, {factor})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scaled):
            return False
        twin = cast("Scaled[Manifold]", other)
        if isinstance(self.factor, torch.Tensor) or isinstance(twin.factor, torch.Tensor):
            return self.factor is twin.factor and self.manifold == twin.manifold
        return self.factor == twin.factor and self.manifold == twin.manifold

    def __hash__(self) -> int:
        return hash((self.manifold, self.factor))

    @property
    def dim(self) -> int:
        """Dimension of the manifold."""
        return self.manifold.dim

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape of the manifold's points."""
        return self.manifold.point_shape

    def inner(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """factor^2 times the manifold's."""
        return self._square(x) * self.manifold.inner(x, u, v)

    def proj(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """That of the manifold."""
        return self.manifold.proj(x)

    def to_tangent(
        self, x: Float[Tensor, "*b *p"], a: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """That of the manifold."""
        return self.manifold.to_tangent(x, a)

    def egrad2rgrad(
        self, x: Float[Tensor, "*b *p"], g: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """The manifold's, divided by factor^2."""
        return self.manifold.egrad2rgrad(x, g) / self._square(x)

    def christoffel(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """That of the manifold: a constant factor leaves geodesics as they are."""
        return self.manifold.christoffel(x, u, v)

    def retract(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """That of the manifold."""
        return self.manifold.retract(x, u)

    def transport(
        self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b *p"]:
        """That of the manifold."""
        return self.manifold.transport(x, y, v)

    def carry(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> tuple[Float[Tensor, "*b *p"], Float[Tensor, "*b *p"]]:
        """That of the manifold."""
        return self.manifold.carry(x, u, v)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b *p"]:
        """The manifold's random points; where they are normal, of unit scale in its own unit."""
        return self.manifold.random(*batch, generator=generator, dtype=dtype, device=device)

    def random_tangent(
        self, x: Float[Tensor, "*b *p"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b *p"]:
        """The manifold's, divided by the factor: standard normal in the scaled metric."""
        return self.manifold.random_tangent(x, generator) / self._factor(x)

    def violation(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """That of the manifold, in ambient units."""
        return self.manifold.violation(x)

    def _factor(self, x: Tensor) -> float | Tensor:
        """The factor in the dtype of `x`: else a double factor would make single results double."""
        return self.factor.to(x.dtype) if isinstance(self.factor, torch.Tensor) else self.factor

    def _square(self, x: Tensor) -> float | Tensor:
        return self._factor(x) ** 2


class _Geodesics(Scaled[G], GeodesicManifold, Generic[G]):
    """The geodesics of the manifold, measured in the other unit."""

    def exp(self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """That of the manifold."""
        return self.manifold.exp(x, u)

    def log(self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b *p"]:
        """That of the manifold."""
        return self.manifold.log(x, y)

    def dist(self, x: Float[Tensor, "*b *p"], y: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """The factor times the manifold's."""
        return self._factor(x) * self.manifold.dist(x, y)

    def injectivity_radius(self, x: Float[Tensor, "*b *p"]) -> Float[Tensor, "*b"]:
        """The factor times the manifold's."""
        return self._factor(x) * self.manifold.injectivity_radius(x)


@final
class PlainScaled(Scaled[Manifold]):
    """A scaled manifold without closed geodesics."""


@final
class GeodesicScaled(_Geodesics[GeodesicManifold]):
    """A scaled geodesic manifold without closed curvature."""


@final
class CurvedScaled(_Geodesics[CurvedManifold], CurvedManifold):
    """A scaled manifold with closed curvature."""

    def sectional_curvature(
        self, x: Float[Tensor, "*b *p"], u: Float[Tensor, "*b *p"], v: Float[Tensor, "*b *p"]
    ) -> Float[Tensor, "*b"]:
        """The manifold's, divided by factor^2."""
        return self.manifold.sectional_curvature(x, u, v) / self._square(x)


def _positive(factor: float | Tensor) -> float | Tensor:
    """The factor, if it can be one; the sign of a tensor is seen where that stops nothing."""
    if not isinstance(factor, torch.Tensor):
        value = factor = float(factor)
    elif factor.ndim or not factor.is_floating_point():
        raise InputError(
            "Scaled: a factor that is a tensor has no dimensions and a floating dtype, not shape "
            f"{tuple(factor.shape)} and {factor.dtype}"
        )
    else:
        value = 1.0
        if factor.device.type == "cpu" and not torch.compiler.is_compiling():
            with contextlib.suppress(RuntimeError):  # under vmap, or a tensor without data
                value = float(factor.detach())
    if not (0 < value < math.inf):
        raise InputError(f"Scaled(manifold, factor) needs a positive, finite factor, not {value}")
    return factor
