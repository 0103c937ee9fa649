"""Is it a manifold, and where not: singular points, with false-alarm control."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement, percent
from immersion.measure.singular.dims import local_dims, require_points, whole_dim
from immersion.measure.singular.kinds import Place, find_places
from immersion.measure.singular.noise import noise_by_scale
from immersion.measure.singular.patches import fewest_for, measure_patches
from immersion.measure.singular.places import cover, flag
from immersion.measure.singular.points import ScaleTests, flagged_share, scale_tests, smallest_of
from immersion.sampled.graph import NeighborGraph, as_points, neighbor_graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import ArrayLike, NDArray

    from immersion.core.measurement import Setting

    Array = NDArray[np.float64]

Verdict = Literal["no singular place", "manifold with boundary", "singular", "not decidable"]

_LEAST = 16
"""Neighbours of the smallest patch, unless the dimension or noise needs more."""

_STEPS = 3
"""Scales, each of twice as many neighbours as the one before."""

_WIDEST = 8
"""A patch holds at most one in so many points."""

_EVIDENCE = 15.0
"""Most that one scale adds to a score, so that no scale outweighs the others."""

_HIDING = 0.2
"""Noise over patch radius above which a patch is too small to see a sheet."""

_ROUND = 0.8
"""Median bend of a patch, in radians, above which it is no local patch."""


@dataclass(frozen=True, eq=False)
class Singularities:
    """Where data is no smooth manifold without boundary.

    Attributes:
        p_values: (n,) p-value of each point against a smooth manifold of its dimension without
            boundary; NaN where not decidable. Neighbouring points' are dependent.
        scores: (n,) to rank points by: -log10 of the smallest p-value at each scale, at most 15,
            summed over the scales.
        flagged: (n,) points of singular places, false alarms controlled at `alpha`.
        places: the places, largest first.
        labels: (n,) place of each point, -1 where none.
        tests: p-values (n,) of each kind of test, over all scales: "void" (nothing on one side),
            "sheet" (neighbours off a smooth sheet), "centre" (the point itself off it).
        dims: (n,) dimension assumed at each point.
        radii: (n,) radius of the widest neighbourhood: a singular point lies within about this
            distance of a flagged one.
        scales: neighbours of each patch.
        share: share of the decidable points that are flagged; its null is that of a manifold
            without boundary, where with probability 1 - alpha nothing is.
        noise: noise level that was allowed for.
        alpha: level of the control.
        caveats: when not to trust it, or why nothing could be decided.
    """

    p_values: Array
    scores: Array
    flagged: NDArray[np.bool_]
    places: tuple[Place, ...]
    labels: NDArray[np.int64]
    tests: Mapping[str, Array]
    dims: NDArray[np.int64]
    radii: Array
    scales: tuple[int, ...]
    share: Measurement
    noise: Measurement
    alpha: float
    caveats: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The answer in a word; "no singular place" is no proof that there is none."""
        if not self.share.decidable:
            return "not decidable"
        if not self.places:
            return "no singular place"
        if all(place.kind == "boundary" for place in self.places):
            return "manifold with boundary"
        return "singular"

    def to_dict(self) -> dict[str, object]:
        """JSON-ready dictionary, without the values of single points."""
        return {
            "verdict": self.verdict,
            "share": self.share.to_dict(),
            "noise": self.noise.to_dict(),
            "places": [
                {
                    "kind": place.kind,
                    "points": place.points.tolist(),
                    "p_value": place.p_value,
                    "radius": place.radius,
                }
                for place in self.places
            ],
            "scales": list(self.scales),
            "alpha": self.alpha,
            "caveats": list(self.caveats),
        }

    def __str__(self) -> str:
        if self.verdict == "not decidable":
            return "\n".join(["not decidable", *self.caveats])
        dims, counts = np.unique(self.dims, return_counts=True)
        listed = ", ".join(f"{d} ({c} points)" for d, c in zip(dims, counts, strict=True))
        dimension = f"{dims[0]}" if len(dims) == 1 else listed
        lines = [
            f"{self.verdict}: {percent(self.share)} of {self.share.n} points flagged at level "
            f"{self.alpha:g}, {len(self.places)} places, dimension {dimension}, noise {self.noise}"
        ]
        lines += [f"  {place}" for place in self.places[:10]]
        if len(self.places) > 10:
            lines.append(f"  and {len(self.places) - 10} smaller places")
        return "\n".join([*lines, *self.caveats])


