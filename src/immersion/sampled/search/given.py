"""Neighbours that the caller already has: lists of them, or all distances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.sampled.exact import empty_lists, numbers_of
from immersion.sampled.search import kernels
from immersion.sampled.search.cloud import to_float32
from immersion.sampled.search.task import require_k

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Lists = tuple[NDArray[np.int64], NDArray[np.float32]]


def lists_from_distances(matrix: Any, k: int) -> Lists:
    """Lists (n, k) from a matrix of distances, by ascending (distance, index).

    Args:
        matrix: (n, n) dense, possibly mapped from a file; or scipy sparse, where what is not
            stored is no neighbour. Row i has the distances from point i; infinity is no neighbour.
        k: neighbours a point.

    Raises:
        InputError: not square, NaN, negative, a diagonal that is not zero, too few neighbours.
    """
    sparse = hasattr(matrix, "tocsr")
    held: Any = matrix.tocsr() if sparse else _numbers(matrix, "distances")
    if held.ndim != 2 or held.shape[0] != held.shape[1]:
        raise InputError(f"a matrix of distances has shape (n, n); met {held.shape}")
    n = int(held.shape[0])
    require_k(k, n)
    diagonal = np.asarray(held.diagonal())
    if diagonal.any():
        row = int(np.argmax(diagonal != 0))
        raise InputError(
            f"distances[{row}, {row}] is {diagonal[row]}; a point has distance 0 from itself: give "
            "distances, not similarities"
        )
    who, near = empty_lists(n, k, n)
    # One number a point, all different: no two points are taken for duplicates.
    numbers = np.arange(n, dtype=np.float64)[:, None]
    for rows in row_chunks(n, 16 * n, 1 << 27):
        tile = _dense(held[rows]) if sparse else np.asarray(held[rows], np.float64)
        wrong = tile < 0
        if wrong.any():
            row, column = (int(where[0]) for where in np.nonzero(wrong))
            raise InputError(
                f"distances[{rows.start + row}, {column}] is negative: {tile[row, column]}"
            )
        ids = numbers_of(rows)
        bad = kernels.merge_tile(tile, numbers, ids, 0, near[rows], who[rows])
        if bad.max() >= 0:
            row = int(np.argmax(bad >= 0))
            raise InputError(f"distances[{rows.start + row}, {bad[row]}] is not a number")
    short = ~np.isfinite(near[:, -1])
    if short.any():
        row = int(np.argmax(short))
        raise InputError(
            f"point {row} has {int(np.isfinite(near[row]).sum())} neighbours at a finite distance "
            f"and k = {k} are needed ({int(short.sum())} points have too few); lower k or leave "
            "them out"
        )
    return who, to_float32(near)


def lists_from_neighbors(indices: ArrayLike, distances: ArrayLike) -> Lists:
    """Lists (n, k) put in order by (distance, index), without the points themselves.

    Raises:
        InputError: shapes that differ, an index outside 0..n-1 or twice in a row, NaN, infinite or
            negative distances.
    """
    who, near = _numbers(indices, "indices"), _numbers(distances, "distances")
    if who.ndim != 2 or who.shape != near.shape or who.size == 0:
        raise InputError(
            f"indices and distances both have shape (n, k); met {who.shape} and {near.shape}"
        )
    if who.dtype.kind not in "iu":
        raise InputError(f"indices must be whole numbers, not {who.dtype}")
    who, near = who.astype(np.int64), near.astype(np.float64)
    n = len(who)
    _refuse((who < 0) | (who >= n), who, "indices", f"points have numbers 0 to {n - 1}")
    _refuse(~np.isfinite(near), near, "distances", "distances are finite")
    _refuse(near < 0, near, "distances", "distances are not negative")
    own = who == np.arange(n)[:, None]
    if own.any():
        # Each list loses one: the point itself, or the last where duplicates displaced the point.
        missing = ~own.any(axis=1)
        own[missing, -1] = True
        if who.shape[1] == 1 or (own.sum(axis=1) != 1).any():
            raise InputError(
                "the lists hold nothing but the points themselves, or hold them twice; give "
                "neighbours other than the point"
            )
        who, near = who[~own].reshape(n, -1), near[~own].reshape(n, -1)
    ordered = np.sort(who, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if twice.any():
        raise InputError(f"indices[{int(np.argmax(twice))}] lists a neighbour twice")
    order = np.lexsort((who, near), axis=1)
    return np.take_along_axis(who, order, 1), to_float32(np.take_along_axis(near, order, 1))


def _numbers(values: object, name: str) -> NDArray[Any]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} are no rectangular array ({error})") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} must be numbers, not {array.dtype}")
    return array


def _refuse(wrong: NDArray[np.bool_], values: NDArray[Any], name: str, rule: str) -> None:
    if wrong.any():
        row, slot = (int(where[0]) for where in np.nonzero(wrong))
        raise InputError(f"{name}[{row}, {slot}] is {values[row, slot]}; {rule}")


def _dense(part: Any) -> NDArray[np.float64]:
    """Rows of a sparse matrix with infinity where nothing is stored."""
    tile = np.full(part.shape, np.inf)
    rows = np.repeat(numbers_of(slice(0, int(part.shape[0]))), np.diff(part.indptr))
    tile[rows, part.indices] = part.data
    return tile
