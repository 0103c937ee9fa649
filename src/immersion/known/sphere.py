"""The unit sphere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from immersion.core.errors import InputError
from immersion.core.linalg import length
from immersion.core.metric import CurvedManifold
from immersion.core.scalars import safe_length, sinc

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class Sphere(CurvedManifold):
    """Unit vectors S^n of R^(n+1), with the angle between them as distance.

    Points have shape (n+1,), and the metric is that of the ambient space. All methods cost O(n).

    exp(x, u) = cos|u| x + sinc|u| u. Angles are atan2 of the part of y across x and the part along
    it, and not acos<x, y>, which loses half the digits near 0 and pi and has an infinite derivative
    there (`accuracy/sphere_distance.py`). At the antipode no shortest geodesic is preferred: `log`
    returns one of them, of length pi, with gradient zero through its direction.

    Args:
        n: dimension, at least 1.
        retraction: "polar", (x+u)/|x+u|, of second order and the cheapest; or "exp".

    Example:
        >>> import immersion as im
        >>> sphere = im.Sphere(2)
        >>> north, east = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
        >>> sphere.dist(north, east)
        tensor(1.5708)
        >>> sphere.geodesic(north, east, 0.5)
        tensor([0.7071, 0.0000, 0.7071])
    """

    n: int
    retraction: Literal["polar", "exp"] = "polar"

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"Sphere(n) needs a dimension n of at least 1, not {self.n}")
        if self.retraction not in ("polar", "exp"):
            raise InputError(f'Sphere: retraction is "polar" or "exp", not {self.retraction!r}')

    @property
    def dim(self) -> int:
        """Dimension n."""
        return self.n

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n+1,)."""
        return (self.n + 1,)

    def inner(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b"]:
        """Ambient inner product, whatever x."""
        return (u * v).sum(-1)

    def proj(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """x / |x|; the zero vector goes to the first unit vector, with gradient zero."""
        size = safe_length(x, keepdim=True)
        nonzero = ~(size == 0)
        first = (torch.arange(self.n + 1, device=x.device) == 0).to(x.dtype)
        return torch.where(nonzero, x / torch.where(nonzero, size, 1), first)

    def to_tangent(
        self, x: Float[Tensor, "*b m"], a: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """a - <x, a> x."""
        return torch.addcmul(a, (x * a).sum(-1, keepdim=True), x, value=-1)

    def egrad2rgrad(
        self, x: Float[Tensor, "*b m"], g: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """Tangent part of g."""
        return self.to_tangent(x, g)

    def christoffel(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """Zero: the metric is that of the ambient space."""
        return torch.zeros_like(u * v)

    def retract(self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The retraction chosen, normalised, so that rounding does not build up over steps.

        For tangent u, |x+u| >= 1 and |exp| = 1: the division is always safe.
        """
        y = self.exp(x, u) if self.retraction == "exp" else x + u
        return y / length(y).unsqueeze(-1)

    def transport(
        self, x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """Parallel transport along the shortest geodesic: v - 2 <s, v> / <s, s> s with s = x+y.

        A reflection, hence an isometry to rounding at every angle. At the antipode s is replaced by
        the direction that `log` takes.
        """
        s = x + y
        s = torch.where((s == 0).all(-1, keepdim=True), _some_direction(x), s)
        return v - 2 * ((s * v).sum(-1, keepdim=True) / s.square().sum(-1, keepdim=True)) * s

    def carry(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> tuple[Float[Tensor, "*b m"], Float[Tensor, "*b m"]]:
        """The step, and the projection of v to the tangent space there."""
        y = self.retract(x, u)
        return y, torch.addcmul(v, (y * v).sum(-1, keepdim=True), y, value=-1)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b m"]:
        """Uniform points."""
        shape = (*batch, self.n + 1)
        return self.proj(torch.randn(shape, generator=generator, dtype=dtype, device=device))

    def random_tangent(
        self, x: Float[Tensor, "*b m"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b m"]:
        """Normal ambient vectors, projected."""
        a = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return self.to_tangent(x, a)

    def violation(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """| |x| - 1 |."""
        return (length(x) - 1).abs()

    def exp(self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """cos|u| x + sinc|u| u."""
        angle = safe_length(u, keepdim=True)
        return torch.cos(angle) * x + sinc(angle) * u

    def log(self, x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The part of y orthogonal to x, scaled to the angle between them."""
        across, _, angle = _angle(x, y)
        size = safe_length(across, keepdim=True)
        apart = size > 0
        scale = torch.where(apart, angle / torch.where(apart, size, 1), 1)
        opposite = ~apart & (angle > 1)
        return torch.where(opposite, torch.pi * _some_direction(x), scale * across)

    def dist(self, x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """Angle between x and y, in [0, pi], to a few ulp; gradient zero at 0 and pi."""
        return _angle(x, y)[2].squeeze(-1)

    def injectivity_radius(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """pi, everywhere."""
        return torch.full_like(x[..., 0], torch.pi)

    def sectional_curvature(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b"]:
        """1 for every plane; zero where u and v are parallel to rounding."""
        squares = self.inner(x, u, u) * self.inner(x, v, v)
        area = squares - self.inner(x, u, v).square()
        spanned = area > 64 * torch.finfo(area.dtype).eps * squares
        return spanned.to(area.dtype) if self.n > 1 else torch.zeros_like(area)


def _angle(
    x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"]
) -> tuple[Float[Tensor, "*b m"], Float[Tensor, "*b 1"], Float[Tensor, "*b 1"]]:
    """The part of y orthogonal to x, <x, y>, and the angle, accurate also at 0 and pi.

    The part across is that of y - x or of y + x, whichever is shorter: these differences are
    exact where they are small, so nothing cancels. The angle of vectors that are unit only to
    rounding is that of the vectors as they are stored.
    """
    along = (x * y).sum(-1, keepdim=True)
    square = x.square().sum(-1, keepdim=True)
    short = torch.where(along >= 0, y - x, y + x)
    across = short - (x * short).sum(-1, keepdim=True) / square * x
    angle = torch.atan2(square.sqrt() * safe_length(across, keepdim=True), along)
    return across, along, angle


def _some_direction(x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
    """A unit tangent vector at x: along the axis on which x is smallest, the first such."""
    axis = x.detach().abs().argmin(-1, keepdim=True)
    axes = torch.arange(x.shape[-1], device=x.device)
    a = (axes == axis).to(x.dtype)
    a = a - (x.detach() * a).sum(-1, keepdim=True) * x.detach()
    return a / length(a).unsqueeze(-1)
