"""Tangent spaces of sampled data by local principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.sampled.graph import NeighborGraph


@dataclass(frozen=True, eq=False)
class Tangents:
    """An orthonormal basis of the estimated tangent space at chosen points.

    Attributes:
        rows: (m,) which points of the graph.
        basis: (m, d, D) orthonormal rows, by descending local variance.
        held_out: (m,) share of the squared distance to the neighbour just outside the fit that
            lies in the tangent space; d / D where the data has no local direction at all.
    """

    rows: NDArray[np.int64]
    basis: NDArray[np.floating]
    held_out: NDArray[np.floating]

    @property
    def dim(self) -> int:
        """Dimension d of the tangent spaces."""
        return self.basis.shape[1]


def local_tangents(
    graph: NeighborGraph, dim: int, rows: NDArray[np.int64] | None = None
) -> Tangents:
    """Tangent spaces from the first k - 1 neighbours, checked on the k-th.

    The basis is that of the d leading principal directions of the neighbours about their mean,
    by the (k x k) Gram matrix, so the cost a point is O(k^2 D) whatever D is. They need few
    neighbours and suit noise and high dimension; `tangent_spaces` takes out what curvature does to
    them, and has their errors.

    Args:
        graph: its k neighbours are the patch; k - 2 >= dim is needed.
        dim: dimension d of the tangent spaces.
        rows: points at which to estimate; all by default.

    Raises:
        InputError: too few neighbours or coordinates for `dim`.

    Source: Singer and Wu, Vector diffusion maps and the connection Laplacian (2012), local PCA.
    """
    width = graph.points.shape[1]
    if not 1 <= dim <= min(graph.k - 2, width):
        raise InputError(
            f"tangent dimension {dim} needs 1 <= dim <= min(k - 2, D) = "
            f"{min(graph.k - 2, width)}; the graph has k = {graph.k}, D = {width}"
        )
    chosen = np.arange(graph.n) if rows is None else rows
    basis = np.empty((len(chosen), dim, width), graph.points.dtype)
    held_out = np.empty(len(chosen), graph.points.dtype)
    for part in row_chunks(len(chosen), 3 * graph.k * width * graph.points.itemsize, 1 << 28):
        at = chosen[part]
        patch = graph.points[graph.indices[at, :-1]]
        patch = _of_unit_size(patch - patch.mean(axis=1, keepdims=True), (1, 2))
        _, vectors = np.linalg.eigh(patch @ patch.swapaxes(1, 2))
        # Directions patch^T v by descending variance. QR only sets their lengths to one, and
        # completes a flat patch (duplicates), where they vanish, to an orthonormal basis.
        leading = vectors[:, :, ::-1][:, :, :dim]
        orthonormal, _ = np.linalg.qr(patch.swapaxes(1, 2) @ leading)
        basis[part] = orthonormal.swapaxes(1, 2)
        step = _of_unit_size(graph.points[graph.indices[at, -1]] - graph.points[at], 1)
        along = np.einsum("ndi,ni->nd", basis[part], step)
        length = np.einsum("ni,ni->n", step, step)
        held_out[part] = (along**2).sum(axis=1) / np.where(length > 0, length, 1)
    return Tangents(chosen, basis, held_out)


def _of_unit_size(x: NDArray[np.floating], axes: int | tuple[int, int]) -> NDArray[np.floating]:
    """Arrays divided by their largest number, so that squares neither overflow nor vanish."""
    size = np.abs(x).max(axis=axes, keepdims=True)
    return x / np.where(size > 0, size, 1)