def singularity(
    points: ArrayLike | torch.Tensor | NeighborGraph,
    *,
    dim: int | None = None,
    scales: Sequence[int] | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> Singularities:
    """Test at every point whether the data is a smooth manifold without boundary around it.

    Each point is the centre of patches of k nearest neighbours, for three k. A patch is fitted by a
    quadratic over its tangent space, and three tests are made of it:

    - void: the largest empty cap of the patch, for the slope of the density. In the interior the
      neighbours fill a ball; its distribution there is simulated (boundaries, cusps).
    - sheet: the mean square that the quadratic leaves, against the noise of the data and the third
      and higher orders of a shape that bends by half a radian, or three times as much as the
      median patch, at most (crossings, tips, creases, changes of dimension).
    - centre: how far the point is off the sheet that its neighbours give (outliers, tips).

    A point's p-value is the smallest of them times their number (Bonferroni). Points are gathered
    in the patches of a cover, and patches are chosen by Holm's rule; connected flagged points make
    up a place.

    Args:
        points: (n, D) points, or a Euclidean graph with as many neighbours as the largest scale.
        dim: dimension of the manifold at all points. By default `intrinsic_dimension`, rounded,
            except where patches clearly have another.
        scales: numbers of neighbours, ascending; 16, 32 and 64 by default, more in 4 dimensions
            and beyond or under noise, fewer where n is small or patches bend too much.
        alpha: level of the control: the probability that anything is flagged away from singular
            places, on a manifold without boundary anything at all, is at most alpha, as far as
            overlapping neighbourhoods are positively dependent.
        seed: of the simulated null distributions.

    Returns:
        p-values, flagged points, places with their kind, share and verdict. "Not decidable", with
        the reason, where n does not resolve the dimension (d > 2 log10 n), or where patches bend
        too much.

    Raises:
        InputError: unusable points, dim outside 1..D, scales that are not ascending, too small for
            dim or above n - 1, alpha outside (0, 1), a graph with too few neighbours.

    Fails quietly where: two sheets are nearer to each other than the noise; the density falls to
    nothing smoothly, which is no boundary, or so fast that a patch is empty on one side, which
    looks like one; most of the data is singular, so that no usual bend can be told.

    Cost: the graph, then O(n k (p^2 + k d)) for p = 1 + d + d (d + 1) / 2 and the largest k, and
    O(n k^2 D) where D > k. 10,000 points of a surface in space take about 5 s of one core.

    Source: the question, and dimension at many scales, von Rohrscheidt and Rieck 2023 (Topological
    singularity detection at multiple scales); quadratic fits, Aamari and Levrard 2019; control,
    Simes 1986 and Holm 1979. Persistent homology of annuli, their Euclidicity, has no null
    distribution in closed form and is not used.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> turn = rng.uniform(0, 2 * np.pi, 1000)
        >>> ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        >>> singularity(ring).verdict
        'no singular place'
        >>> eight = np.stack([np.sin(turn), np.sin(2 * turn)], axis=1)
        >>> found = singularity(eight)
        >>> found.verdict, len(found.places)
        ('singular', 1)
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha must lie between 0 and 1, not {alpha}")
    x = points if isinstance(points, NeighborGraph) else as_points(points)
    n = x.n if isinstance(x, NeighborGraph) else len(x)
    asked = _checked(scales, n)
    whole = whole_dim(x, dim)
    d, why = whole.dim, whole.why
    settings: dict[str, Setting] = {"dim": dim, "alpha": alpha, "seed": seed}
    least = fewest_for(max(d, 1))
    if asked and not why and asked[0] < least:
        raise InputError(
            f"patches of dimension {d} need {least} neighbours or more, not {asked[0]}"
        )
    start = asked[0] if asked else max(_LEAST, least)
    if not why and start * 2 > n // 2:
        why = f"{n} points are too few for patches of {start} neighbours in dimension {d}"
    if why:
        return _undecided(n, d, settings, alpha, why)
    growing = not isinstance(x, NeighborGraph)
    graph = require_points(x, max((2 * least, *asked)) if asked else 2 * start, "singularity")
    if not asked and growing:
        graph = neighbor_graph(graph.points, max(2 * least, _ladder(start, n)[-1]))
    if dim is None:
        dims = local_dims(graph, min(max(2 * least, whole.k), graph.k), d)
    else:
        dims = np.full(n, d)
    noise, _, graph = noise_by_scale(graph, dims, fewest_for(int(dims.max())), growing=growing)
    sigma = max(0.0, noise.value + 2 * noise.stderr) if noise.decidable else 0.0
    if not asked:
        start = max(start, fewest_for(int(dims.max())))
        asked, graph = _scales(graph, start, sigma, growing)
    caveats: list[str] = []
    found = measure_patches(graph, asked, dims)
    if not any(at.decided.any() for at in found):
        return _undecided(n, d, settings, alpha, "no point has neighbours that determine a patch")
    bends = [float(np.nanmedian(at.bend)) if at.decided.any() else math.inf for at in found]
    found = tuple(at for at, bend in zip(found, bends, strict=True) if bend <= _ROUND)
    if not found:
        why = (
            f"patches of {asked[0]} neighbours bend by {bends[0]:.2g} radians or more: too few "
            "points for the shape, or no sheet anywhere"
        )
        return _undecided(n, d, settings, alpha, why)
    tests = [scale_tests(at, found[0], sigma**2, graph.points.shape[1], seed) for at in found]
    kinds = {
        "void": smallest_of([at.void for at in tests]),
        "sheet": smallest_of([at.sheet for at in tests]),
        "centre": smallest_of([at.centre for at in tests]),
    }
    every = [p for at in tests for p in (at.void, at.sheet, at.centre)]
    p_values = smallest_of(every)
    scores = _scores(tests, p_values)
    family = cover(graph, found[0].k)
    flagged, adjusted, level = flag(p_values, family, alpha)
    off = smallest_of([kinds["sheet"], kinds["centre"]])
    places, labels = find_places(
        graph, found[0].k, found[-1], tests[-1], flagged, np.nan_to_num(off, nan=1.0) <= level,
        p_values, adjusted,
    )  # fmt: skip
    share = flagged_share("singular_share", graph, flagged, p_values, found[0].k, settings)
    if noise.decidable and sigma > _HIDING * float(np.nanmedian(found[-1].radius)):
        caveats.append("noise is as wide as the patches: only coarse singularities can be seen")
    missing = n - share.n
    if missing:
        caveats.append(f"{missing} of {n} points are not decidable (their neighbours coincide)")
    return Singularities(
        p_values, scores, flagged, places, labels, kinds, dims, found[-1].radius,
        tuple(at.k for at in found), share, noise, alpha, tuple(caveats),
    )  # fmt: skip


def _checked(scales: Sequence[int] | None, n: int) -> tuple[int, ...]:
    if scales is None:
        return ()
    asked = tuple(int(k) for k in scales)
    if not asked or asked[0] < 1 or list(asked) != sorted(set(asked)) or asked[-1] >= n:
        raise InputError(f"scales must ascend within 1..n - 1 = {n - 1}, not {asked}")
    return asked


def _ladder(start: int, n: int) -> tuple[int, ...]:
    """Up to three numbers of neighbours, each twice the one before; the first always."""
    wide = max(start, n // _WIDEST)
    return tuple(start << step for step in range(_STEPS) if start << step <= wide)


def _scales(
    graph: NeighborGraph, start: int, sigma: float, growing: bool
) -> tuple[tuple[int, ...], NeighborGraph]:
    """Numbers of neighbours whose patches are wider than the noise, and a graph that has them."""
    most = graph.n // _WIDEST if growing else min(graph.n // _WIDEST, graph.k)
    while 2 * start <= most:
        if start > graph.k:
            graph = neighbor_graph(graph.points, min(4 * start, most))
        if sigma <= _HIDING * float(np.median(graph.distances[:, start - 1])):
            break
        start *= 2
    chosen = _ladder(start, graph.n)
    if growing and chosen[-1] > graph.k:
        graph = neighbor_graph(graph.points, chosen[-1])
    return tuple(k for k in chosen if k <= graph.k), graph


def _scores(tests: list[ScaleTests], p_values: Array) -> Array:
    """Evidence (n,): the nearer a singular place, the more scales see it."""
    total = np.zeros(len(p_values))
    for at in tests:
        every = np.stack([at.void, at.sheet, at.centre])
        least = np.where(np.isfinite(every), every, 1.0).min(axis=0)
        total += np.minimum(-np.log10(np.maximum(least, 1e-300)), _EVIDENCE)
    return np.where(np.isfinite(p_values), total, np.nan)


def _undecided(
    n: int, d: int, settings: dict[str, Setting], alpha: float, why: str
) -> Singularities:
    nan = np.full(n, np.nan)
    share = Measurement("singular_share", math.nan, math.nan, n, settings, caveats=(why,))
    noise = Measurement("noise_level", math.nan, math.nan, n, settings, caveats=(why,))
    return Singularities(
        nan, nan.copy(), np.zeros(n, bool), (), np.full(n, -1),
        {"void": nan.copy(), "sheet": nan.copy(), "centre": nan.copy()},
        np.full(n, d), nan.copy(), (), share, noise, alpha, (why,),
    )  # fmt: skip
