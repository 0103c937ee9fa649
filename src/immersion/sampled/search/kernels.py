"""Compiled kernels: lists of neighbours, kept in order by (distance, index), and what fills them.

A squared distance is a sum in float64 in an order that the source fixes, so a pair has the same
distance in every kernel, on every machine and with any number of threads. Each row of the lists is
written by one thread, and what ends up in it does not depend on the order in which pairs arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating]
    Ids = NDArray[np.int64]
    Wide = NDArray[np.float64]


@numba.njit(cache=True, nogil=True)
def squared_distance(x: Array, y: Array, p: float, q: float) -> float:
    """|p x - q y|^2 in float64; eight running sums, so that it fills vector lanes."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0
    whole = len(x) - len(x) % 8
    for a in range(0, whole, 8):
        d0 = np.float64(x[a]) * p - np.float64(y[a]) * q
        d1 = np.float64(x[a + 1]) * p - np.float64(y[a + 1]) * q
        d2 = np.float64(x[a + 2]) * p - np.float64(y[a + 2]) * q
        d3 = np.float64(x[a + 3]) * p - np.float64(y[a + 3]) * q
        d4 = np.float64(x[a + 4]) * p - np.float64(y[a + 4]) * q
        d5 = np.float64(x[a + 5]) * p - np.float64(y[a + 5]) * q
        d6 = np.float64(x[a + 6]) * p - np.float64(y[a + 6]) * q
        d7 = np.float64(x[a + 7]) * p - np.float64(y[a + 7]) * q
        s0 += d0 * d0
        s1 += d1 * d1
        s2 += d2 * d2
        s3 += d3 * d3
        s4 += d4 * d4
        s5 += d5 * d5
        s6 += d6 * d6
        s7 += d7 * d7
    total = ((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))
    for a in range(whole, len(x)):
        d0 = np.float64(x[a]) * p - np.float64(y[a]) * q
        total += d0 * d0
    return total


@numba.njit(cache=True, nogil=True)
def insert(distance: float, index: int, near: Wide, who: Ids) -> None:
    """Insert into the ascending (distance, index) list when it belongs there and is new."""
    place = len(near)
    while place > 0 and (
        near[place - 1] > distance or (near[place - 1] == distance and who[place - 1] > index)
    ):
        place -= 1
    if place == len(near) or (
        place > 0 and near[place - 1] == distance and who[place - 1] == index
    ):
        return
    for slot in range(len(near) - 1, place, -1):
        near[slot] = near[slot - 1]
        who[slot] = who[slot - 1]
    near[place] = distance
    who[place] = index


@numba.njit(cache=True, parallel=True, nogil=True)
def rank_candidates(
    x: Array, p: Wide, ids: Ids, y: Array, q: Wide, others: Ids, floor: float, found: Ids,
    slots: Ids, near: Wide, who: Ids,
) -> None:  # fmt: skip
    """Insert the candidates `found` (m, c), rows of y, into the lists `slots` of the m rows of x.

    `ids` and `others` are the numbers of the rows of x and y; a point is no candidate of itself,
    and negative entries are none.
    """
    for r in numba.prange(len(x)):
        slot = slots[r]
        for c in range(found.shape[1]):
            j = found[r, c]
            if j >= 0 and others[j] != ids[r]:
                squared = squared_distance(x[r], y[j], p[r], q[j])  # pyright: ignore[reportArgumentType]
                squared = 0.0 if squared <= floor else squared
                insert(squared, others[j], near[slot], who[slot])  # pyright: ignore[reportArgumentType]


