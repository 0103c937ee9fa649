"""Moves of orthonormal frames x along tangent u, and of vectors from one frame to another.

With A = x^T u and the part across, w = u - x A, every formula needs products of n x p matrices with
p x p ones, and one function of a p x p or 2p x 2p matrix: O(n p^2 + p^3). None decomposes u, so all
are smooth at u = 0 and where singular values repeat.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, cast

import torch

from immersion.core.linalg import length, symmetric_eigen
from immersion.core.scalars import safe_length
from immersion.known.orthonormal.factors import exponential, identity, polish, skew, upright_qr
from immersion.known.orthonormal.polar import polar_step

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Retraction = Literal["polar", "qr", "cayley", "exp"]


def step(
    x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], how: Retraction, beta: float
) -> Float[Tensor, "*b n p"]:
    """The retraction of that name; `beta` names the metric of "exp"."""
    if how == "polar":
        return polar_step(x, u)
    if how == "qr":
        return polish(upright_qr(x + u))
    if how == "cayley":
        return cayley(x, u)
    return geodesic_step(x, u, beta)


def cayley(x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """(I - W/2)^-1 (I + W/2) x, for the skew W that moves x by u and moves nothing across [x u].

    As (I - W/2)^-1 x = x a + w a / 2 with (I - A/2 + w^T w / 4) a = I, one p x p system is enough,
    where Wen and Yin (2013, doi 10.1007/s10107-012-0584-1) have one of 2p x 2p; its symmetric part
    is at least I, so it is never singular.
    """
    A = x.mT @ u
    w = u - x @ A
    system = identity(x) - skew(A) / 2 + (w.mT @ w) / 4
    a = cast("Tensor", torch.linalg.inv(system))
    return polish((2 * x + w) @ a - x)


def geodesic_step(
    x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], beta: float
) -> Float[Tensor, "*b n p"]:
    """End of the geodesic [x q] exp([[2 beta A, -B^T], [B, 0]]) [I; 0] exp((1 - 2 beta) A).

    w = q B with q orthonormal; beta = 1 is the Euclidean metric and beta = 1/2 the canonical one
    (Edelman, Arias and Smith 1998, arXiv physics/9806030, section 2; the family in Zimmermann and
    Hueper 2022, arXiv 2103.12046). The similarity diag(I, B / s) makes it a function of w^T w,
    which needs no factor q; the scalar s balances the blocks.
    """
    if x.shape[-2] == x.shape[-1]:
        return polish(x @ exponential(skew(x.mT @ u)))
    return polish(_geodesic(x, u, beta)[0])


def geodesic_velocity(
    x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], beta: float
) -> Float[Tensor, "*b n p"]:
    """Velocity at the end of the same geodesic, where it is -log of x seen from there."""
    if x.shape[-2] == x.shape[-1]:
        return u @ exponential(skew(x.mT @ u))
    return _geodesic(x, u, beta)[1]


def turn(
    x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]
) -> Float[Tensor, "*b n p"]:
    """Q v for the orthogonal n x n matrix Q with Q x = y that is I across x and y, and if y = x.

    Q reflects x to -x and then, as a block Householder matrix does, -x to y:

        Q = (I - b k^-1 b^T) (I - 2 x x^T),   b = x + y,   k = I + y^T x.

    It is smooth in x and y while k is regular, and costs O(n p^2). k is singular where x and y have
    a column combination z of opposite signs, x z = -y z; then Q x z = -x z.
    """
    return v + 2 * y @ (x.mT @ v) - householder(x, x + y, v)


def householder(
    x: Float[Tensor, "*b n p"], both: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n q"]
) -> Float[Tensor, "*b n q"]:
    """b k^-1 b^T v, for k = b^T x and b = x + y with x and y orthonormal: I less it takes -x to y.

    It is orthogonal because k + k^T = b^T b, and stays so to rounding if k is put together from
    b^T b / 2 and a skew-symmetric part. In the singular vectors of b, each entry of that part is
    taken from the shorter column, which keeps its digits; scaled by the lengths, k is I / 2 and a
    skew-symmetric matrix, well conditioned whatever b. Columns that are zero to rounding take no
    part.
    """
    with torch.no_grad():
        turn = symmetric_eigen(both.mT @ both)[1]
        lengths, order = length((both @ turn).mT).unsqueeze(-2).sort(-1)
        turn = turn.gather(-1, order.expand_as(turn))
        kept = lengths > 4 * math.sqrt(x.shape[-2]) * torch.finfo(x.dtype).eps
        scale = torch.where(kept, 1 / torch.where(kept, lengths, 1), 0)
    a, b = x @ turn, both @ turn
    # Zero in exact numbers, but in rounded ones large beside the b^T b of short columns.
    along = a.mT @ b
    b = b - a @ (along + along.mT - b.mT @ b) / 2
    a, b = a * scale, b * scale
    gram = b.mT @ b
    # In ascending order of length, the rows of the upper triangle are of the shorter columns.
    upper = torch.triu(b.mT @ a - gram / 2, 1)
    k = gram / 2 + upper - upper.mT + torch.diag_embed((~kept).to(x.dtype).squeeze(-2))
    return b @ cast("Tensor", torch.linalg.solve(k, b.mT @ v))


def _geodesic(
    x: Float[Tensor, "*b n p"], u: Float[Tensor, "*b n p"], beta: float
) -> tuple[Float[Tensor, "*b n p"], Float[Tensor, "*b n p"]]:
    """End and velocity there, for p < n."""
    along = x.mT @ u
    w = u - x @ along
    A = skew(along)
    p = A.shape[-1]
    size = safe_length(w.detach().flatten(-2))[..., None, None]
    size = torch.where(size > 0, size, 1)
    w = w / size
    right = torch.cat([-size * (w.mT @ w), torch.zeros_like(A)], -2)
    left = torch.cat([2 * beta * A, (size * identity(x)).expand_as(A)], -2)
    turned = exponential(torch.cat([left, right], -1))
    columns = torch.cat([turned[..., :p], turned @ left], -1)
    ends = x @ columns[..., :p, :] + w @ columns[..., p:, :]
    y, velocity = ends[..., :p], ends[..., p:]
    if beta == 0.5:
        return y, velocity
    back = exponential((1 - 2 * beta) * A)
    return y @ back, (velocity + (1 - 2 * beta) * (y @ A)) @ back
