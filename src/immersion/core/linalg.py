"""Batched linear algebra under precise types: torch leaves its own untyped."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def symmetric_eigen(
    matrix: Float[Tensor, "*b n n"],
) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n n"]]:
    """Eigenvalues in ascending order and orthonormal eigenvectors (columns)."""
    return cast("tuple[Tensor, Tensor]", torch.linalg.eigh(matrix))


def singular_values(matrix: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b r"]:
    """Singular values in descending order, r = min(m, n)."""
    return cast("Tensor", torch.linalg.svdvals(matrix))


def orthonormal_columns(matrix: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
    """Orthonormal basis of the column space, m >= n, completed where columns depend."""
    return cast("tuple[Tensor, Tensor]", torch.linalg.qr(matrix))[0]


def length(vectors: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """Euclidean length along the last axis."""
    return cast("Tensor", torch.linalg.vector_norm(vectors, dim=-1))


def broadcast(x: Float[Tensor, "*x"], y: Float[Tensor, "*y"]) -> tuple[Tensor, Tensor]:
    """Views of both tensors in the shape that they broadcast to."""
    return cast("tuple[Tensor, Tensor]", torch.broadcast_tensors(x, y))
