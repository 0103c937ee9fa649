"""Hyperbolic space stored as log at the origin: for points far out, in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch

from immersion.core.linalg import broadcast
from immersion.core.scalars import safe_length, safe_sqrt, sinhc
from immersion.known.hyperbolic.polar_form import (
    LONGEST,
    NEAR,
    corner,
    dot,
    forward,
    over,
    rejection,
    rotated,
)
from immersion.known.hyperbolic.quotients import asinhc, excess
from immersion.known.hyperbolic.space import HyperbolicSpace, check_space

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
@dataclass(frozen=True, repr=False)
class LogHyperbolic(HyperbolicSpace):
    """Hyperbolic space in normal coordinates: v stands for exp of v at the origin.

    Points and tangent vectors have shape (n,); |v| is the distance from the origin, and every
    vector is a point. The metric measures the part of u along v as it is and the part across v
    multiplied by s(|v|) = sinh(sqrt(c)|v|) / (sqrt(c)|v|), c = -curvature. All methods cost O(n).

    `dist` is right to rounding for the points as they are stored, in float32 too and to radius 40
    (`accuracy/hyperbolic_distance.py`); all methods work in float64 inside and return the dtype of
    their arguments. What limits the model is the storing. A coordinate grows with the distance and
    not with its exponential, so the radius is always known to eps. A direction is stored to eps as
    well, which moves a point sideways by up to eps sinh(r): of a distance of 1, in float32, that is
    2e-4 at radius 10 and 4 % at radius 15, while distances between points in different directions
    stay right to 1e-7 at radius 40. Tangent vectors suffer alike: what rounding the part along v
    leaves across it is measured multiplied by s(|v|).

    `proj` shortens to sqrt(c)|v| = 44 in float32, where squared norms near the range of the dtype,
    and to 230 in float64.

    Args:
        n: dimension, at least 1.
        curvature: negative; a tensor without dimensions to learn it.

    Example:
        >>> import immersion as im
        >>> space = im.LogHyperbolic(2)
        >>> x, y = torch.tensor([30.0, 0.0]), torch.tensor([0.0, 35.0])
        >>> space.dist(x, y)
        tensor(64.3069)
        >>> space.dist(x, torch.tensor([35.0, 0.0]))
        tensor(5.)
    """

    def __post_init__(self) -> None:
        check_space(self)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n,)."""
        return (self.n,)

    def inner(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b"]:
        """Product of the parts along x, plus s(|x|)^2 times that of the parts across."""
        x64 = x.double()
        s = sinhc(self._radius(x64))
        a, b = self._parts(x64, u.double())
        p, q = self._parts(x64, v.double())
        return (a * p + dot(s * b, s * q)).squeeze(-1).to(u.dtype)

    def proj(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """x, shortened to the largest radius of its dtype where it is longer."""
        return self._stored(x.double(), x.dtype)

    def to_tangent(
        self, x: Float[Tensor, "*b n"], a: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """a itself: every vector is tangent."""
        return broadcast(x, a)[1]

    def egrad2rgrad(
        self, x: Float[Tensor, "*b n"], g: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """g, its part across x divided by s(|x|)^2."""
        return self._divided(x, g, 2)

    def christoffel(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """c k/s (<x,u> v' + <x,v> u') - c m <u',v'> x, primes marking the parts across x.

        With r = sqrt(c)|x|: k = (cosh r - s)/r^2, m = (sinh(2r)/2 - r)/r^3.
        """
        x64, u64, v64 = x.double(), u.double(), v.double()
        c, r = self.sharpness, self._radius(x64)
        u1, v1 = rejection(x64, u64), rejection(x64, v64)
        k = (sinhc(r / 2).square() / 2 - excess(r)) / sinhc(r)
        mixed = dot(x64, u64) * v1 + dot(x64, v64) * u1
        return (c * k * mixed - 4 * c * excess(2 * r) * dot(u1, v1) * x64).to(x.dtype)

    def retract(self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """`exp`."""
        return self.exp(x, u)

    def transport(
        self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """Parallel transport along the geodesic."""
        return self._transport(x.double(), y.double(), v.double()).to(v.dtype)

    def carry(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n"]]:
        """`exp`, and v transported in parallel."""
        y = self.exp(x, u)
        return y, self._transport(x.double(), y.double(), v.double()).to(v.dtype)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b n"]:
        """A standard normal vector: the coordinates are `log` at the origin."""
        return torch.randn(*batch, self.n, generator=generator, dtype=dtype, device=device)

    def random_tangent(
        self, x: Float[Tensor, "*b n"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b n"]:
        """A standard normal vector, its part across x divided by s(|x|)."""
        a = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return self._divided(x, a, 1)

    def violation(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """How much longer x is than `proj` allows."""
        limit = (1 + 4 * torch.finfo(x.dtype).eps) * _farthest(x.dtype) / self.sharpness**0.5
        return (safe_length(x.double()) - limit).clamp_min(0).to(x.dtype)

    def exp(self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """By the hyperbolic law of cosines, in the triangle with the origin."""
        c = self.sharpness
        x64, u64 = x.double(), u.double()
        r = self._radius(x64)
        near = r < NEAR
        s = sinhc(r)
        # far out: x/|x| (a, b) with b across x; near the origin: a polynomial in x and u
        ray = torch.where(near, 1, r)
        a = c * over(dot(x64, u64), r)
        across = torch.where(near, u64, rejection(x64, u64))
        b_square = c * s.square() * dot(across, across)
        xu = c * dot(x64, u64)
        square = torch.where(
            near, b_square - (1 + s) * excess(r) * xu.square(), a.square() + b_square
        )
        size = safe_sqrt(square)
        cut = torch.where(size > LONGEST, LONGEST / torch.where(size > LONGEST, size, 1), 1)
        a, across, xu, size, b_square = (
            a * cut,
            across * cut,
            xu * cut,
            size * cut,
            b_square * cut.square(),
        )
        k = sinhc(r / 2).square() / 2 - excess(r)
        polynomial = torch.cosh(size) * s + sinhc(size) * k * xu
        along = torch.where(near, polynomial, forward(r, a, b_square, size) / ray)
        y = along * x64 + sinhc(size) * s * across
        return self._stored(asinhc(c**0.5 * safe_length(y, keepdim=True)) * y, x.dtype)

    def log(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """By the hyperbolic law of cosines, in the triangle with the origin."""
        c = self.sharpness
        v, w = x.double(), y.double()
        r, t = self._radius(v), self._radius(w)
        s, q = sinhc(r), sinhc(t)
        near = r < NEAR
        seen = corner(v, w)
        apart = self._apart(v, w)
        half = safe_sqrt(torch.sinh(apart / 2).square() + c * s * q * seen.turn)
        scale = 1 / sinhc(2 * torch.asinh(half))
        outward = torch.sinh(apart) - 2 * c * q * torch.cosh(r) * over(seen.turn, r)
        far_along = over(outward, r)
        # near the origin: w - v and a multiple of v, whose factor is a sum of terms that vanish
        vv, ww = (excess(a) * a.square() for a in (r, t))
        rise = sinhc(t / 2).square() * t.square() / 2
        near_along = (ww - vv) / s - (vv + rise + vv * rise)
        near_along = near_along + 4 * excess(2 * r) / s * q * c * dot(v, w)
        along = torch.where(near, near_along, far_along)
        across = torch.where(near, w - v, seen.across)
        return (scale * (along * v + q / s * across)).to(x.dtype)

    def dist(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """2 asinh sqrt(sinh((r-t)/2)^2 + sinh r sinh t sin(angle/2)^2) / sqrt(c)."""
        c = self.sharpness
        v, w = x.double(), y.double()
        stretch = sinhc(self._radius(v)) * sinhc(self._radius(w))
        half = torch.sinh(self._apart(v, w) / 2).square() + c * stretch * corner(v, w).turn
        return (2 * torch.asinh(safe_sqrt(half)) / c**0.5).squeeze(-1).to(x.dtype)

    def _radius(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
        return self.sharpness**0.5 * safe_length(x, keepdim=True)

    def _apart(self, v: Float[Tensor, "*b n"], w: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
        """Radius of w minus radius of v, from their difference."""
        both = safe_length(v, keepdim=True) + safe_length(w, keepdim=True)
        return self.sharpness**0.5 * over(dot(w - v, w + v), both)

    def _parts(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]
    ) -> tuple[Float[Tensor, "*b 1"], Float[Tensor, "*b n"]]:
        """Component of u along x, and its part across."""
        return over(dot(x, u), safe_length(x, keepdim=True)), rejection(x, u)

    def _divided(
        self, x: Float[Tensor, "*b n"], a: Float[Tensor, "*b n"], power: int
    ) -> Float[Tensor, "*b n"]:
        """a with its part across x divided by that power of s(|x|)."""
        x64, a64 = x.double(), a.double()
        along = over(dot(x64, a64), dot(x64, x64)) * x64
        return (along + rejection(x64, a64) / sinhc(self._radius(x64)) ** power).to(a.dtype)

    def _transport(
        self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        r, t = self._radius(x), self._radius(y)
        # the origin has the outward direction of the other point
        v, w = torch.where(r > 0, x, y), torch.where(t > 0, y, x)
        a, across = self._parts(v, u)
        a, b = rotated(v, w, r, t, a, sinhc(r) * across)
        return a * over(w, safe_length(w, keepdim=True)) + b / sinhc(t)

    def _stored(self, x: Float[Tensor, "*b n"], dtype: torch.dtype) -> Float[Tensor, "*b n"]:
        limit = _farthest(dtype) / self.sharpness**0.5
        length = safe_length(x, keepdim=True)
        outside = length > limit
        return (torch.where(outside, limit / torch.where(outside, length, 1), 1) * x).to(dtype)


def _farthest(dtype: torch.dtype) -> float:
    """Largest sqrt(c)|v| stored: sinh of it, squared, must fit into the dtype of a norm."""
    return 44.0 if dtype == torch.float32 else 230.0