@numba.njit(cache=True, parallel=True, nogil=True)
def scan_products(
    x: Array, p: Wide, ids: Ids, y: Array, q: Wide, others: Ids, floor: float,
    products: NDArray[np.float32], rows: Ids, start: int, x_norms: NDArray[np.float32],
    y_norms: NDArray[np.float32], slack: NDArray[np.float32], unit: float, whole: bool,
    slots: Ids, near: Wide, who: Ids,
) -> None:  # fmt: skip
    """Insert rows of y, from row `start` on, into the lists `slots` of the rows `rows` of x.

    `products` (m, b) are x.y in float32, `x_norms` and `y_norms` the squares |x|^2 and |y|^2. Only
    a pair whose float32 distance is below the list's last one plus `slack`, the rounding error, is
    computed in float64. `others` ascend. `unit` is the float32 coordinates' scale squared; `whole`
    says that float32 distances are whole numbers without error.
    """
    block, width, last = 64, products.shape[1], near.shape[1] - 1
    two = np.float32(2)
    # Slices, because an index that might be negative keeps loops from filling vector lanes.
    norms, numbers = y_norms[start : start + width], others[start : start + width]
    for t in numba.prange(len(rows)):
        r = rows[t]
        slot = slots[r]
        limit = np.float32(near[slot, last] * unit + slack[r] - x_norms[r])
        for first in range(0, width, block):
            stop = min(width, first + block)
            line, part, ahead = products[t, first:stop], norms[first:stop], numbers[first:stop]
            later = ahead[0] > who[slot, last]
            if later and near[slot, last] == 0:
                break  # k duplicates of lower index: nothing later can belong
            # Where distances are whole and indices later, a tie cannot belong either.
            bound = limit - np.float32(1) if whole and later else limit
            hits = np.int32(0)
            for j in range(len(line)):
                hits += np.int32(part[j] - two * line[j] <= bound)
            if hits > 0:
                for j in range(len(line)):
                    if part[j] - two * line[j] <= bound and ahead[j] != ids[r]:
                        row = start + first + j
                        squared = squared_distance(x[r], y[row], p[r], q[row])  # pyright: ignore[reportArgumentType]
                        squared = 0.0 if squared <= floor else squared
                        insert(squared, ahead[j], near[slot], who[slot])  # pyright: ignore[reportArgumentType]
                        limit = np.float32(near[slot, last] * unit + slack[r] - x_norms[r])
                        bound = min(bound, limit)


@numba.njit(cache=True, nogil=True)
def merge_tile(
    tile: Wide, points: Array, ids: Ids, first: int, near: Wide, who: Ids
) -> NDArray[np.int64]:
    """Insert a tile (m, b) of distances from the points `ids` to b points from `first` on.

    Points that are equal number by number have distance zero, whatever a formula makes of them.
    One thread does it: a tile under a manifold is too small to be worth a second one.
    Returns, for each row, a point whose distance is not a number, or -1.
    """
    bad = np.full(len(ids), -1, np.int64)
    for r in range(len(ids)):
        i = ids[r]
        for c in range(tile.shape[1]):
            j = first + c
            if j != i:
                axis = 0
                while axis < points.shape[1] and points[i, axis] == points[j, axis]:
                    axis += 1
                distance = 0.0 if axis == points.shape[1] else tile[r, c]
                if np.isnan(distance):
                    bad[r] = j
                elif distance <= near[r, -1]:
                    insert(distance, j, near[r], who[r])
    return bad


@numba.njit(cache=True, nogil=True)
def group_by_cell(cells: NDArray[np.int32], n_cells: int) -> tuple[Ids, Ids]:
    """Rows (ascending) of each cell as (starts, rows), from cells (n, p) of each row."""
    starts = np.zeros(n_cells + 1, np.int64)
    for row in range(cells.shape[0]):
        for slot in range(cells.shape[1]):
            starts[cells[row, slot] + 1] += 1
    for cell in range(n_cells):
        starts[cell + 1] += starts[cell]
    rows = np.empty(cells.size, np.int64)
    filled = starts[:-1].copy()
    for row in range(cells.shape[0]):
        for slot in range(cells.shape[1]):
            cell = cells[row, slot]
            rows[filled[cell]] = row
            filled[cell] += 1
    return starts, rows


@numba.njit(cache=True, nogil=True)
def fill_cell_means(
    x: NDArray[np.float32], cells: NDArray[np.int64], total: Wide, means: NDArray[np.float32]
) -> None:
    """Mean of the rows of each cell into `means` (c, D), summed in order; empty cells are left.

    `total` (c, D) is zero before. Slices would triple the time to compile.
    """
    count = np.zeros(len(means), np.int64)
    for row in range(len(x)):
        cell = cells[row]
        count[cell] += 1
        for axis in range(x.shape[1]):
            total[cell, axis] += x[row, axis]
    for cell in range(len(means)):
        if count[cell] > 0:
            for axis in range(x.shape[1]):
                means[cell, axis] = np.float32(total[cell, axis] / count[cell])
