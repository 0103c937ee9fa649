"""p-values of every point against a smooth manifold without boundary: void, sheet and centre."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from immersion.core.measurement import Measurement
from immersion.measure.dimension.uncertainty import graph_stderr
from immersion.measure.singular.voids import thinned_share, void_null, void_statistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from immersion.core.measurement import Setting
    from immersion.measure.singular.patches import Patches
    from immersion.sampled.graph import NeighborGraph

    Array = NDArray[np.float64]

_SMOOTH = 0.1
"""Third and higher orders leave at most so many times bend^2 of a patch; 0.06 was met on tori,
0.01 on swiss rolls, 0.003 on spheres."""

_LITTLE, _MUCH = 1.5, 3.0
"""Times that a patch may bend as the median one does: where it bends less, higher orders may still
be as large as elsewhere; where it bends more, it is no part of a smooth shape at the resolution of
the data."""

RESOLVED = 0.5
"""Bend of a patch, in radians, up to which it is a smooth shape whatever the others do."""

_ROUND = 1.0
"""The same, in radians, where the smallest patch shows the bend to be smooth."""

_FLOOR = 1e-3
"""Deviation from a smooth sheet, in patch radii, that is never a singularity."""


@dataclass(frozen=True, eq=False)
class ScaleTests:
    """p-values (n,) of the points at one number of neighbours; NaN where not decidable.

    Attributes:
        k: neighbours of a patch.
        void: nothing on one side, against a full ball.
        sheet: what the quadratic leaves, against noise and smooth higher orders.
        centre: the point itself off the sheet of its neighbours.
    """

    k: int
    void: Array
    sheet: Array
    centre: Array


def void_p_values(found: Patches, seed: int) -> Array:
    """p-value (n,) of the largest empty cap of each patch."""
    p = np.full(len(found.dims), np.nan)
    for dim in np.unique(found.dims):
        rows = np.flatnonzero((found.dims == dim) & found.decided)
        share = thinned_share(found.extent[rows], found.thinning[rows], int(dim))
        statistic = void_statistic(share, found.k)
        p[rows] = void_null(int(dim), found.k, seed).p_values(statistic)
    return p


def scale_tests(
    found: Patches, least: Patches, variance: float, width: int, seed: int
) -> ScaleTests:
    """All tests at one number of neighbours.

    Args:
        found: the patches.
        least: the smallest patches. Where these bend no more than a smooth shape that bends by half
            a radian in `found`, `found` may bend by a whole one.
        variance: of the noise, a normal coordinate.
        width: coordinates D of the points.
        seed: of the simulated null.
    """
    size = np.where(found.radius > 0, found.radius, np.nan)
    curvature = found.bend / size
    usual = np.nanmedian(curvature) if np.isfinite(curvature).any() else 0.0
    most = np.maximum(_MUCH * usual * size, RESOLVED)
    if found is not least:
        level = least.bend * size < RESOLVED * least.radius
        most = np.where(level, np.maximum(most, _ROUND), most)
    bend = np.clip(found.bend, _LITTLE * usual * size, most)
    normal = np.maximum(width - found.dims, 0)
    allowed = normal * variance * (1 + bend**2) / size**2 + (_SMOOTH * bend**2) ** 2 + _FLOOR**2
    # As if all noise were in one normal direction: with more of them the test errs to safety.
    freedom = np.maximum(found.freedom, 1)
    sheet = np.asarray(chi2.sf(freedom * found.residual / allowed, freedom))
    centre = np.asarray(chi2.sf(found.centre / allowed, 1))
    none = (normal == 0) | ~found.decided
    sheet[none] = np.nan
    centre[none] = np.nan
    return ScaleTests(found.k, void_p_values(found, seed), sheet, centre)


def smallest_of(p: list[Array]) -> Array:
    """Bonferroni's combination (n,) of the tests that could be made; NaN where none could.

    It holds whatever the dependence, and the tests share their neighbours.
    """
    stacked = np.stack(p)
    made = np.isfinite(stacked)
    least = np.where(made, stacked, np.inf).min(axis=0)
    count = made.sum(axis=0)
    return np.where(count > 0, np.minimum(np.where(count > 0, least, 1) * count, 1), np.nan)


def flagged_share(
    name: str,
    graph: NeighborGraph,
    flagged: NDArray[np.bool_],
    p: Array,
    k: int,
    settings: dict[str, Setting],
) -> Measurement:
    """Share of the decidable points that are flagged, with the error of overlapping patches."""
    known = np.isfinite(p)
    n = int(np.count_nonzero(known))
    if n == 0:
        why = "no point has neighbours that determine a patch"
        return Measurement(name, math.nan, math.nan, 0, settings, caveats=(why,))
    value = float(flagged[known].mean())
    # A share of 0 is no certainty: one patch in all of them may have been missed.
    one = (k + 1) / (n + k + 1)
    stderr = max(graph_stderr(graph, np.where(known, flagged - value, 0.0), known, k), one)
    return Measurement(name, value, stderr, n, settings, Measurement(name, 0.0, one, n, settings))
