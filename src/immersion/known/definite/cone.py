"""What the three metrics share: the set of symmetric positive definite matrices, an open cone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch

from immersion.core.errors import InputError
from immersion.known.definite.matrix_functions import (
    Spectrum,
    eigenvalues,
    finite_part,
    matrix_function,
    spectrum,
    symmetric,
)

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


def require_size(name: str, n: int) -> None:
    """Raise unless n is a size that matrices have."""
    if n < 1:
        raise InputError(f"{name}(n) needs a matrix size n of at least 1, not {n}")


def least_ratio(n: int, dtype: torch.dtype) -> float:
    """Least over largest eigenvalue, 10 sqrt(n) eps, below which a matrix counts as singular.

    Rounding the entries of a matrix moves its eigenvalues by about sqrt(n) eps of the largest:
    below, a matrix cannot be told from a singular one, and may have no Cholesky factor.
    """
    return 10 * math.sqrt(n) * torch.finfo(dtype).eps


def cholesky(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Lower factor L of the symmetric part, x = L L^T; NaN where that is not positive definite."""
    L, definite = factor(symmetric(x))
    return torch.where(definite[..., None, None], L, torch.nan)


def factor(x: Float[Tensor, "*b n n"]) -> tuple[Float[Tensor, "*b n n"], Bool[Tensor, "*b"]]:
    """Lower factor of a matrix that is symmetric, and whether it is positive definite."""
    L, info = cast("tuple[Tensor, Tensor]", torch.linalg.cholesky_ex(x))
    return L, info == 0


def raise_spectrum(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Symmetric part with eigenvalues raised to twice `least_ratio` of the largest in size.

    The zero matrix becomes the identity. Matrices whose least eigenvalue is at least 3/4 of that
    are only symmetrised, so that rounding does not make a second projection differ from the first.
    """
    x = symmetric(x)
    s = spectrum(x)
    largest = s.values.abs().amax(-1)
    floor = 2 * least_ratio(x.shape[-1], x.dtype) * torch.where(largest > 0, largest, 1)
    scale = torch.where(largest > 0, floor, 1)[..., None, None]
    inside = (s.values[..., 0] >= 0.75 * floor)[..., None, None]
    scaled = Spectrum(x / scale, s.values / scale.squeeze(-1), s.vectors)
    return torch.where(inside, x, scale * symmetric(matrix_function("clip", scaled)))


def distance_from_cone(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
    """Relative asymmetry, plus 1 - (least eigenvalue) where x is not definite to rounding.

    All in units of the largest absolute eigenvalue, because the cone has no scale of its own. So a
    definite matrix has its asymmetry, a singular one about 1, the matrix -I has 2, and NaN has NaN.
    """
    safe, finite = finite_part(x)
    values = eigenvalues(symmetric(safe))
    size = safe.abs().amax((-2, -1))
    unit = torch.where(size > 0, torch.maximum(values.abs().amax(-1), size), 1)
    least = values[..., 0] / unit
    definite = least > least_ratio(x.shape[-1], x.dtype)
    asymmetry = (safe - safe.mT).abs().amax((-2, -1)) / unit
    return torch.where(
        finite[..., 0, 0], asymmetry + torch.where(definite, 0, 1 - least), torch.nan
    )


def normal_matrices(
    shape: tuple[int, ...],
    n: int,
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Float[Tensor, "*b n n"]:
    """Standard normal symmetric matrices by the Frobenius product.

    Variance 1 on the diagonal and 1/2 off it, so that the squared norm has mean n (n + 1) / 2.
    """
    return symmetric(torch.randn((*shape, n, n), generator=generator, dtype=dtype, device=device))


def curvature_of_plane(
    turn: Float[Tensor, "*b"],
    uu: Float[Tensor, "*b"],
    vv: Float[Tensor, "*b"],
    uv: Float[Tensor, "*b"],
) -> Float[Tensor, "*b"]:
    """turn / (uu vv - uv^2), and zero where u and v are parallel to rounding."""
    squares = uu * vv
    area = squares - uv.square()
    spanned = area > 64 * torch.finfo(area.dtype).eps * squares
    return torch.where(spanned, turn / torch.where(spanned, area, 1), 0)
