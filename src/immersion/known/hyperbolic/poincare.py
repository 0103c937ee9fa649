"""The Poincare ball model of hyperbolic space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import torch

from immersion.core.arguments import require_points
from immersion.core.errors import InputError
from immersion.core.linalg import broadcast
from immersion.core.scalars import safe_length
from immersion.known.hyperbolic.boundary import MARGIN, gap, largest_norm, least_gap, split_grid
from immersion.known.hyperbolic.gyration import (
    exponential,
    logarithm,
    moebius_sum,
    separation,
    shortened,
    transported,
)
from immersion.known.hyperbolic.rows import as_rows
from immersion.known.hyperbolic.space import HyperbolicSpace, check_space

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
@dataclass(frozen=True, repr=False)
class PoincareBall(HyperbolicSpace):
    """Hyperbolic space as the ball |x| < 1/sqrt(c) of R^n, c = -curvature.

    Points and tangent vectors have shape (n,). The metric is conformal, <u, v> scaled by the square
    of 2 / (1 - c|x|^2). All methods cost O(n).

    Distances are 2 asinh(sqrt(c) |x-y| / sqrt((1-c|x|^2)(1-c|y|^2))) / sqrt(c), and `exp`, `log`
    and `transport` are arranged so that nothing cancels (`accuracy/poincare_distance.py`). They
    work in float64 inside and return the dtype of their arguments; `dist` and `log` are right to
    8 ulp for the points as stored. What limits the model is the storing: a float32 point at
    distance r from the origin is off by about 3e-8 e^r, which is 1 % at radius 12.7, and `proj`
    stops at radius 15.2 (norm 1 - 4.8e-7); for float64 1 % is reached at 32.8, the end at 35.3.
    Farther out use `LogHyperbolic`.

    A point on the boundary or outside is none; `dist` and the others treat it as one just inside,
    with finite values and gradients. `check` accepts it up to its tolerance, `proj` brings it in.

    Args:
        n: dimension, at least 1.
        curvature: negative; a tensor without dimensions to learn it.
        retraction: "exp"; or "euclidean", x + u brought back into the ball (Nickel and Kiela 2017),
            of first order, a little cheaper, and wrong by far for long steps near the boundary.

    Example:
        >>> import immersion as im
        >>> ball = im.PoincareBall(2)
        >>> x, y = torch.tensor([0.0, 0.5]), torch.tensor([0.5, 0.0])
        >>> ball.dist(x, y)
        tensor(1.6807)
        >>> ball.geodesic(x, y, 0.5)
        tensor([0.2192, 0.2192])
    """

    retraction: Literal["exp", "euclidean"] = "exp"

    def __post_init__(self) -> None:
        check_space(self)
        if self.retraction not in ("exp", "euclidean"):
            raise InputError(
                f'PoincareBall: retraction is "exp" or "euclidean", not {self.retraction!r}'
            )

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Shape (n,)."""
        return (self.n,)

    def inner(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b"]:
        """4 <u, v> / (1 - c|x|^2)^2."""
        c = self.sharpness
        rows = as_rows(x, u, v)
        if rows is not None and isinstance(c, float):
            from immersion.known.hyperbolic.kernels import inner_rows  # numba takes 0.3 s to import

            products = torch.empty(u.shape[:-1], dtype=u.dtype)
            out = products.view(-1).numpy()
            inner_rows(rows[0], rows[1], rows[2], c, split_grid(c), least_gap(x.dtype), out)
            return products
        scale = (2 / gap(x, c)).square()
        return (scale * (u * v).sum(-1, keepdim=True)).squeeze(-1).to(u.dtype)

    def proj(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """x, shortened to norm (1 - 4 eps)/sqrt(c) where it is longer; eps of its dtype."""
        return self._inside(x.double(), x.dtype)

    def to_tangent(
        self, x: Float[Tensor, "*b n"], a: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """a itself: every vector is tangent."""
        return broadcast(x, a)[1]

    def egrad2rgrad(
        self, x: Float[Tensor, "*b n"], g: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """(1 - c|x|^2)^2 / 4 g."""
        return (gap(x, self.sharpness) / 2).square().to(g.dtype) * g

    def christoffel(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """2c / (1 - c|x|^2) (<x, u> v + <x, v> u - <u, v> x)."""
        c = self.sharpness
        scale = (2 * c / gap(x, c)).to(x.dtype)
        xu, xv, uv = ((a * b).sum(-1, keepdim=True) for a, b in ((x, u), (x, v), (u, v)))
        return scale * (xu * v + xv * u - uv * x)

    def retract(self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """The retraction chosen."""
        return self.exp(x, u) if self.retraction == "exp" else self.proj(x + u)

    def transport(
        self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """Parallel transport along the geodesic: the gyration gyr[y, -x] v, rescaled."""
        c = self.sharpness
        x64, d = x.double(), y.double() - x.double()
        return transported(x64, d, v.double(), gap(x, c), gap(y, c), c).to(v.dtype)

    def carry(
        self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n"]]:
        """The step, and v transported: in parallel with "exp", else rescaled to keep its length.

        Tables of 8,192 numbers and more are stepped in one pass over memory, on the CPU and where
        no derivative is recorded (`kernels.py`).
        """
        c = self.sharpness
        if self.retraction == "exp":
            return _carried(x, u, v, c)
        y = self.proj(x + u)
        return y, (gap(y, c) / gap(x, c)).to(v.dtype) * v

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "*b n"]:
        """A standard normal tangent vector at the origin, through `exp`."""
        origin = torch.zeros(*batch, self.n, dtype=dtype, device=device)
        return self.exp(origin, self.random_tangent(origin, generator))

    def random_tangent(
        self, x: Float[Tensor, "*b n"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "*b n"]:
        """A standard normal vector of R^n times (1 - c|x|^2)/2."""
        a = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return (gap(x, self.sharpness) / 2).to(x.dtype) * a

    def violation(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """How much longer x is than (1 - 2 eps)/sqrt(c), zero inside; eps of its dtype."""
        limit = (1 - MARGIN / 2 * torch.finfo(x.dtype).eps) * self.sharpness**-0.5
        return (safe_length(x.double()) - limit).clamp_min(0).to(x.dtype)

    def exp(self, x: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """x (+) tanh(sqrt(c)|u| / (1-c|x|^2)) u / (sqrt(c)|u|), kept inside as by `proj`."""
        c = self.sharpness
        return self._inside(exponential(x.double(), u.double(), gap(x, c), c), x.dtype)

    def log(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """The direction of (-x) (+) y with the length of the geodesic, to 8 ulp."""
        c = self.sharpness
        x64, d = x.double(), y.double() - x.double()
        return logarithm(x64, d, gap(x, c), gap(y, c), c).to(x.dtype)

    def dist(self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """Length of the geodesic, to 8 ulp; gradient zero where the points coincide."""
        c = self.sharpness
        z = separation(y.double() - x.double(), gap(x, c), gap(y, c), c)
        return (2 * torch.asinh(z) / c**0.5).squeeze(-1).to(x.dtype)

    def moebius_add(
        self, x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """x (+) y, the point that y becomes when the origin is moved to x.

        It is neither commutative nor associative; (-x) (+) (x (+) y) = y, and dist(x, y) is the
        distance of (-x) (+) y from the origin.
        """
        require_points(self, "moebius_add", x, y)
        c = self.sharpness
        return self._inside(moebius_sum(x.double(), y.double(), gap(x, c), gap(y, c), c), x.dtype)

    def _inside(self, x: Float[Tensor, "*b n"], dtype: torch.dtype) -> Float[Tensor, "*b n"]:
        """x in that dtype, shortened where it is longer than what the dtype can hold."""
        return shortened(x, largest_norm(dtype), self.sharpness).to(dtype)


def _carried(
    x: Float[Tensor, "*b n"],
    u: Float[Tensor, "*b n"],
    v: Float[Tensor, "*b n"],
    c: float | Tensor,
) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n"]]:
    """(exp_x(u), parallel transport of v along it); the same in one pass where that may be."""
    rows = as_rows(x, u, v)
    if rows is not None and isinstance(c, float):
        from immersion.known.hyperbolic.kernels import carry_rows  # numba takes 0.3 s to import

        y, w = torch.empty(x.shape, dtype=x.dtype), torch.empty(x.shape, dtype=v.dtype)
        to_y, to_w = (a.view(-1, a.shape[-1]).numpy() for a in (y, w))
        limit, least, grid = largest_norm(x.dtype) / c**0.5, least_gap(x.dtype), split_grid(c)
        carry_rows(rows[0], rows[1], rows[2], c, grid, least, limit, to_y, to_w)
        return y, w
    x64, gap_x = x.double(), gap(x, c)
    y = shortened(exponential(x64, u.double(), gap_x, c), largest_norm(x.dtype), c)
    w = transported(x64, y - x64, v.double(), gap_x, gap(y, c), c)
    return y.to(x.dtype), w.to(v.dtype)
