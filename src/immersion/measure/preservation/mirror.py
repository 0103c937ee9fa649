"""Distances between all points, block by block, with one product for both directions of a pair."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from immersion.measure.preservation.space import Space

_BUDGET = 1 << 28


class Mirror:
    """Blocks of rows, in order, that keep what later blocks need of them.

    The distances from block I to block J are those from J to I, transposed. A tile of them waits
    until its block comes, if that is among the next few: as many as fit in 256 MB. At 512 rows a
    block these are all of them up to 16,384 points, where at most T^2 / 4 tiles of T^2 wait at a
    time, and the next 22 of more.
    """

    def __init__(self, space: Space, step: int) -> None:
        self._space, self._step = space, step
        self._tiles: dict[tuple[int, int], NDArray[np.float32]] = {}
        most, count = _BUDGET // (4 * step * step), math.ceil(space.n / step)
        # Tiles to the next w blocks: at most w (w + 1) / 2 wait at a time.
        self._ahead = count if count**2 <= 4 * most else (math.isqrt(8 * most + 1) - 1) // 2

    def rows(self, start: int, out: NDArray[np.float32]) -> None:
        """Fill `out` (B, n) with squared distances from the points of the block at `start`."""
        stop, n = start + len(out), self._space.n
        rows = np.arange(start, stop)
        first = start
        while (tile := self._tiles.pop((first - self._step, start), None)) is not None:
            first -= self._step
            out[:, first : first + self._step] = tile
        if first > 0:
            self._space.products(rows, slice(0, first), out[:, :first])
        self._space.products(rows, slice(start, n), out[:, start:])
        for later in range(stop, min(n, stop + self._ahead * self._step), self._step):
            tile = out[:, later : later + self._step].T
            self._tiles[start, later] = np.ascontiguousarray(tile)
