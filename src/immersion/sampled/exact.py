"""Exact nearest neighbours whose answer depends on no library's rounding and no thread count.

Float32 matrix products find candidates quickly but rank near ties by rounding. So, for a block of
queries and a block of the base:

1. centre the points (the expansion |x|^2 + |y|^2 - 2xy cancels less) and take k + spare candidates;
2. compute each candidate's distance as a sum of squared differences in float64, in a fixed order,
   and keep the k least by (distance, index) over all blocks so far;
3. accept a row when its k-th distance is below the worst candidate's by more than the rounding
   error of step 1, for then no point outside the candidates can belong to the k nearest; else
   compare that row with the whole block: products once more, and step 2 for all points that the
   rounding error leaves open. Where this happens to most rows of a trial, it is done at once.

Step 3 makes duplicates and ties of any number exact; it costs another product, 2 n D flops a row
that needs it. Coordinates that are small whole numbers (codes, counts, grids) have no rounding
error, so that ties leave nothing open. The result does not depend on how the work is cut into
blocks, which is what lets the base be streamed from a file and the queries be shared out among
processes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from immersion.core.chunking import row_chunks
from immersion.sampled.search import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from immersion.sampled.search.cloud import Cloud

    Candidates = Callable[
        [NDArray[np.float32], NDArray[np.float32], int],
        tuple[NDArray[np.float32], NDArray[np.int64]],
    ]
    Found = tuple[NDArray[np.int64], NDArray[np.float64]]
    _Side = tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.int64]]
    _Sides = tuple[*_Side, *_Side]

_SPARE = 12
"""Candidates beyond k: enough that step 3 is rare on continuous data, 1/3 of the cost of step 2."""

_TRIAL = 256
"""Rows that show whether candidates settle the question."""

_BASE = 1 << 29
"""Bytes of the base held at a time: points, where they are mapped, and float32 coordinates."""

_QUERIES = 1 << 27
"""Bytes of candidates and coordinates of queries held at a time."""

_PRODUCTS = 1 << 22
"""Bytes of products at a time: they stay in a core's share of the cache."""

_ACROSS = 2048
"""Points of the base in a tile of products, at most."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some points: their numbers, exact values, what multiplies them, and float32 coordinates."""

    ids: NDArray[np.int64]
    points: NDArray[np.floating]
    inverse: NDArray[np.float64]
    coarse: NDArray[np.float32]


@dataclass(frozen=True)
class Rounding:
    """What float32 coordinates do to distances.

    Attributes:
        floor: squared distance up to which points coincide.
        unit: squared scale of the float32 coordinates.
        whole: squared float32 distances are whole numbers without error.
    """

    floor: float = 0.0
    unit: float = 1.0
    whole: bool = False

    def error(
        self, x_norms: NDArray[np.float32], y_norms: NDArray[np.float32], width: int
    ) -> NDArray[np.float32]:
        """Bound (m,) on the error of float32 squared distances from each x to any y.

        Rounding of a float32 product of length D: 6 sqrt(D) u |x||y| with probability 1 - 1e-7
        (Higham and Mary 2019); |x| + R bounds |x| and |y| together.
        """
        if self.whole:
            return np.zeros(len(x_norms), np.float32)
        reach = math.sqrt(float(y_norms.max()))
        share = 6 * math.sqrt(width + 2) * float(np.finfo(np.float32).eps)
        return np.asarray(share * (np.sqrt(x_norms) + reach) ** 2, np.float32)


