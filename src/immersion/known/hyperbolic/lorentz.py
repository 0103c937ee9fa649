"""The hyperboloid model of hyperbolic space."""

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
from immersion.known.hyperbolic.space import HyperbolicSpace, check_space

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
@dataclass(frozen=True, repr=False)
class Lorentz(HyperbolicSpace):
    """Hyperbolic space as the upper sheet of -t^2 + |s|^2 = -1/c in R^(n+1), c = -curvature.

    Points x = (t, s) have shape (n+1,), the time coordinate t > 0 first. The metric is that of
    Minkowski space, <u, v> = -u_0 v_0 + <u_s, v_s>. All methods cost O(n).

    The time coordinate of points and tangent vectors follows from the others, and reading it costs
    digits: far out -t^2 + |s|^2 is a difference of nearly equal numbers, so that in float32 the
    textbook distance is noise from radius 8, where t^2 eps = 1. Here `inner`, `dist`, `log`, `exp`
    and `transport` read the n space coordinates only, take t from the equation above, and use the
    polar forms (`accuracy/hyperbolic_distance.py`); `dist` of the stored s is right to 1e-6 also in
    float32, and its gradient is zero where points coincide. They work in float64 inside and return
    the dtype of their arguments. What remains is the rounding of the storage: s is stored with a
    relative error eps, so in float32 a point at distance r lies where it was meant to within about
    3e-8 e^r, which is 1 % at radius 12.7; and `to_tangent`, which must read the time coordinate of
    an arbitrary vector, multiplies its error by c t^2.

    Args:
        n: dimension, at least 1.
        curvature: negative; a tensor without dimensions to learn it.

    Example:
        >>> import immersion as im
        >>> space = im.Lorentz(2)
        >>> x = space.proj(torch.tensor([0.0, 3.0, 0.0]))
        >>> y = space.proj(torch.tensor([0.0, 0.0, 3.0]))
        >>> x
        tensor([3.1623, 3.0000, 0.0000])
        >>> space.dist(x, y)
        tensor(2.9932)
    """

    def __post_init__(self) -> None:
        check_space(self)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n+1,)."""
        return (self.n + 1,)

    def inner(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b"]:
        """-u_0 v_0 + <u_s, v_s> for tangent u and v, from their space coordinates."""
        s = _space(x)
        a, b = self._parts(s, _space(u))
        p, q = self._parts(s, _space(v))
        return (a * p + dot(b, q)).squeeze(-1).to(u.dtype)

    def proj(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """The point with the same space coordinates; these shortened past sqrt(c)|s| = 6e18.

        That is radius 44, where squares near the range of float32; for float64 it is radius 230.
        """
        return self._stored(_space(x), x.dtype)

    def to_tangent(
        self, x: Float[Tensor, "*b m"], a: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """The orthogonal projection a + c <x, a> x of Minkowski space."""
        return self._tangent(x, a, 1)

    def egrad2rgrad(
        self, x: Float[Tensor, "*b m"], g: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """The tangent part of (-g_0, g_s)."""
        return self._tangent(x, g, -1)

    def christoffel(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """Zero: the metric is that of the ambient Minkowski space."""
        return torch.zeros_like(x * u * v)

    def retract(self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """`exp`."""
        return self.exp(x, u)

    def transport(
        self, x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b m"]:
        """Parallel transport along the geodesic."""
        return self._transport(_space(x), _space(y), _space(v)).to(v.dtype)

    def carry(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> tuple[Float[Tensor, "*b m"], Float[Tensor, "*b m"]]:
        """`exp`, and v transported in parallel."""
        y = self.exp(x, u)
        return y, self._transport(_space(x), _space(y), _space(v)).to(v.dtype)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b m"]:
        """A standard normal tangent vector at the origin (1/sqrt(c), 0), through `exp`."""
        a = torch.randn(*batch, self.n, generator=generator, dtype=dtype, device=device)
        v = a.double()
        length = self.sharpness**0.5 * safe_length(v, keepdim=True)
        return self._stored(sinhc(length) * v, a.dtype)

    def random_tangent(
        self, x: Float[Tensor, "*b m"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b m"]:
        """A standard normal vector of R^n, its part along s multiplied by sqrt(c) t."""
        s = _space(x)
        a = torch.randn(s.shape, generator=generator, dtype=x.dtype, device=x.device).double()
        along = over(dot(s, a), dot(s, s)) * s
        return self._raised(s, self._stretch(s) * along + rejection(s, a)).to(x.dtype)

    def violation(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """| t - sqrt(1/c + |s|^2) | divided by that root: the relative error of the time."""
        t = self._time(_space(x))
        return ((x[..., :1].double() - t).abs() / (self.sharpness**0.5 * t)).squeeze(-1).to(x.dtype)

    def exp(self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """cosh(l) x + sinh(l)/l u for l = sqrt(c)|u|; cut at l = 460."""
        c = self.sharpness
        s, v = _space(x), _space(u)
        a, b = self._parts(s, v)
        b_square = c * dot(b, b)
        size = safe_sqrt(c * a.square() + b_square)
        cut = torch.where(size > LONGEST, LONGEST / torch.where(size > LONGEST, size, 1), 1)
        a, b, v, size, b_square = cut * a, cut * b, cut * v, cut * size, cut.square() * b_square
        r = self._radius(s)
        near = r < NEAR
        ahead = forward(r, c**0.5 * a, b_square, size)
        along = torch.where(
            near, torch.cosh(size), over(ahead, c**0.5 * safe_length(s, keepdim=True))
        )
        return self._stored(along * s + sinhc(size) * torch.where(near, v, b), x.dtype)

    def log(self, x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m"]:
        """d / sinh(d) (y - cosh(d) x), d = sqrt(c) times the distance."""
        c = self.sharpness
        s, w = _space(x), _space(y)
        r = self._radius(s)
        near = r < NEAR
        seen = corner(s, w)
        apart = self._apart(s, w)
        square = torch.sinh(apart / 2).square() + c * seen.turn
        scale = 1 / sinhc(2 * torch.asinh(safe_sqrt(square)))
        length = c**0.5 * safe_length(s, keepdim=True)
        outward = torch.sinh(apart) - 2 * torch.cosh(r) * over(c * seen.turn, length)
        far = over(outward * torch.cosh(r), length) * s + seen.across
        u = torch.where(near, (w - s) - 2 * square * s, far)
        return self._raised(s, scale * u).to(x.dtype)

    def dist(self, x: Float[Tensor, "*b m"], y: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """2 asinh(sqrt(c)|x - y| / 2) / sqrt(c), |x - y|^2 as a sum of positive terms."""
        c = self.sharpness
        s, w = _space(x), _space(y)
        square = torch.sinh(self._apart(s, w) / 2).square() + c * corner(s, w).turn
        return (2 * torch.asinh(safe_sqrt(square)) / c**0.5).squeeze(-1).to(x.dtype)

    def _time(self, s: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
        return (1 / self.sharpness + dot(s, s)).sqrt()

    def _stretch(self, s: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
        """sqrt(c) t, cosh of the radius."""
        return self.sharpness**0.5 * self._time(s)

    def _radius(self, s: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
        return torch.asinh(self.sharpness**0.5 * safe_length(s, keepdim=True))

    def _apart(self, s: Float[Tensor, "*b n"], w: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
        """Radius of w minus radius of s, from their difference."""
        length, other = safe_length(s, keepdim=True), safe_length(w, keepdim=True)
        both = length * self._stretch(w) + other * self._stretch(s)
        return torch.asinh(self.sharpness**0.5 * over(dot(w - s, w + s), both))

    def _parts(
        self, s: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]
    ) -> tuple[Float[Tensor, "*b 1"], Float[Tensor, "*b n"]]:
        """Outward component of the tangent vector with space coordinates u, and its part across."""
        along = over(dot(s, u), safe_length(s, keepdim=True))
        return along / self._stretch(s), rejection(s, u)

    def _transport(
        self, s: Float[Tensor, "*b n"], w: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b m"]:
        r, q = self._radius(s), self._radius(w)
        # the origin has the outward direction of the other point
        v, z = torch.where(r > 0, s, w), torch.where(q > 0, w, s)
        along = over(dot(v, u), safe_length(v, keepdim=True)) / self._stretch(s)
        a, b = rotated(v, z, r, q, along, rejection(v, u))
        outward = self._stretch(w) * over(z, safe_length(z, keepdim=True))
        return self._raised(w, a * outward + b)

    def _tangent(
        self, x: Float[Tensor, "*b m"], a: Float[Tensor, "*b m"], sign: float
    ) -> Float[Tensor, "*b m"]:
        """Orthogonal projection of a, its time coordinate times `sign`.

        Far out it multiplies errors by c t^2. So where a is tangent but for the rounding of its
        time coordinate, it counts as tangent (in value, and not in its derivative).
        """
        s, b, a0 = _space(x), _space(a), sign * a[..., :1].double()
        t = self._time(s)
        off = a0 - dot(s, b) / t
        rounding = off.abs() <= torch.finfo(a.dtype).eps * a0.abs()
        off = torch.where(rounding, off - off.detach(), off)
        return self._raised(s, b - self.sharpness * t * off * s).to(a.dtype)

    def _raised(self, s: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        """The tangent vector at s with space coordinates u."""
        return torch.cat([dot(s, u) / self._time(s), broadcast(s, u)[1]], -1)

    def _stored(self, s: Float[Tensor, "*b n"], dtype: torch.dtype) -> Float[Tensor, "*b m"]:
        """The point with space coordinates s, shortened where they are too long for the dtype."""
        limit = (6e18 if dtype == torch.float32 else 3e99) / self.sharpness**0.5
        length = safe_length(s, keepdim=True)
        outside = length > limit
        s = torch.where(outside, limit / torch.where(outside, length, 1), 1) * s
        return torch.cat([self._time(s), s], -1).to(dtype)


def _space(x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
    return x[..., 1:].double()
