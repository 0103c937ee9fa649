"""Distances between the ends of suspected edges: Dijkstra's algorithm that stops early."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def detours(
    starts: NDArray[np.int64],
    indices: NDArray[np.int32],
    lengths: NDArray[np.float64],
    ends: NDArray[np.int64],
    limits: NDArray[np.float64],
    groups: NDArray[np.int64],
    found: NDArray[np.float64],
) -> None:
    """Write the distance of the ends of each edge in the groups; inf beyond its limit.

    Group g holds the edges `groups[g]` to `groups[g + 1]`, all from one first end. A search ends
    when every second end is reached or the largest limit is passed.
    """
    n = len(starts) - 1
    label = np.full(n, np.inf)
    wanted = np.zeros(n, np.bool_)
    touched = np.empty(n, np.int64)
    heap_key = np.empty(len(indices) + 1)
    heap_point = np.empty(len(indices) + 1, np.int64)
    for group in range(len(groups) - 1):
        first, last = groups[group], groups[group + 1]
        source = ends[first, 0]
        left = last - first
        limit = 0.0
        for edge in range(first, last):
            wanted[ends[edge, 1]] = True
            limit = max(limit, limits[edge])
        label[source] = 0
        touched[0] = source
        count = 1
        heap_key[0], heap_point[0] = 0, source
        size = 1
        while size > 0 and left > 0:
            key, i = heap_key[0], heap_point[0]
            size -= 1
            _sink(heap_key, heap_point, size, heap_key[size], heap_point[size])
            if key > label[i]:
                continue
            if key > limit:
                break
            if wanted[i]:
                wanted[i] = False
                left -= 1
            for slot in range(starts[i], starts[i + 1]):
                j = np.int64(indices[slot])
                through = key + lengths[slot]
                if through < label[j]:
                    if label[j] == np.inf:
                        touched[count] = j
                        count += 1
                    label[j] = through
                    _rise(heap_key, heap_point, size, through, j)
                    size += 1
        for edge in range(first, last):
            j = ends[edge, 1]
            # A label that is not settled yet is no distance.
            found[edge] = np.inf if wanted[j] or label[j] > limits[edge] else label[j]
        for edge in range(first, last):
            wanted[ends[edge, 1]] = False
        for place in range(count):
            label[touched[place]] = np.inf


@numba.njit(cache=True, nogil=True)
def _rise(
    keys: NDArray[np.float64],
    points: NDArray[np.int64],
    hole: int,
    key: float,
    point: int | np.int64,
) -> None:
    while hole > 0:
        parent = (hole - 1) // 2
        if keys[parent] <= key:
            break
        keys[hole], points[hole] = keys[parent], points[parent]
        hole = parent
    keys[hole], points[hole] = key, point


@numba.njit(cache=True, nogil=True)
def _sink(
    keys: NDArray[np.float64], points: NDArray[np.int64], size: int, key: float, point: int
) -> None:
    hole = 0
    while 2 * hole + 1 < size:
        child = 2 * hole + 1
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[hole], points[hole] = keys[child], points[child]
        hole = child
    keys[hole], points[hole] = key, point
