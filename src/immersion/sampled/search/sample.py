"""How much of the truth an approximate search finds, on a sample of points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TUNING, MEASURING = 500, 1000
"""Points that tune a search, and others that measure it: a standard error of .001 at recall .99."""


@dataclass(frozen=True)
class Recall:
    """Share of the true neighbours found, its standard error, and how many points it rests on."""

    value: float
    stderr: float
    n: int

    @property
    def low(self) -> float:
        """Two standard errors below the estimate."""
        return self.value - 2 * self.stderr


def sample_rows(n: int, size: int, seed: int) -> NDArray[np.int64]:
    """`size` of n rows, ascending; all of them where there are no more."""
    if size >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size, replace=False)).astype(np.int64)


def recall_of(hits: NDArray[np.bool_], n: int) -> Recall:
    """Recall from hits (s, k) of s of n points; the points, not the hits, are independent.

    Where every hit counts, the spread says nothing, and the error is that of Agresti and Coull.
    """
    size = len(hits)
    spread = float(hits.mean(axis=1).std(ddof=1)) / math.sqrt(size) if size > 1 else 0.0
    centre = (float(hits.sum()) + 2) / (hits.size + 4)
    least = math.sqrt(centre * (1 - centre) / (hits.size + 4))
    return Recall(float(hits.mean()), max(spread, least) * math.sqrt(1 - size / n), size)
