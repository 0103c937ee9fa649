"""What kind of singular place some flagged points make up, where that can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from immersion.measure.singular.places import connected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from immersion.measure.singular.patches import Patches
    from immersion.measure.singular.points import ScaleTests
    from immersion.sampled.graph import NeighborGraph

    Array = NDArray[np.float64]
    Flags = NDArray[np.bool_]

Kind = Literal[
    "boundary", "crossing", "tip", "crease", "cusp", "change of dimension", "outlier", "undecided"
]

_CORE = 0.15
"""Share of a place, the points that leave the sheet most, that its density is read from."""

_DOUBLE, _SINGLE = 1.5, 1.4
"""Density of the core over that around it: two sheets give 2, one at most about 1."""

_MIXED = 0.1
"""Share of other dimensions among the neighbours of a place that changes its dimension."""

_ONE_SIDED = 0.25
"""Share of the core with a void of p < 0.01 where sheets meet and end."""

_POINT = 1.5
"""Radii of a neighbourhood within which a tip lies, and beyond which a crease reaches."""


@dataclass(frozen=True, eq=False)
class Place:
    """One connected set of flagged points.

    Attributes:
        kind: what it is, or "undecided".
        points: (m,) its points, the most singular one first.
        p_value: adjusted p-value of its strongest patch.
        radius: typical radius of its neighbourhoods; its position is known no better.
    """

    kind: Kind
    points: NDArray[np.int64]
    p_value: float
    radius: float

    def __str__(self) -> str:
        return f"{self.kind}: {len(self.points)} points, p = {self.p_value:.1g}"


def find_places(
    graph: NeighborGraph,
    k: int,
    found: Patches,
    tests: ScaleTests,
    flagged: Flags,
    bent: Flags,
    p: Array,
    adjusted: Array,
) -> tuple[tuple[Place, ...], NDArray[np.int64]]:
    """Places, largest first, and the place (n,) of each point, -1 where none.

    Args:
        graph: the neighbours.
        k: neighbours by which flagged points are joined.
        found: the widest patches, which see all of a place.
        tests: p-values of these.
        flagged: (n,) points of all places.
        bent: (n,) those that are off a smooth sheet; the others are flagged for a void.
        p: (n,) p-values.
        adjusted: (n,) p-values of patches.
    """
    labels = np.full(graph.n, -1)
    places: list[Place] = []
    bent = flagged & (bent | _stray(graph, k, flagged & ~bent, bent))
    for chosen, one_sided in ((bent, False), (flagged & ~bent, True)):
        piece = connected(graph, k, chosen)
        for number in range(int(piece.max(initial=-1)) + 1):
            own = np.flatnonzero(piece == number)
            own = own[np.lexsort((own, -np.nan_to_num(found.residual[own]), p[own]))]
            kind = _kind_of(graph, found, tests, own, one_sided)
            radius = float(np.median(found.radius[own]))
            places.append(Place(kind, own, float(np.nanmin(adjusted[own])), radius))
    places.sort(key=lambda place: (-len(place.points), int(place.points[0])))
    for number, place in enumerate(places):
        labels[place.points] = number
    return tuple(places), labels


def _stray(graph: NeighborGraph, k: int, one_sided: Flags, bent: Flags) -> Flags:
    """(n,) the few points flagged for a void on the fringe of a place that is no boundary."""
    piece = connected(graph, k, one_sided)
    touching = one_sided & bent[graph.indices[:, :k]].any(axis=1)
    size = np.bincount(piece[one_sided], minlength=1)
    fringe = np.unique(piece[touching])
    return np.isin(piece, fringe[size[fringe] < k]) & one_sided


def _kind_of(
    graph: NeighborGraph,
    found: Patches,
    tests: ScaleTests,
    own: NDArray[np.int64],
    one_sided: bool,
) -> Kind:
    around = np.unique(graph.indices[own])
    listed = np.isin(own, graph.indices[:, : found.k])
    if not listed.any() and len(own) <= found.k // 4:
        return "outlier"
    dims = found.dims[np.union1d(around, own)]
    if np.bincount(dims).max() < (1 - _MIXED) * len(dims):
        return "change of dimension"
    if one_sided:
        return "boundary"
    core = own[np.argsort(-np.nan_to_num(found.residual[own]), kind="stable")]
    core = core[: max(1, round(_CORE * len(own)))]
    # From here on the dimension is the same, so volumes can be compared.
    outside = np.setdiff1d(around, own)
    if len(outside) < 3:
        return "undecided"
    dim = float(np.median(dims))
    level = (np.median(found.radius[outside]) / np.median(found.radius[core])) ** dim
    if np.mean(tests.void[core] < 0.01) > _ONE_SIDED:
        return "cusp"
    if level > _DOUBLE:
        return "crossing"
    if level > _SINGLE:
        return "undecided"
    reach = np.linalg.norm(graph.points[own] - graph.points[own[0]], axis=1).max()
    return "tip" if reach < _POINT * np.median(found.radius[own]) else "crease"
