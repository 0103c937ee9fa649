"""Parts and factors of matrices that the orthonormal family is built from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch

from immersion.core.scalars import safe_length

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


def conjugate(a: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b n m"]:
    """Conjugate transpose of a complex matrix, in memory.

    torch's own `mH` only marks the matrix as conjugate, and torch 2.13 forgets the mark inside an
    operator that AOTAutograd runs: its products are then wrong, and nothing tells.
    """
    return torch.conj_physical(a).mT


def product(u: Float[Tensor, "*b n p"], v: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
    """tr(u^T v)."""
    return (u * v).sum((-2, -1))


def residual(x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b"]:
    """Frobenius norm of x^T x - I, an upper bound of its spectral norm."""
    return safe_length((x.mT @ x - identity(x)).flatten(-2))


def identity(x: Float[Tensor, "*b n p"]) -> Float[Tensor, "p p"]:
    """The p x p identity, of the dtype and on the device of x."""
    return torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def polish(x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """One Newton-Schulz step to the nearest orthonormal columns: a residual r becomes 3 r^2 / 4.

    Formulas that multiply orthonormal factors let the rounding of each step add up; after this the
    residual is that of one rounding, whatever came before. Its derivative at orthonormal x is the
    projection to the tangent space.
    """
    return x @ (1.5 * identity(x) - 0.5 * (x.mT @ x))


def settled(x: Float[Tensor, "*b n p"]) -> Float[Tensor, "*b n p"]:
    """x where its columns are orthonormal to rounding, polished elsewhere; polished by derivative.

    Polishing rounds, and y - x would lose its digits where y is near x.
    """
    near = polish(x)
    drift = residual(x.detach()) > 64 * math.sqrt(x.shape[-1]) * torch.finfo(x.dtype).eps
    return torch.where(drift[..., None, None], near, x.detach() + (near - near.detach()))


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
    return upright(upright_qr(a)) if p == n else upright_qr(a)


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
