"""Ollivier-Ricci curvature of the edges of a graph: exact transport between neighbourhoods."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def curvatures(
    starts: NDArray[np.int64],
    indices: NDArray[np.int32],
    ends: NDArray[np.int64],
    curvature: NDArray[np.float64],
) -> None:
    """Write the curvature (m,) of the edges `ends` (m, 2); NaN where an end has no other edge."""
    n = len(starts) - 1
    place = np.full(n, -1, np.int64)
    for row in range(len(ends)):
        x, y = ends[row, 0], ends[row, 1]
        p = np.int64(starts[x + 1] - starts[x] - 1)
        q = np.int64(starts[y + 1] - starts[y] - 1)
        if p == 0 or q == 0:
            curvature[row] = np.nan
            continue
        # Whole units of mass: each neighbour of x has q, each of y has p. By the triangle
        # inequality, what both hold at one point stays there.
        _marked(indices[starts[y] : starts[y + 1]], place)
        left, supply = _remaining(indices[starts[x] : starts[x + 1]], y, q, min(p, q), place)
        _cleared(indices[starts[y] : starts[y + 1]], place)
        _marked(indices[starts[x] : starts[x + 1]], place)
        right, demand = _remaining(indices[starts[y] : starts[y + 1]], x, p, min(p, q), place)
        _cleared(indices[starts[x] : starts[x + 1]], place)
        hops = _hops(starts, indices, left, right, place)
        curvature[row] = 1 - _transport(hops, supply, demand) / (p * q)


@numba.njit(cache=True, nogil=True)
def _marked(points: NDArray[np.int32], mark: NDArray[np.int64]) -> None:
    for i in points:
        mark[i] = 0


@numba.njit(cache=True, nogil=True)
def _cleared(points: NDArray[np.int32], mark: NDArray[np.int64]) -> None:
    for i in points:
        mark[i] = -1


@numba.njit(cache=True, nogil=True)
def _remaining(
    points: NDArray[np.int32],
    left_out: np.int64,
    mass: np.int64,
    stays: np.int64,
    mark: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Points other than `left_out` with their mass, less what stays at those that are marked."""
    who = np.empty(len(points), np.int32)
    held = np.empty(len(points), np.int64)
    count = 0
    for i in points:
        remains = mass - stays if mark[i] >= 0 else mass
        if i != left_out and remains > 0:
            who[count], held[count] = i, remains
            count += 1
    return who[:count], held[:count]


@numba.njit(cache=True, nogil=True)
def _hops(
    starts: NDArray[np.int64],
    indices: NDArray[np.int32],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    row_of: NDArray[np.int64],
) -> NDArray[np.int8]:
    """Number of edges (p, q) between points of both neighbourhoods: 1, 2, or 3 by way of x and y.

    `row_of` (n,) is -1 everywhere, and is given back so.
    """
    hops = np.full((len(left), len(right)), 3, np.int8)
    for a in range(len(left)):
        row_of[left[a]] = a
    # Two edges w - v - z, or one, w - z.
    for b in range(len(right)):
        w = right[b]
        for first in range(starts[w], starts[w + 1]):
            v = indices[first]
            if row_of[v] >= 0:
                hops[row_of[v], b] = 1
            for second in range(starts[v], starts[v + 1]):
                a = row_of[indices[second]]
                if a >= 0 and hops[a, b] == 3:
                    hops[a, b] = 2
    for a in range(len(left)):
        row_of[left[a]] = -1
    return hops


@numba.njit(cache=True, nogil=True)
def _transport(
    cost: NDArray[np.int8], supply: NDArray[np.int64], demand: NDArray[np.int64]
) -> np.int64:
    """Least cost of moving the supply (p,) to the demand (q,); their totals agree.

    The Hungarian method for masses: along arcs whose reduced cost is zero a search from the rows
    with supply left finds a column with demand left, and the flow grows along that path; where
    there is none, the duals move by the least slack. Costs are small whole numbers, so the duals
    move a few times only.
    """
    p, q = cost.shape
    flow = np.zeros((p, q), np.int64)
    up = np.zeros(p, np.int64)
    down = np.empty(q, np.int64)
    for b in range(q):
        down[b] = cost[0, b]
        for a in range(1, p):
            down[b] = min(down[b], cost[a, b])
    left = np.int64(0)
    for a in range(p):
        left += supply[a]
    from_row = np.empty(q, np.int64)
    from_column = np.empty(p, np.int64)
    queue = np.empty(p, np.int64)
    while left > 0:
        from_row[:] = -1
        from_column[:] = -1
        filled = 0
        for a in range(p):
            if supply[a] > 0:
                from_column[a] = q
                queue[filled] = a
                filled += 1
        read = 0
        end = -1
        while read < filled and end < 0:
            a = queue[read]
            read += 1
            for b in range(q):
                if from_row[b] >= 0:
                    continue
                if cost[a, b] > up[a] + down[b]:
                    continue
                from_row[b] = a
                if demand[b] > 0:
                    end = b
                    break
                for other in range(p):
                    if from_column[other] < 0 and flow[other, b] > 0:
                        from_column[other] = b
                        queue[filled] = other
                        filled += 1
        if end < 0:
            slack = np.int64(127)
            for a in range(p):
                if from_column[a] >= 0:
                    for b in range(q):
                        if from_row[b] < 0:
                            slack = min(slack, cost[a, b] - up[a] - down[b])
            for a in range(p):
                if from_column[a] >= 0:
                    up[a] += slack
            for b in range(q):
                if from_row[b] >= 0:
                    down[b] -= slack
            continue
        moved = demand[end]
        b = end
        while True:
            a = from_row[b]
            if from_column[a] == q:
                moved = min(moved, supply[a])
                break
            b = from_column[a]
            moved = min(moved, flow[a, b])
        demand[end] -= moved
        b = end
        while True:
            a = from_row[b]
            flow[a, b] += moved
            if from_column[a] == q:
                supply[a] -= moved
                break
            b = from_column[a]
            flow[a, b] -= moved
        left -= moved
    total = np.int64(0)
    for a in range(p):
        for b in range(q):
            total += flow[a, b] * cost[a, b]
    return total
