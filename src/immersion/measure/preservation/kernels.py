"""Compiled loops over one row of distances at a time: neighbours, and ranks of a few points.

A row holds squared distances from one point to all others in float32, each with an error of at most
`c (|x_i|^2 + |x_j|^2)`; every comparison closer than that is settled by the sum of squared
differences in float64. So neighbours and ranks are those of the order (distance, index), whatever
the rounding of a matrix product, its blocks or its threads.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_PIECE = 64
"""Distances of which only the least is looked at, unless it may count."""

FEW = 24
"""Ranks that are counted by comparing every distance with each bound."""

_AT_ONCE = 128

_CELLS = 4096
"""Cells of distances: their counts stay in the fastest cache."""


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _difference(x: NDArray[np.floating], i: int, j: int) -> float:
    # Reassociation only: sums run in vector lanes, in an order that is fixed when compiled.
    total = 0.0
    for axis in range(x.shape[1]):
        step = np.float64(x[i, axis]) - np.float64(x[j, axis])
        total += step * step
    return total


@numba.njit(cache=True, nogil=True)
def fill_rows(
    columns: NDArray[np.float32], rows: NDArray[np.int64], block: NDArray[np.float32]
) -> None:
    """Squared distances (B, n) from some points to all, from their (D, n) coordinates."""
    for b in range(len(rows)):
        row = block[b]
        for j in range(len(row)):
            row[j] = 0.0
        for axis in range(len(columns)):
            column = columns[axis]
            here = column[rows[b]]
            for j in range(len(row)):
                step = column[j] - here
                row[j] += step * step


@numba.njit(cache=True, nogil=True)
def _slack(squares: NDArray[np.float64], i: int, j: int, c: float) -> float:
    """Greatest error of a distance; the constant covers what underflows in float32."""
    return c * (squares[i] + squares[j] + 1e-25)


@numba.njit(cache=True, nogil=True)
def _sift(heap: NDArray[np.float64], value: float) -> None:
    """Replace the largest entry of a heap."""
    place, size = 0, len(heap)
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc"})
def _least(piece: NDArray[np.float32]) -> float:
    least = piece[0]
    for j in range(len(piece)):
        least = min(least, piece[j])
    return least


@numba.njit(cache=True, nogil=True)
def _order(keys: NDArray[np.float64]) -> NDArray[np.int64]:
    """A stable order of the keys: merges of runs, from runs of eight by insertion."""
    count = len(keys)
    order, merged = np.empty(count, np.int64), np.empty(count, np.int64)
    for place in range(count):
        order[place] = place
    for start in range(0, count, 8):
        for place in range(start + 1, min(start + 8, count)):
            one, key = order[place], keys[order[place]]
            while place > start and keys[order[place - 1]] > key:
                order[place] = order[place - 1]
                place -= 1
            order[place] = one
    width = 8
    while width < count:
        for start in range(0, count, 2 * width):
            left, middle = start, min(start + width, count)
            right, stop = middle, min(start + 2 * width, count)
            for place in range(start, stop):
                if left < middle and (right >= stop or keys[order[left]] <= keys[order[right]]):
                    merged[place] = order[left]
                    left += 1
                else:
                    merged[place] = order[right]
                    right += 1
        order, merged = merged, order
        width *= 2
    return order


@numba.njit(cache=True, nogil=True)
def _select(
    row: NDArray[np.float32],
    squares: NDArray[np.float64],
    x: NDArray[np.floating],
    i: int,
    c: float,
    widest: float,
    chosen: NDArray[np.int64],
) -> bool:
    """The k nearest of point i, and whether index alone decided which is the last."""
    n, k = len(row), len(chosen)
    heap = np.empty(k)
    for place in range(k):
        heap[place] = np.inf
    pieces = (n + _PIECE - 1) // _PIECE
    least = np.empty(pieces)
    for piece in range(pieces):
        start, stop = piece * _PIECE, min(n, (piece + 1) * _PIECE)
        least[piece] = _least(row[start:stop])
        if least[piece] < heap[0]:
            for j in range(start, stop):
                if row[j] < heap[0]:
                    upper = row[j] + _slack(squares, i, j, c)
                    if upper < heap[0]:
                        _sift(heap, upper)
    # Whatever may be as near as the k-th upper bound; it cannot be fewer than k points.
    count = 0
    candidates = np.empty(4 * k + 16, np.int64)
    for piece in range(pieces):
        if least[piece] - widest > heap[0]:
            continue
        for j in range(piece * _PIECE, min(n, (piece + 1) * _PIECE)):
            if row[j] - _slack(squares, i, j, c) <= heap[0] and j != i:
                if count == len(candidates):
                    longer = np.empty(2 * count, np.int64)
                    for place in range(count):
                        longer[place] = candidates[place]
                    candidates = longer
                candidates[count] = j
                count += 1
    distances = np.empty(count)
    for place in range(count):
        distances[place] = _difference(x, i, candidates[place])
    # Candidates come by index, so a stable sort orders them by (distance, index).
    order = _order(distances)
    for place in range(k):
        chosen[place] = candidates[order[place]]
    return count > k and distances[order[k]] == distances[order[k - 1]]


@numba.njit(cache=True, nogil=True)
def _first_beyond(
    bounds: NDArray[np.float64], index: NDArray[np.int64], value: float, j: int
) -> int:
    """The first of the ordered (bound, index) that comes after (value, j)."""
    low, high = 0, len(bounds)
    while low < high:
        middle = (low + high) >> 1
        if bounds[middle] < value or (bounds[middle] == value and index[middle] <= j):
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True)
def _cells(row: NDArray[np.float32], scale: float, cells: NDArray[np.int32]) -> None:
    factor, most = np.float32(scale), np.float32(_CELLS)
    for j in range(len(row)):
        cells[j] = np.int32(min(max(row[j] * factor, np.float32(0.0)), most))


@numba.njit(cache=True, nogil=True)
def _closer(
    row: NDArray[np.float32],
    squares: NDArray[np.float64],
    x: NDArray[np.floating],
    i: int,
    c: float,
    widest: float,
    bounds: NDArray[np.float64],
    index: NDArray[np.int64],
) -> NDArray[np.int64]:
    """How many points come between each of k ordered points and the one before it.

    Distances are counted in cells; only those in a cell that a bound's error can reach are looked
    at one by one, and settled exactly if within their own error of a bound.
    """
    n, k = len(row), len(bounds)
    before = np.zeros(k + 1, np.int64)
    top = bounds[k - 1] + widest
    if not top > 1e-30:
        top = 1e-30
    scale = (_CELLS - 3) / top
    unsure = np.zeros(_CELLS + 1, np.bool_)
    for place in range(k):
        # A cell more on each side, for the rounding of the scaled value.
        low = int(max(0.0, (bounds[place] - widest) * scale - 1))
        high = int(min((bounds[place] + widest) * scale + 1, float(_CELLS)))
        for cell in range(low, high + 1):
            unsure[cell] = True
    cells = np.empty(n, np.int32)
    _cells(row, scale, cells)
    counts = np.zeros((2, _CELLS + 1), np.int32)
    for j in range(0, n - 1, 2):
        counts[0, cells[j]] += 1
        counts[1, cells[j + 1]] += 1
    if n % 2:
        counts[0, cells[n - 1]] += 1
    place = 0
    for cell in range(_CELLS):
        if unsure[cell]:
            continue
        while place < k and bounds[place] * scale < cell:
            place += 1
        before[place] += counts[0, cell] + counts[1, cell]
    for j in range(n):
        if not unsure[cells[j]] or j == i:
            continue
        value, slack = np.float64(row[j]), _slack(squares, i, j, c)
        place = _first_beyond(bounds, index, value - slack, -1)
        if place < k and bounds[place] <= value + slack:
            place = _first_beyond(bounds, index, _difference(x, i, j), j)
        before[place] += 1
    return before


@numba.njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc"})
def _below(piece: NDArray[np.float32], low: float, high: float) -> tuple[np.floating, np.floating]:
    # Counts in float32 stay in vector lanes of the row's own width, and are exact for a piece.
    # Loops that begin at 0 have no negative index to mind: 6 times faster than with an offset.
    below, within = np.float32(0), np.float32(0)
    for j in range(len(piece)):
        below += np.float32(1) if piece[j] < low else np.float32(0)
        within += np.float32(1) if piece[j] <= high else np.float32(0)
    return below, within


@numba.njit(cache=True, nogil=True)
def _closer_to_few(
    row: NDArray[np.float32],
    squares: NDArray[np.float64],
    x: NDArray[np.floating],
    i: int,
    c: float,
    widest: float,
    bounds: NDArray[np.float64],
    index: NDArray[np.int64],
) -> NDArray[np.int64]:
    """As `_closer`, by k comparisons a distance, which a few vector instructions do."""
    n, k = len(row), len(bounds)
    before = np.zeros(k + 1, np.int64)
    low, high = np.empty(k, np.float32), np.empty(k, np.float32)
    for place in range(k):
        # Rounded outwards, so that what is left out is sure.
        margin = widest + 2e-7 * bounds[place]
        low[place], high[place] = bounds[place] - margin, bounds[place] + margin
    for start in range(0, n, _AT_ONCE):
        stop = min(n, start + _AT_ONCE)
        piece = row[start:stop]
        for place in range(k):
            below, within = _below(piece, low[place], high[place])
            before[place] += np.int64(below)
            if within == below:
                continue
            for j in range(start, stop):
                if not low[place] <= row[j] <= high[place] or j == i or j == index[place]:
                    continue
                value = np.float64(row[j])
                if abs(value - bounds[place]) <= _slack(squares, i, j, c):
                    value = _difference(x, i, j)
                before[place] += value < bounds[place] or (
                    value == bounds[place] and j < index[place]
                )
    for place in range(k - 1, 0, -1):
        before[place] -= before[place - 1]
    return before


@numba.njit(cache=True, nogil=True)
def _in_order(
    x: NDArray[np.floating], i: int, others: NDArray[np.int64], index: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Squared distances of k other points in ascending order; their numbers go to `index`."""
    k = len(others)
    keys, bounds = np.empty(k), np.empty(k)
    for place in range(k):
        keys[place] = others[place]
    by_index = _order(keys)
    for place in range(k):
        nth: int = by_index[place]
        keys[place] = _difference(x, i, others[nth])
    order = _order(keys)
    for place in range(k):
        bounds[place], index[place] = keys[order[place]], others[by_index[order[place]]]
    return bounds


