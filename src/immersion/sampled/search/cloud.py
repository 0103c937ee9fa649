"""Points under a metric that is Euclidean in some coordinates, and those coordinates in float32."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.sampled.exact import Rounding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = slice | NDArray[np.int64]

FlatMetric = Literal["euclidean", "cosine"]

_PASS = 1 << 24
"""Bytes read at a time where the whole array is gone through, so that mapped files stay on disk."""
_WHOLE = 2**24
"""Whole numbers up to this one are float32 numbers."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points whose distance is that of `points * inverse`, and how to bring them to float32.

    Attributes:
        points: (n, D) float32 or float64, possibly mapped from a file.
        metric: "euclidean" or "cosine".
        inverse: (n,) what each point is multiplied with: 1, or 1 / |x| for the cosine.
        centre: (D,) mean, subtracted in float32 coordinates so that products cancel less; rounded
            where all coordinates are whole numbers.
        scale: power of two that keeps squares of float32 coordinates in range.
        rounding: what those coordinates do to distances.
    """

    points: NDArray[np.floating]
    metric: FlatMetric
    inverse: NDArray[np.float64]
    centre: NDArray[np.floating]
    scale: float
    rounding: Rounding

    def __len__(self) -> int:
        return len(self.points)

    def coarse(self, rows: Rows) -> NDArray[np.float32]:
        """Centred and scaled float32 coordinates (m, D) of some points."""
        return self.brought_to_float32(self.points[rows], self.inverse[rows])

    def brought_to_float32(
        self, points: NDArray[np.floating], inverse: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Those coordinates (m, D) from the values of some points and what multiplies them."""
        if self.metric == "cosine":
            points = points * inverse[:, None]
        x = np.subtract(points, self.centre).astype(np.float32, copy=False)
        if self.scale != 1:
            x *= np.float32(self.scale)
        return np.ascontiguousarray(x)

    def distance(self, squared: NDArray[np.float64]) -> NDArray[np.float32]:
        """The metric from squared distances: their root, or half of them for the cosine."""
        return to_float32(np.sqrt(squared) if self.metric == "euclidean" else squared / 2)


def cloud_of(points: NDArray[np.floating], metric: FlatMetric) -> Cloud:
    """The cloud of finite points (n, D), in three passes over them.

    Raises:
        InputError: a zero vector has no direction (cosine); distances outside float32's range.
    """
    n, width = points.shape
    passes = list(row_chunks(n, points.itemsize * width, _PASS))
    inverse = np.ones(n)
    floor = 0.0
    if metric == "cosine":
        for rows in passes:
            wide = points[rows].astype(np.float64)
            # Powers of two taken out first: squares neither overflow nor vanish.
            _, exponent = np.frexp(np.abs(wide).max(axis=1))
            shift = np.clip(-exponent, -1000, 1000)
            wide = np.ldexp(wide, shift[:, None])
            lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
            if not lengths.all():
                row = rows.start + int(np.argmin(lengths))
                raise InputError(
                    f"points[{row}] is zero and has no direction; leave it out or use 'euclidean'"
                )
            inverse[rows] = np.ldexp(1 / lengths, shift)
        # Two parallel vectors come out at most (D + 8) eps apart after division by their lengths.
        floor = ((width + 8) * float(np.finfo(np.float64).eps)) ** 2
    total = np.zeros(width)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in passes:
            if metric == "cosine":
                # Not @, whose last digits depend on the number of threads, and with them cells.
                total += np.einsum("i,ij->j", inverse[rows], points[rows])
            else:
                total += points[rows].sum(axis=0, dtype=np.float64)
        exact = total / n
        whole = metric == "euclidean" and all(_are_whole(points[rows]) for rows in passes)
        centre = np.rint(exact) if whole else exact
        centre = centre if metric == "cosine" else centre.astype(points.dtype)
        spread = 1.0
        if metric == "euclidean":
            spread = max(float(np.abs(points[rows] - centre).max()) for rows in passes)
    # Distances are at most 2 sqrt(D) spread.
    if not spread * 2 * math.sqrt(width) < float(np.finfo(np.float32).max):
        raise InputError(
            "distances between the points exceed float32's range (3e38); divide the points by "
            "their scale"
        )
    extreme = spread > 0 and not 2.0**-20 < spread < 2.0**20
    exponent = -math.frexp(spread)[1] if extreme else 0
    if exponent >= np.finfo(np.float32).maxexp:
        raise InputError(
            f"the points differ by at most {spread:.1e}, below float32's range; multiply them"
        )
    scale = 2.0**exponent
    if whole:
        # Squared distances and all sums on the way to them are then whole and at most 4 max |x|^2.
        longest = max(float(np.square(points[rows] - centre).sum(1).max()) for rows in passes)
        whole = 4 * longest <= _WHOLE
    return Cloud(points, metric, inverse, centre, scale, Rounding(floor, scale**2, whole))


def _are_whole(part: NDArray[np.floating]) -> bool:
    """Whether all values are whole numbers that float32 holds."""
    return bool((np.rint(part[:1]) == part[:1]).all()) and bool(
        ((np.rint(part) == part) & (np.abs(part) <= _WHOLE)).all()
    )


def to_float32(distances: NDArray[np.floating]) -> NDArray[np.float32]:
    """Distances rounded, where zero stays the mark of duplicates: no other distance becomes it."""
    rounded = distances.astype(np.float32)
    rounded[(rounded == 0) & (distances > 0)] = np.finfo(np.float32).smallest_subnormal
    return rounded
