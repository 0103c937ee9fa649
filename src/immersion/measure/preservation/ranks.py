"""Compiled loops over rows of distances in both spaces: all ranks, and sums over all pairs."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def _raise(row: NDArray[np.float32]) -> None:
    """Set what rounding left below zero to zero, so that bits order as values do."""
    for j in range(len(row)):
        row[j] = row[j] if row[j] > 0 else np.float32(0)


@numba.njit(cache=True, nogil=True)
def _rank(row: NDArray[np.float32], ranks: NDArray[np.int32]) -> None:
    """Places 1..n in ascending order of the distances in float32, equal ones by index.

    A radix sort of the bits of non-negative floats, 11 of them at a time.
    """
    n = len(row)
    keys = row.view(np.uint32)
    counts = np.zeros((3, 2048), np.int32)
    for j in range(n):
        key = keys[j]
        counts[0, key & 2047] += 1
        counts[1, (key >> 11) & 2047] += 1
        counts[2, key >> 22] += 1
    for digit in range(3):
        total = 0
        for bucket in range(2048):
            here = counts[digit, bucket]
            counts[digit, bucket] = total
            total += here
    index = np.empty(n, np.int32)
    sorted_once = np.empty(n, np.uint32)
    for j in range(n):
        bucket = keys[j] & 2047
        place = counts[0, bucket]
        counts[0, bucket] = place + 1
        index[place] = j
        sorted_once[place] = keys[j]
    index_twice = np.empty(n, np.int32)
    for p in range(n):
        bucket = (sorted_once[p] >> 11) & 2047
        place = counts[1, bucket]
        counts[1, bucket] = place + 1
        index_twice[place] = index[p]
    for p in range(n):
        j = index_twice[p]
        bucket = keys[j] >> 22
        place = counts[2, bucket]
        counts[2, bucket] = place + 1
        ranks[j] = place + 1


@numba.njit(cache=True, nogil=True)
def whole_rows(
    rows: NDArray[np.int64],
    block: NDArray[np.float32],
    images: NDArray[np.float32],
    bins: NDArray[np.uint16],
    image_bins: NDArray[np.uint16],
    cells: NDArray[np.int32],
    weights: NDArray[np.float64],
    some: NDArray[np.int64],
    within: NDArray[np.int64],
    sums: NDArray[np.float64],
    joint: NDArray[np.int64],
    listed: NDArray[np.int64],
) -> None:
    """Ranks and distances of whole rows, in both spaces.

    Args:
        rows: (B,) points.
        block: (B, n) squared distances from them to all points.
        images: (B, n) the same among the images.
        bins: quantile bin of a squared distance by its leading 21 bits.
        image_bins: the same for the images.
        cells: (n,) the first size of the curve that holds a pair whose greater rank is m.
        weights: (n,) what such a pair adds to the area under R_NX.
        some: (S,) points of which it is counted how often they are near to others.
        within: (B, G), added to: pairs that enter at each size of the curve.
        sums: (B, 12), filled: area, squared rank differences, then five moments of the distances
            and five of their quantile bins: first, second, squares of both, product.
        joint: (m, m), added to: pairs by quantile bin in both spaces.
        listed: (2, S, G), added to: rows in which one of `some` enters at each size, in each space.
    """
    n = len(cells)
    ranks, image_ranks = np.empty(n, np.int32), np.empty(n, np.int32)
    for b in range(len(rows)):
        i = rows[b]
        row, beside = block[b], images[b]
        _raise(row)
        _raise(beside)
        row[i], beside[i] = np.inf, np.inf
        _rank(row, ranks)
        _rank(beside, image_ranks)
        codes, image_codes = row.view(np.uint32), beside.view(np.uint32)
        area, apart = 0.0, 0
        s1, s2, s11, s22, s12 = 0.0, 0.0, 0.0, 0.0, 0.0
        q1, q2, q11, q22, q12 = 0, 0, 0, 0, 0
        for j in range(n):
            if j == i:
                continue
            later = max(ranks[j], image_ranks[j])
            within[b, cells[later]] += 1
            area += weights[later]
            step = np.int64(ranks[j]) - image_ranks[j]
            apart += step * step
            # The leading bits of a non-negative float32 grow with it, in steps of 1.2e-4.
            one_bin = np.int64(bins[codes[j] >> 10])
            two_bin = np.int64(image_bins[image_codes[j] >> 10])
            joint[one_bin, two_bin] += 1
            q1 += one_bin
            q2 += two_bin
            q11 += one_bin * one_bin
            q22 += two_bin * two_bin
            q12 += one_bin * two_bin
            one, two = np.float64(row[j]), np.float64(beside[j])
            root_one, root_two = math.sqrt(one), math.sqrt(two)
            s1 += root_one
            s2 += root_two
            s11 += one
            s22 += two
            s12 += root_one * root_two
        for place in range(len(some)):
            j = some[place]
            if j != i:
                listed[0, place, cells[ranks[j]]] += 1
                listed[1, place, cells[image_ranks[j]]] += 1
        sums[b, 0], sums[b, 1] = area, apart
        sums[b, 2], sums[b, 3], sums[b, 4], sums[b, 5], sums[b, 6] = s1, s2, s11, s22, s12
        sums[b, 7], sums[b, 8], sums[b, 9], sums[b, 10], sums[b, 11] = q1, q2, q11, q22, q12
