"""Exact nearest neighbours whose answer depends on no library's rounding and no thread count.

Float32 matrix products find candidates quickly but rank near ties by rounding. So:

1. centre the points (the expansion |x|^2 + |y|^2 - 2xy cancels less) and take k + spare candidates;
2. compute each candidate's distance as a sum of squared differences in float64, in a fixed order,
   and sort by (distance, index);
3. accept a row when its k-th distance is below the worst candidate's by more than the rounding
   error of step 1, for then no point outside the candidates can belong to the k nearest; else
   compute that row against all points as in step 2.

Step 3 makes duplicates and ties of any number exact; it costs n D flops a row that needs it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from immersion.core.chunking import row_chunks

if TYPE_CHECKING:
    from collections.abc import Callable

    Candidates = Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]]

_SPARE = 12
"""Candidates beyond k: enough that step 3 is rare on continuous data, 1/3 of the cost of step 2."""


def nearest(
    points: NDArray[np.floating], k: int, candidates: Candidates
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices and distances (n, k) of the k nearest other points, ordered by (distance, index).

    Args:
        points: (n, D) finite, n > k.
        k: neighbours a point.
        candidates: squared distances and indices (n, m) of the m nearest by float32 products,
            ascending, the point itself among them or not.
    """
    n, width = points.shape
    centre = points.mean(axis=0, dtype=np.float64).astype(points.dtype)
    centred = np.subtract(points, centre, dtype=points.dtype).astype(np.float32, copy=False)
    m = min(n, k + 1 + _SPARE)
    squared, found = candidates(np.ascontiguousarray(centred), m)
    exact = np.ascontiguousarray(points)
    indices, near = _rank_candidates(exact, found.astype(np.int64), k)
    if m < n:
        # Rounding of a float32 product of length D: 6 sqrt(D) u |x||y| with probability 1 - 1e-7
        # (Higham and Mary 2019); |x| + R bounds |x| and |y| together.
        norms = np.sqrt(np.einsum("ij,ij->i", centred, centred))
        unit = float(np.finfo(np.float32).eps)
        error = 6 * math.sqrt(width + 2) * unit * (norms + norms.max()) ** 2
        unsure = np.flatnonzero(near[:, -1] >= squared[:, -1] - error)
        for part in row_chunks(len(unsure), 8 * n, 1 << 27):
            rows = unsure[part]
            indices[rows], near[rows] = _rank_all(exact, rows, k)
    return indices, np.sqrt(near).astype(np.float32)


def faiss_candidates(
    points: NDArray[np.float32], m: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The m nearest by faiss's flat search on the CPU."""
    import faiss

    return faiss.knn(points, points, m)


def torch_candidates(
    points: NDArray[np.float32], m: int, device: torch.device | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The m nearest by chunked matrix products and top-k, on any device torch has."""
    x = torch.from_numpy(points).to(device)  # pyright: ignore[reportUnknownMemberType]
    norms = (x * x).sum(1)
    squared = np.empty((len(x), m), np.float32)
    found = np.empty((len(x), m), np.int64)
    for rows in row_chunks(len(x), 8 * len(x), 1 << 28):
        block = torch.addmm(norms, x[rows], x.T, alpha=-2).add_(norms[rows, None])
        least, index = block.topk(m, largest=False)
        squared[rows], found[rows] = least.cpu().numpy(), index.cpu().numpy()
    return squared, found


@numba.njit(cache=True, fastmath={"reassoc"})
def _squared_distance(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    # Reassociation only: sums run in vector lanes, in an order that is fixed when compiled.
    total = 0.0
    for axis in range(len(x)):
        difference = np.float64(x[axis]) - np.float64(y[axis])
        total += difference * difference
    return total


@numba.njit(cache=True)
def _insert(distance: float, index: int, near: NDArray[np.float64], who: NDArray[np.int64]) -> None:
    """Insert into the ascending (distance, index) list when it belongs there."""
    last = len(near) - 1
    if distance > near[last] or (distance == near[last] and index > who[last]):
        return
    place = last
    while place > 0 and (
        near[place - 1] > distance or (near[place - 1] == distance and who[place - 1] > index)
    ):
        near[place] = near[place - 1]
        who[place] = who[place - 1]
        place -= 1
    near[place] = distance
    who[place] = index


@numba.njit(cache=True, parallel=True)
def _rank_candidates(
    points: NDArray[np.floating], found: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    n = len(points)
    near = np.full((n, k), np.inf)
    who = np.full((n, k), n, np.int64)
    for i in numba.prange(n):
        for slot in range(found.shape[1]):
            j = found[i, slot]
            if j != i and j >= 0:
                _insert(_squared_distance(points[i], points[j]), j, near[i], who[i])
    return who, near


@numba.njit(cache=True, parallel=True)
def _rank_all(
    points: NDArray[np.floating], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    near = np.full((len(rows), k), np.inf)
    who = np.full((len(rows), k), len(points), np.int64)
    for r in numba.prange(len(rows)):
        i = rows[r]
        for j in range(len(points)):
            if j != i:
                _insert(_squared_distance(points[i], points[j]), j, near[r], who[r])
    return who, near
