"""The logarithm and the distance of the Stiefel manifold, under both metrics.

With q orthonormal across x, the geodesic from x with velocity u = x A + q B ends at

    y = [x q] exp([[2 b A, -B^T], [B, 0]]) [I; 0] exp((1 - 2 b) A),

b = 1 for the Euclidean metric and 1/2 for the canonical one (Edelman, Arias and Smith 1998, arXiv
physics/9806030; Zimmermann and Hueper 2022, arXiv 2103.12046). So the logarithm asks for the A, B
that reach V = [x q]^T y: a problem of size 2p whatever n (`shooting`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from immersion.core.linalg import broadcast
from immersion.core.scalars import safe_length
from immersion.known.orthonormal.factors import polish, settled, skew
from immersion.known.orthonormal.logarithms.exponent import Exponent, minimal_residual
from immersion.known.orthonormal.logarithms.rotation import orthogonal_log
from immersion.known.orthonormal.logarithms.shooting import canonical_exponent, euclidean_exponent
from immersion.known.orthonormal.moves import geodesic_velocity
from immersion.known.orthonormal.operators import batched_operator, with_gradients

if TYPE_CHECKING:
    from jaxtyping import Float


def stiefel_log(
    x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"], beta: float
) -> Float[Tensor, "*b n p"]:
    """u = x A + q B of least length whose geodesic ends at y; computed in float64.

    Error about 1e-14 within 0.9 of the injectivity radius, relative to the distance. Beyond the
    injectivity radius the geodesic found need not be the shortest, and where the iterations give
    up it is the last iterate: finite, and exp(x, u) tells. Derivatives of first order, by one
    linear system more, O(10 p^3) for each of the 10 to 200 steps it takes.
    """
    return _between(settled(x), settled(y), beta)


def _between(
    x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"], beta: float
) -> Float[Tensor, "*b n p"]:
    if x.shape[-2] == x.shape[-1]:
        return x @ orthogonal_log(x, y)
    return cast("Tensor", _stiefel_log(*broadcast(x, y), beta))


def stiefel_dist(
    x: Float[Tensor, "*b n p"], y: Float[Tensor, "*b n p"], beta: float
) -> Float[Tensor, "*b"]:
    """Length of `stiefel_log`, with the velocities of the geodesic as its gradients.

    These need no linear system, and their own derivative is that of `stiefel_log`.
    """
    x, y = settled(x), settled(y)
    u = _between(x, y, beta)
    A = x.mT @ u
    flat = torch.cat([(u - x @ A).flatten(-2), math.sqrt(beta) * A.flatten(-2)], -1)
    length = safe_length(flat)
    apart = (length > 0)[..., None, None]
    size = torch.where(apart, length[..., None, None], 1)
    start = torch.where(apart, u / size, 0)
    end = torch.where(apart, geodesic_velocity(x, u, beta) / size, 0)
    lowered = [v + (beta - 1) * (z @ (z.mT @ v)) for z, v in ((x, start), (y, end))]
    return with_gradients(length, x, y, -lowered[0], lowered[1])


def _frame_across(
    x: Float[Tensor, "b n p"], w: Float[Tensor, "b n p"]
) -> tuple[Float[Tensor, "b n r"], Float[Tensor, "b r p"]]:
    """q, N with w = q N and [x q] orthonormal, whatever the rank of w; r = min(p, n - p)."""
    p = x.shape[-1]
    size = safe_length(w.flatten(-2))[:, None, None]
    size = torch.where(size > 0, size, 1)
    q, r = cast("tuple[Tensor, Tensor]", torch.linalg.qr(torch.cat([x, w / size], -1)))
    return q[..., p:], r[..., p:, p:] * size


def _log(x: Tensor, y: Tensor, beta: float) -> Tensor:
    """Numeric part, for p < n."""
    p = x.shape[-1]
    start, end = (z.reshape(-1, *x.shape[-2:]).double() for z in (x, y))
    if x.dtype != torch.float64:  # the points that the coarser ones are the rounding of
        start, end = polish(start), polish(end)
    across = end - start
    top = start.mT @ across
    q, N = _frame_across(start, across - start @ top)
    less = torch.cat([top, N], -2)
    c = canonical_exponent(less) if beta == 0.5 else euclidean_exponent(less)
    return (start @ c[..., :p, :] + q @ c[..., p:, :]).reshape(x.shape).to(x.dtype)


def _adjoint(x: Tensor, y: Tensor, u: Tensor, g: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Gradients by x and y of <g, log_x(y)>.

    By y, exp is inverted: within span[x q] its derivative is that of the exponent, and across both
    it is a p x p matrix. By x, all is turned so that x comes back: log(x + dx, y) is
    (I + O) log(x, y - O y) for skew O with O x = dx.
    """
    p = x.shape[-1]
    start, end, v, h = (z.reshape(-1, *x.shape[-2:]).double() for z in (x, y, u, g))
    A = start.mT @ v
    q, B = _frame_across(start, v - start @ A)
    exponent = Exponent.of(torch.cat([skew(A), B], -2), beta)
    frame = torch.cat([start, q], -1)
    inside = frame.mT @ h
    outside = h - frame @ inside
    inside = torch.cat([skew(inside[..., :p, :]), inside[..., p:, :]], -2)
    found = minimal_residual(exponent.pull, inside, 1e-14, 400)
    turned = found + exponent.outer.turn_less_identity() @ found
    turned = turned + turned @ exponent.inner.turn_less_identity()
    at_y = frame @ turned + cast("Tensor", torch.linalg.solve(exponent.across(), outside.mT)).mT
    one = h @ (v.mT @ start) - at_y @ (end.mT @ start)
    other = v @ (h.mT @ start) - end @ (at_y.mT @ start)
    at_x = one - other - start @ (start.mT @ one)
    return at_x.reshape(x.shape).to(x.dtype), at_y.reshape(x.shape).to(x.dtype)


def _log_backward(inputs: tuple[Tensor, Tensor, float], u: Tensor, g: Tensor) -> Any:
    x, y, beta = inputs
    return *_stiefel_log_adjoint(x, y, u, g, beta), None


_stiefel_log = batched_operator("stiefel_log", _log, _log_backward)
_stiefel_log_adjoint = batched_operator("stiefel_log_adjoint", _adjoint)