@numba.njit(cache=True, nogil=True)
def _penalty(before: NDArray[np.int64], k: int) -> tuple[int, int]:
    """Sum of max(0, rank - k) over k ordered points, and how many of them rank at most k."""
    closer, total, inside = 0, 0, 0
    for place in range(k):
        closer += before[place]
        rank = closer + 1
        if rank <= k:
            inside += 1
        else:
            total += rank - k
    return total, inside


@numba.njit(cache=True, nogil=True)
def neighbours(
    block: NDArray[np.float32],
    rows: NDArray[np.int64],
    squares: NDArray[np.float64],
    points: NDArray[np.floating],
    c: float,
    most: float,
    chosen: NDArray[np.int64],
    tied: NDArray[np.int64],
) -> None:
    """Fill (B, k) neighbours of some points, and whether index decided which is the last.

    `most` is the greatest of the squares.
    """
    for b in range(len(rows)):
        i: int = rows[b]
        block[b, i] = np.inf
        widest = c * (squares[i] + most + 1e-25)
        tied[b] = _select(block[b], squares, points, i, c, widest, chosen[b])


@numba.njit(cache=True, nogil=True)
def penalties(
    block: NDArray[np.float32],
    rows: NDArray[np.int64],
    squares: NDArray[np.float64],
    points: NDArray[np.floating],
    c: float,
    most: float,
    others: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Fill (B, 2): how far (B, k) other points rank beyond k in sum, and how many rank within."""
    index = np.empty(others.shape[1], np.int64)
    for b in range(len(rows)):
        i: int = rows[b]
        block[b, i] = np.inf
        widest = c * (squares[i] + most + 1e-25)
        bounds = _in_order(points, i, others[b], index)
        before = _closer(block[b], squares, points, i, c, widest, bounds, index)
        counts[b, 0], counts[b, 1] = _penalty(before, len(index))


@numba.njit(cache=True, nogil=True)
def penalties_of_few(
    block: NDArray[np.float32],
    rows: NDArray[np.int64],
    squares: NDArray[np.float64],
    points: NDArray[np.floating],
    c: float,
    most: float,
    others: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """As `penalties`, for k up to `FEW`; only what is called is compiled."""
    index = np.empty(others.shape[1], np.int64)
    for b in range(len(rows)):
        i: int = rows[b]
        block[b, i] = np.inf
        widest = c * (squares[i] + most + 1e-25)
        bounds = _in_order(points, i, others[b], index)
        before = _closer_to_few(block[b], squares, points, i, c, widest, bounds, index)
        counts[b, 0], counts[b, 1] = _penalty(before, len(index))
