"""Hyperbolic geometry in polar coordinates round the origin, in forms that keep far points apart.

At distance 20 from the origin the hyperboloid has coordinates of 2e8, and a distance of 1 between
two of its points is a difference of squares of 1e17. In polar coordinates the same distance is a
sum of positive terms, sinh(d/2)^2 = sinh((s-r)/2)^2 + sinh(r) sinh(s) sin(t/2)^2 with radii r, s
and the angle t, and so are the other laws of the triangle. What remains to watch is the angle:
sinh(r) sinh(s) multiplies the error of its square by 1e34 at radius 40, so `rejection` finds it
from the stored coordinates without any rounding that counts.

All is in float64 and for curvature -1: radii and lengths are those of the space times sqrt(c). A
point enters as its stored vector v, of which the direction alone matters, and its radius r. A
tangent vector is given by its outward component a, shape (*b, 1), and its part b across, (*b, n),
both in units of the metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from immersion.core.scalars import safe_length, sinhc
from immersion.known.hyperbolic.boundary import upper_half

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: Below this radius the models use expressions in v and not in its direction, whose derivative
#: grows like 1/r.
NEAR = 1e-3

#: Steps are cut at this length, which is past every point stored: sinh must not overflow.
LONGEST = 460.0


class Corner(NamedTuple):
    """Two points v and w seen from the origin, at the angle t."""

    across: Tensor
    """Part of w orthogonal to v."""
    turn: Tensor
    """|v| |w| sin(t/2)^2, zero where one of them is the origin."""


def dot(u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    """<u, v>."""
    return (u * v).sum(-1, keepdim=True)


def over(a: Float[Tensor, "*b n"], b: Float[Tensor, "*b 1"]) -> Float[Tensor, "*b n"]:
    """a / b, zero where b is zero."""
    nonzero = b != 0
    return torch.where(nonzero, a / torch.where(nonzero, b, 1), 0)


def rejection(v: Float[Tensor, "*b n"], a: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """The part of a orthogonal to v, right to about 1e-31 |a|; all of a where v is zero.

    A float64 projection leaves 1e-16 |a|, which at radius 40 would set points of one ray 20 apart.
    Here multiples of v with 26-bit factors are taken off, four times: these products and
    differences are exact, so the error is that of the last factor. The derivative is that of the
    plain projection.
    """
    square = dot(v, v)
    nonzero = square > 0
    inverse = torch.where(nonzero, 1 / torch.where(nonzero, square, 1), 0)
    plain = a - (dot(v, a) * inverse) * v
    fixed, rest, inverse = v.detach(), a.detach(), inverse.detach()
    high = upper_half(fixed)
    low = fixed - high
    for _ in range(4):
        q = upper_half(dot(fixed, rest) * inverse)
        rest = (rest - high * q) - low * q
    return plain + (rest - plain.detach())


def corner(v: Float[Tensor, "*b n"], w: Float[Tensor, "*b n"]) -> Corner:
    """The angle between v and w: from the rejection where it is acute."""
    across, product = rejection(v, w), dot(v, w)
    length = safe_length(v, keepdim=True)
    lengths = length * safe_length(w, keepdim=True)
    acute = product > 0
    area = length * safe_length(across, keepdim=True)
    ratio = area / torch.where(acute, lengths + product, 1)
    return Corner(across, torch.where(acute, area * ratio, lengths - product) / 2)


def forward(
    r: Float[Tensor, "*b 1"],
    a: Float[Tensor, "*b 1"],
    b_square: Float[Tensor, "*b 1"],
    size: Float[Tensor, "*b 1"],
) -> Float[Tensor, "*b 1"]:
    """cosh(size) sinh(r) + sinh(size)/size a cosh(r), size^2 = a^2 + b^2.

    The coordinate of exp(a, b) along the ray it starts from. After a long step inwards the two
    terms cancel; then, with a = size cos(p), it is sinh(r + size) cos(p/2)^2 +
    sinh(r - size) sin(p/2)^2, where the first square is found from b.
    """
    inwards = (a < 0) & (size > 1)
    plain = torch.cosh(size) * torch.sinh(r) + sinhc(size) * torch.cosh(r) * a
    s, i = torch.where(inwards, size, 1), torch.where(inwards, -a, 1)
    cosine, sine = b_square / (s + i) / (2 * s), (s + i) / (2 * s)
    turned = torch.sinh(r + s) * cosine + torch.sinh(r - s) * sine
    return torch.where(inwards, turned, plain)


def rotated(
    v: Float[Tensor, "*b n"],
    w: Float[Tensor, "*b n"],
    r: Float[Tensor, "*b 1"],
    s: Float[Tensor, "*b 1"],
    a: Float[Tensor, "*b 1"],
    b: Float[Tensor, "*b n"],
) -> tuple[Float[Tensor, "*b 1"], Float[Tensor, "*b n"]]:
    """Parallel transport of (a, b) from v at radius r to w at radius s.

    In the plane of the triangle with the origin the vector turns, against the outward direction, by
    the angle 2h at the origin plus the area: tan(h) = tan(t/2) cosh((r+s)/2) / cosh((s-r)/2), by
    Napier's analogy. What is orthogonal to that plane stays. The directions across v and across w
    in the plane have no meaning where v and w are parallel, so no unit vector along them is formed:
    they enter as the rejections, which vanish there.
    """
    seen = corner(v, w)
    one, other = safe_length(v, keepdim=True), safe_length(w, keepdim=True)
    cosine = over(dot(v, w), one * other)
    acute = cosine >= 0
    half = over(seen.turn, one * other)
    whole = 1 + torch.sinh((s - r) / 2).square() + torch.sinh(r) * torch.sinh(s) * half
    near, far = torch.cosh((s - r) / 2).square(), torch.cosh((s + r) / 2).square()
    mixed = (torch.cosh(r) + torch.cosh(s)) / (2 * whole)
    ahead, back = over(seen.across, other), over(rejection(w, v), one)
    along = dot(b, ahead)
    share = 1 + cosine.abs()
    turned = ahead / share + torch.where(acute, 1, -1) * over(v, one)
    stretch = torch.where(acute, far, -near) / (share * whole)
    return (
        a * ((1 - half) * near - half * far) / whole + along * mixed,
        b - along * turned + (along * stretch + a * mixed) * back,
    )