def nearest(cloud: Cloud, k: int, candidates: Candidates | None, rows: NDArray[np.int64]) -> Found:
    """Indices (m, k) and squared distances (m, k) of the k nearest other points of some points.

    Args:
        cloud: n > k points.
        k: neighbours a point.
        candidates: (queries, base, m) to squared distances and indices of the m nearest of the
            base by float32 products, ascending. None compares with all points, which is faster
            for few rows: faiss takes 6 ns a pair there, a product and its scan 3.
        rows: (m,) the points that ask, ascending.
    """
    who, near = empty_lists(len(rows), k, len(cloud))
    width = cloud.points.shape[1]
    for base_rows in row_chunks(len(cloud), (4 + cloud.points.itemsize) * width, _BASE):
        base = block_of(cloud, base_rows)
        bytes_per_row = (4 + cloud.points.itemsize) * width + 12 * (k + 1 + _SPARE)
        for part in row_chunks(len(rows), bytes_per_row, _QUERIES):
            asking = rows[part]
            start, stop = int(asking[0]) - base_rows.start, int(asking[-1]) + 1 - base_rows.start
            if stop - start == len(asking) and start >= 0 and stop <= len(base.ids):
                inside = slice(start, stop)
                queries = Block(
                    asking, base.points[inside], base.inverse[inside], base.coarse[inside]
                )
            else:
                queries = block_of(cloud, asking)
            search_block(queries, base, candidates, who[part], near[part], cloud.rounding)
    return who, near


def empty_lists(m: int, k: int, n: int) -> Found:
    """Lists of m rows that hold nothing yet: index n at infinity."""
    return np.full((m, k), n, np.int64), np.full((m, k), np.inf)


def numbers_of(rows: slice) -> NDArray[np.int64]:
    """The numbers of the points of a slice."""
    return np.arange(rows.start, rows.stop, dtype=np.int64)


def block_of(cloud: Cloud, rows: slice | NDArray[np.int64]) -> Block:
    """The block of some points of a cloud."""
    ids = numbers_of(rows) if isinstance(rows, slice) else rows
    # Copied where mapped read-only: numba would compile its kernels once more for such arrays.
    points = np.require(cloud.points[rows], requirements=("C", "W"))
    inverse = np.ascontiguousarray(cloud.inverse[rows])
    return Block(ids, points, inverse, cloud.brought_to_float32(points, inverse))


def plain_block(coarse: NDArray[np.float32], *, asks: bool) -> Block:
    """Float32 points that are their own coordinates; with numbers of their own, or of no base."""
    ids = np.full(len(coarse), -1) if asks else np.arange(len(coarse))
    return Block(ids, coarse, np.ones(len(coarse)), coarse)


