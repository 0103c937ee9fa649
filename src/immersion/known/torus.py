"""The flat torus."""

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

#: pi as each dtype stores it, and what two of them lack to a full turn.
_PI = {
    torch.float32: (3.1415927410125732, -1.7484555314695172e-07),
    torch.float64: (math.pi, 2.4492935982947064e-16),
}
#: 2 pi in three parts, the first two so short that whole multiples of them are exact up to 30,000
#: turns in float32 and 10^6 in float64 (Cody and Waite 1980).
_TURN = {
    torch.float32: (6.28125, 0.001934051513671875, 1.2556658930407139e-06),
    torch.float64: (6.2831853069365025, 2.4308402025215864e-10, 8.089064995183803e-21),
}


@dataclass(frozen=True)
class Torus(CurvedManifold):
    """The flat torus: n angles, each modulo 2 pi.

    Points have shape (n,), with angles from -pi to pi; `proj` wraps every angle there, and
    `violation` is how far outside they are. Both ends are allowed, since pi as stored is not pi
    itself. Tangent vectors are any n numbers, in radians. It is flat, with straight lines that
    wrap, and all methods cost O(n).

    Differences are taken the short way round, and keep all their digits across the cut at pi too:
    both angles are subtracted from pi before from each other, and what the stored pi lacks is
    added. Wrapping has derivative 1. Where two angles are half a turn apart there are two shortest
    ways: `log` takes the one that does not cross the cut, and its derivative.

    Args:
        n: number of angles, at least 1.

    Raises:
        InputError: n below 1.

    Example:
        >>> import immersion as im
        >>> clock = im.Torus(1)
        >>> before, after = torch.tensor([3.0]), torch.tensor([-3.0])
        >>> clock.log(before, after)
        tensor([0.2832])
        >>> clock.exp(before, torch.tensor([0.5]))
        tensor([-2.7832])
    """

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"Torus(n) needs a number n of at least 1 angles, not {self.n}")

    @property
    def dim(self) -> int:
        """Number of angles n."""
        return self.n

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n,)."""
        return (self.n,)

    def inner(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b"]:
        """Sum of the products of entries, whatever x."""
        return (u * v).sum(-1)

    def proj(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """Every angle less whole turns; itself where it is between -pi and pi already."""
        return _wrap(x)

    def to_tangent(
        self, x: Float[Tensor, "*b n"], a: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """a itself."""
        return broadcast(x, a)[1]

    def egrad2rgrad(
        self, x: Float[Tensor, "*b n"], g: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """g itself."""
        return broadcast(x, g)[1]

    def christoffel(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """Zero."""
        return torch.zeros_like(u * v)

    def retract(self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """x + u, wrapped."""
        return _wrap(x + u)

    def transport(
        self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """v itself."""
        return broadcast(broadcast(x, y)[0], v)[1]

    def carry(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n"]]:
        """x + u, wrapped, and v itself."""
        return broadcast(_wrap(x + u), v)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b n"]:
        """Uniform angles."""
        share = torch.rand(*batch, self.n, generator=generator, dtype=dtype, device=device)
        return (2 * share - 1) * math.pi

    def random_tangent(
        self, x: Float[Tensor, "*b n"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b n"]:
        """Standard normal vectors."""
        return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)

    def violation(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """Euclidean length of the angles' distances to the interval [-pi, pi]."""
        half, _ = _PI[x.dtype]
        return safe_length(x - x.clamp(-half, half))

    def exp(self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """x + u, wrapped."""
        return _wrap(x + u)

    def log(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """The short way from x to y round each circle, in [-pi, pi]."""
        half, rest = _PI[x.dtype]
        straight = y - x
        side = -straight.sign()
        # Where the sum is small both its terms are exact (Sterbenz), so that nothing cancels.
        across = ((y + side * half) + (side * half - x)) + side * rest
        return torch.where(straight.abs() > half, across, straight)

    def dist(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """Length of the short way, with gradient zero where the points coincide."""
        return safe_length(self.log(x, y))

    def injectivity_radius(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """pi, everywhere."""
        return torch.full_like(x[..., 0], math.pi)

    def sectional_curvature(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b"]:
        """Zero."""
        return torch.zeros_like((x * u * v)[..., 0])


def _wrap(t: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The angle less whole turns; itself where it is between -pi and pi as stored."""
    half, _ = _PI[t.dtype]
    turns = (t / (2 * math.pi)).round_()
    high, middle, low = _TURN[t.dtype]
    angle = torch.sub(t, turns, alpha=high).sub_(turns, alpha=middle).sub_(turns, alpha=low)
    # Rounding can leave it beyond pi by a few ulp; that is cut off with derivative 1.
    beyond = angle.detach() - angle.detach().clamp(-half, half)
    return angle - beyond
