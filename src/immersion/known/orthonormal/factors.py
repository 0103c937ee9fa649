"""Parts and factors of matrices that the orthonormal family is built from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch

from immersion.core.linalg import symmetric_eigen
from immersion.core.scalars import safe_length
from immersion.core.unwatched import unwatched

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from immersion.core.metric import Metric


def sym(a: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Symmetric part."""
    return (a + a.mT) / 2


def skew(a: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Skew-symmetric part."""
    return (a - a.mT) / 2


def plus_product(
    a: Float[Tensor, "*b n p"],
    x: Float[Tensor, "*b n q"],
    s: Float[Tensor, "*b q p"],
    scale: float,
) -> Float[Tensor, "*b n p"]:
    """a + scale x s, in one pass over memory where the shapes allow it."""
    if a.ndim == 3 and a.shape[0] == x.shape[0] == s.shape[0] and x.ndim == s.ndim == 3:
        return torch.baddbmm(a, x, s, alpha=scale)
    return a + scale * (x @ s)


def conjugate(a: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b n m"]:
    """Conjugate transpose of a complex matrix, in memory.

    torch's own `mH` only marks the matrix as conjugate, and torch 2.13 forgets the mark inside an
    operator that AOTAutograd runs: its products are then wrong, and nothing tells.
    """
    return torch.conj_physical(a).mT


def product(u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
    """tr(u^T v)."""
    return (u * v).sum((-2, -1))


def excess(x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b p p"]:
    """x^T x - I, with the diagonal to the last digits.

    A diagonal entry of x^T x rounds to a multiple of 6e-8 in float32, which is the larger part of
    what is left of x that are corrected by it: 4e-7 in spectral norm (64 x 32, 512 x 256). Sums of
    x^2 - 1/n do not round at 1, and leave 2e-7 and 3e-7, for a tenth of the cost of the product.
    """
    n = x.shape[-2]
    bits = 24 if x.dtype == torch.float32 else 53
    part, exponent = math.frexp(1 / n)
    share = math.ldexp(round(math.ldexp(part, bits)), exponent - bits)  # 1 / n in the dtype of x
    each = torch.full((), -share, dtype=x.dtype, device=x.device)
    diagonal = torch.addcmul(each, x, x).sum(-2)
    if n * share != 1:
        diagonal = diagonal + (n * share - 1)
    return torch.diagonal_scatter(x.mT @ x, diagonal, 0, -2, -1)


def residual(x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
    """Spectral norm of x^T x - I: no unit vector z has |x z|^2 further from 1. NaN stays NaN."""
    e = excess(x)
    finite = torch.isfinite(e).all(-1).all(-1)
    values, _ = symmetric_eigen(torch.where(finite[..., None, None], e, 0))
    return torch.where(finite, values.abs().amax(-1), torch.nan)


def identity(x: Float[Tensor, "*b n p"]) -> Float[Tensor, "p p"]:
    """The p x p identity, of the dtype and on the device of x."""
    return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def polish(x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """One Newton-Schulz step to the nearest orthonormal columns: a residual r becomes 3 r^2 / 4.

    Formulas that multiply orthonormal factors let the rounding of each step add up; after this the
    residual is that of one rounding, whatever came before. Its derivative at orthonormal x is the
    projection to the tangent space.
    """
    return plus_product(x, x, excess(x), -0.5)


def settled(x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """x where its columns are orthonormal to rounding, polished elsewhere; polished by derivative.

    Polishing rounds, and y - x would lose its digits where y is near x.
    """
    rounding = 64 * math.sqrt(x.shape[-1]) * torch.finfo(x.dtype).eps
    if x.is_cpu and unwatched(x):
        drift = cast("Tensor", torch.linalg.matrix_norm(x.mT @ x - identity(x)))
        if bool((drift <= rounding).all()):
            return x
    e = excess(x)
    near = plus_product(x, x, e, -0.5)
    drift = safe_length(e.detach().flatten(-2))[..., None, None]
    return torch.where(drift > rounding, near, x.detach() + (near - near.detach()))


def exponential(a: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Matrix exponential.

    Of a single matrix, torch 2.13 returns it wrong by up to 1e-10 in float64 and 2e-5 in float32
    (pytorch issue 196592: a coefficient that batches do not use), so one never goes alone.
    """
    batch = torch.nn.functional.pad(a.reshape(-1, *a.shape[-2:]), (0, 0, 0, 0, 0, 1))
    return torch.matrix_exp(batch)[:-1].reshape(a.shape)


def upright_qr(a: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """Orthonormal factor of a = q r whose triangular factor has a positive diagonal."""
    q, r = cast("tuple[Tensor, Tensor]", torch.linalg.qr(a))
    sign = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1, 1).to(a.dtype)
    return q * sign.unsqueeze(-2)


def haar(
    n: int,
    p: int,
    batch: tuple[int, ...],
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Float[Tensor, "*b n p"]:
    """Uniform n x p matrices with orthonormal columns; with p = n, uniform rotations.

    The orthonormal factor of a normal matrix is uniform if the triangular factor is upright
    (Mezzadri 2007, arXiv math-ph/0609050). With p = n its last column is turned where the
    determinant is negative, which maps the uniform distribution of O(n) to that of SO(n).
    """
    a = torch.randn(*batch, n, p, generator=generator, dtype=dtype, device=device)
    x = polish(upright_qr(a))
    return upright(x) if p == n else x


def upright(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Orthogonal matrices, with the last column turned round where the determinant is -1."""
    sign = torch.ones_like(x[..., 0, :])
    sign[..., -1] = torch.where(torch.det(x.detach()) < 0, -1, 1).to(x.dtype)
    return x * sign.unsqueeze(-2)


def per_area(
    metric: Metric,
    x: Float[Tensor, "*b n p"],
    u: Float[Tensor, "*b n p"],
    v: Float[Tensor, "*b n p"],
    bend: Float[Tensor, "*b"],
) -> Float[Tensor, "*b"]:
    """bend / (|u|^2 |v|^2 - <u, v>^2), zero where u and v are parallel to rounding."""
    if metric.dim < 2:
        return torch.zeros_like(bend)
    squares = metric.inner(x, u, u) * metric.inner(x, v, v)
    area = squares - metric.inner(x, u, v).square()
    spanned = area > 64 * torch.finfo(area.dtype).eps * squares
    return torch.where(spanned, bend / torch.where(spanned, area, 1), 0)