def search_block(
    queries: Block,
    base: Block,
    candidates: Candidates | None,
    who: NDArray[np.int64],
    near: NDArray[np.float64],
    rounding: Rounding,
    spare: int = _SPARE,
) -> None:
    """Bring the lists of the queries up to date with all points of the base, in place.

    Where a trial shows that candidates would leave most rows open, they are not asked for.
    """
    everyone = np.arange(len(queries.ids))

    def compare_all() -> None:
        """Compare every query, after those that stand beside it: data often come in an order."""
        reach = numbers_of(slice(-near.shape[1], near.shape[1] + 1))
        beside = queries.ids[:, None] - base.ids[0] + reach
        beside = np.clip(beside, 0, len(base.ids) - 1)
        kernels.rank_candidates(*_sides(queries, base), rounding.floor, beside, everyone, near, who)
        compare(queries, base, everyone, everyone, who, near, rounding)

    if candidates is None:
        return compare_all()
    size, k = len(base.ids), near.shape[1]
    m = min(size, k + 1 + spare)
    x_norms, y_norms = _norms(queries.coarse), _norms(base.coarse)
    error = rounding.error(x_norms, y_norms, base.coarse.shape[1])

    def unsure_of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which rows their candidates leave open, after these are in the lists."""
        part = queries if len(rows) == len(everyone) else _rows_of(queries, rows)
        squared, found = candidates(part.coarse, base.coarse, m)
        kernels.rank_candidates(*_sides(part, base), rounding.floor, found, rows, near, who)
        sure = near[rows, -1] * rounding.unit < squared[:, -1] - error[rows]
        return rows[~sure] if m < size else rows[:0]

    if len(everyone) >= 8 * _TRIAL:
        trial = everyone[:: len(everyone) // _TRIAL]
        if 2 * len(unsure_of(trial)) > len(trial):
            return compare_all()
    unsure = unsure_of(everyone)
    if len(unsure):
        compare(queries, base, unsure, everyone, who, near, rounding)
    return None


def _rows_of(block: Block, rows: NDArray[np.int64]) -> Block:
    return Block(block.ids[rows], block.points[rows], block.inverse[rows], block.coarse[rows])


def compare(
    queries: Block,
    base: Block,
    rows: NDArray[np.int64],
    slots: NDArray[np.int64],
    who: NDArray[np.int64],
    near: NDArray[np.float64],
    rounding: Rounding,
) -> None:
    """Bring the lists of some queries up to date with all points of the base, without candidates.

    Args:
        queries: the points that ask.
        base: points to compare with, their numbers ascending.
        rows: (m,) the queries that are meant.
        slots: the row of the lists that each query has.
        who: (l, k) numbers of neighbours, changed in place.
        near: (l, k) their squared distances, changed in place.
        rounding: that of the coordinates.
    """
    x_norms, y_norms = _norms(queries.coarse), _norms(base.coarse)
    error = rounding.error(x_norms, y_norms, base.coarse.shape[1])
    across = list(row_chunks(len(base.ids), 1, _ACROSS))
    for part in row_chunks(len(rows), 4 * across[0].stop, _PRODUCTS):
        asking = rows[part]
        for columns in across:
            if columns.start > 0:
                # A list of k duplicates with lower indices is complete.
                at = slots[asking]
                done = (near[at, -1] == 0) & (who[at, -1] < base.ids[columns.start])
                asking = asking[~done]
                if len(asking) == 0:
                    break
            # numpy's product, because torch's obeys settings that give its last digits away.
            products = queries.coarse[asking] @ base.coarse[columns].T
            kernels.scan_products(
                *_sides(queries, base), rounding.floor, products, asking, columns.start,
                x_norms, y_norms, error, rounding.unit, rounding.whole, slots, near, who,
            )  # fmt: skip


def _sides(queries: Block, base: Block) -> _Sides:
    return queries.points, queries.inverse, queries.ids, base.points, base.inverse, base.ids


def _norms(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.einsum("ij,ij->i", x, x)


def faiss_candidates(
    queries: NDArray[np.float32], base: NDArray[np.float32], m: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The m nearest by faiss's flat search on the CPU."""
    import faiss

    return faiss.knn(queries, base, m)


def torch_candidates(
    queries: NDArray[np.float32],
    base: NDArray[np.float32],
    m: int,
    device: torch.device,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The m nearest by chunked matrix products and top-k, on any device torch has."""
    dtype = torch.float32 if _keeps_digits(device) else torch.float64
    x, y = (torch.from_numpy(side).to(device, dtype) for side in (queries, base))
    norms = (y * y).sum(1)
    squared = np.empty((len(x), m), np.float32)
    found = np.empty((len(x), m), np.int64)
    for rows in row_chunks(len(x), 2 * dtype.itemsize * len(y), 1 << 28):
        block = torch.addmm(norms, x[rows], y.T, alpha=-2).add_((x[rows] ** 2).sum(1)[:, None])
        least, index = block.topk(m, largest=False)
        squared[rows], found[rows] = least.float().cpu().numpy(), index.cpu().numpy()
    return squared, found


def _keeps_digits(device: torch.device) -> bool:
    """Whether float32 products have float32 digits: not TF32, bfloat16 or autocast."""
    try:
        full = torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set for each backend by itself
        full = False
    return full and not torch.is_autocast_enabled(device.type)


def has_faiss() -> bool:
    """Whether faiss is installed; it is not on macOS, where it clashes with torch's OpenMP."""
    from importlib.util import find_spec

    return find_spec("faiss") is not None
