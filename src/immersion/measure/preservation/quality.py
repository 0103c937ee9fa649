"""All about a map in one pass: neighbours, ranks at every scale, distances."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.core.measurement import Measurement
from immersion.core.progress import Progress, Silent
from immersion.measure.preservation.distortion import Distortion, map_distortion
from immersion.measure.preservation.jackknife import correlation, leave_one_out
from immersion.measure.preservation.neighbours import (
    Sample,
    Tally,
    Task,
    collapse_caveat,
    continuity_measurement,
    count_block,
    map_task,
    neighbourhoods_from,
    recall_measurement,
    trust_measurement,
)
from immersion.measure.preservation.space import Space, in_threads
from immersion.measure.preservation.table import table
from immersion.sampled.graph import NeighborGraph

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from immersion.measure.preservation.neighbours import Block
    from immersion.measure.preservation.space import Points

_SIZES = 100
_BINS = 512
_SOME = 512
_PAIRS = 1 << 16
_CODES = (0x7F800000 >> 10) + 1


Tables = tuple[
    NDArray[np.uint16],
    NDArray[np.uint16],
    NDArray[np.int32],
    NDArray[np.float64],
    NDArray[np.int64],
]
"""What the compiled loop looks up: `bins`, `image_bins`, `cells`, `weights` and `some`."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Agreement of neighbourhoods at every scale, from the co-ranking matrix.

    Attributes:
        sizes: (G,) sizes K of the neighbourhood, from 1 to n - 2, evenly spaced in log K.
        q_nx: (G,) mean share of K neighbours that are kept.
        r_nx: (G,) the same, 0 for a random map and 1 for a perfect one:
            ((n - 1) Q - K) / (n - 1 - K).
        lcmc: (G,) local continuity meta-criterion, Q - K / (n - 1).
        stderr: (G,) standard errors of `q_nx` and `lcmc`.
        r_stderr: (G,) standard errors of `r_nx`.
    """

    sizes: NDArray[np.int64]
    q_nx: NDArray[np.float64]
    r_nx: NDArray[np.float64]
    lcmc: NDArray[np.float64]
    stderr: NDArray[np.float64]
    r_stderr: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MapQuality:
    """What a map keeps of the order and the distances of points.

    Attributes:
        trustworthiness: are neighbours in the map true ones? See `trustworthiness`.
        continuity: are true neighbours kept? See `continuity`.
        recall: share of k neighbours kept, Q_NX(k).
        area: area under R_NX over log K: one number for all scales, 0 at random, 1 perfect.
        pearson: correlation of the distances between points with those between images.
        spearman: their rank correlation over all pairs, from 512 x 512 quantile bins: within 5e-5.
        curve: agreement at every scale.
        rows: (m,) the judged points, whose scores follow.
        trust: (m,) trustworthiness of each one's neighbours in the map.
        kept: (m,) continuity of each.
        recalled: (m,) share of each one's neighbours kept.
        order: (m,) Spearman correlation of the distances from each to all others.
        distortion: against geodesic distances, where they were given.
    """

    trustworthiness: Measurement
    continuity: Measurement
    recall: Measurement
    area: Measurement
    pearson: Measurement
    spearman: Measurement
    curve: Curve
    rows: NDArray[np.int64]
    trust: NDArray[np.float64]
    kept: NDArray[np.float64]
    recalled: NDArray[np.float64]
    order: NDArray[np.float64]
    distortion: Distortion | None = None

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All single numbers."""
        own = (self.trustworthiness, self.continuity, self.recall, self.area)
        distances = (self.pearson, self.spearman)
        return own + distances + (self.distortion.measurements if self.distortion else ())

    def __str__(self) -> str:
        k, n = self.recall.settings["k"], self.recall.settings["points"]
        return f"{len(self.rows)} of {n} points judged, k = {k}\n{table(self.measurements)}"


def map_quality(
    points: Points,
    embedding: Points,
    k: int = 15,
    *,
    geodesics: ArrayLike | NeighborGraph | None = None,
    sources: ArrayLike | None = None,
    sample: Sample = "auto",
    random_state: int = 0,
    progress: Progress | None = None,
) -> MapQuality:
    """Neighbours, ranks and distances that a map keeps, in one pass over blocks of rows.

    Neighbourhoods of k are exact, as in `trustworthiness`. The curve, its area and `order` rank
    whole rows by distance in float32: distances that agree to 1e-6 of the squared size of the
    data may change places there. Equal distances are ordered by index.

    Args:
        points: (n, D) points, or their graph.
        embedding: (n, d) their images in the same order, or their graph.
        k: neighbours a point, 1 <= k < n / 2.
        geodesics: the distances along the data to measure the distortion against, as in
            `map_distortion`: (m, n) from m source points, or a neighbour graph. By default
            `points`, if it is a graph; else no distortion is measured.
        sources: (m,) the source points, as in `map_distortion`.
        sample: how many points are judged, as in `trustworthiness`; the sources are all used.
        random_state: seed of all draws.
        progress: where to tell how far it is.

    Raises:
        InputError: as in `trustworthiness`; geodesics of another shape, negative or NaN.

    Cost: that of `trustworthiness`, and two sorts of every judged row: linear in m n. Memory
    as there.

    Source: Lee and Verleysen 2009 (co-ranking); Lee, Peluffo-Ordonez, Verleysen 2015 (area under
    R_NX); Chen and Buja 2009 (LCMC); Kobak and Berens 2019 (distance correlation).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> points = rng.normal(size=(500, 3)) * [3, 2, 0.1]
        >>> quality = map_quality(points, points[:, :2], k=10)
        >>> quality.trustworthiness.value > 0.99, quality.pearson.value > 0.99
        (True, True)
        >>> print(quality.recall)
        0.975 ± 0.004 (n = 500)
    """
    task = map_task(points, embedding, k, sample, random_state)
    distortion = None
    along = points if geodesics is None and isinstance(points, NeighborGraph) else geodesics
    if along is not None:
        distortion = map_distortion(along, embedding, sources, random_state=random_state)
    n, m = task.n, len(task.rows)
    sizes = np.unique(np.geomspace(1, max(1, n - 2), _SIZES).round().astype(np.int64))
    cells = np.searchsorted(sizes, np.arange(n)).astype(np.int32)
    weights = _area_weights(n)
    some = np.random.default_rng(random_state).permutation(n)[:_SOME]
    tables = (*_quantile_bins(task), cells, weights, some)
    tally = Tally.empty(task)
    within = np.zeros((m, len(sizes) + 1), np.int64)
    sums = np.empty((m, 12))
    joint = np.zeros((_BINS, _BINS), np.int64)
    listed = np.zeros((2, len(some), len(sizes) + 1), np.int64)
    with (progress or Silent()).stage("map quality", total=m) as advance:
        for part, block in task.blocks():
            count_block(task, block, tally, part)
            for pairs, rows in _whole_rows(block, tables, within[part], sums[part], len(some)):
                joint += pairs
                listed += rows
            advance(len(block[0]))
    judged = neighbourhoods_from(task, tally)
    area = _area(task, sums[:, 0], _area_variance(task, weights, sizes, listed))
    pearson, spearman = _correlations(task, sums, joint)
    others = n - 1
    return MapQuality(
        trust_measurement(task, judged),
        continuity_measurement(task, judged),
        recall_measurement(task, judged),
        area,
        pearson,
        spearman,
        _curve(task, sizes, within),
        task.rows,
        judged.trust,
        judged.kept,
        judged.recall,
        1 - 6 * sums[:, 1] / (others * (others**2 - 1)),
        distortion,
    )


def _whole_rows(
    block: Block,
    tables: Tables,
    within: NDArray[np.int64],
    sums: NDArray[np.float64],
    some: int,
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Fill the sums of one block; the tables `joint` and `listed` of each thread."""
    from immersion.measure.preservation.ranks import whole_rows

    rows, near, images = block
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def work(part: slice) -> None:
        joint = np.zeros((_BINS, _BINS), np.int64)
        listed = np.zeros((2, some, within.shape[1]), np.int64)
        found.append((joint, listed))
        filled = (within[part], sums[part], joint, listed)
        whole_rows(rows[part], near[part], images[part], *tables, *filled)

    in_threads(len(rows), work)
    return found


def _area_weights(n: int) -> NDArray[np.float64]:
    """What a pair whose greater rank is m adds to a point's area under R_NX, (n,)."""
    sizes = np.arange(1, n - 1, dtype=np.float64)
    each = (n - 1) / (sizes**2 * (n - 1 - sizes) * (1 / sizes).sum())
    weights = np.zeros(n)
    weights[1:-1] = each[::-1].cumsum()[::-1]
    return weights


def _area_variance(
    task: Task,
    weights: NDArray[np.float64],
    sizes: NDArray[np.int64],
    listed: NDArray[np.int64],
) -> float:
    """Variance of the area when the images are dealt to the points at random.

    Hoeffding's combinatorial limit theorem (1951): a sum of c(a, p(a)) over a random permutation p
    of N has variance sum d^2 / (N - 1), d being c without its row and column means. Once a point,
    over its ranks, c(a, b) = w(max(a, b)), where both directions of a pair go together. Once over
    the points: in a space with hubs, the same ones are near to everyone.
    """
    w, m = weights[1:], len(task.rows)
    rank = np.arange(1, len(w) + 1)
    rows = rank * w + w[::-1].cumsum()[::-1] - w
    squares = float(((2 * rank - 1) * w**2).sum())
    left = squares - 2 * float((rows**2).mean()) + float(rows.mean()) ** 2
    pairs = left / (len(w) - 1) * (1 / m + 1 / task.n)
    shares = listed[:, :, :-1].cumsum(axis=2) / m
    first, second = shares - shares.mean(axis=1, keepdims=True)
    hubs = (first * -np.diff(weights[sizes], append=0.0)) @ second.T
    return pairs + task.n * float(np.square(hubs).mean())


def _area(task: Task, added: NDArray[np.float64], variance: float) -> Measurement:
    scores = added - 1
    collapse = collapse_caveat(task)
    if collapse is not None:
        return _undecided("r_nx_area", task, collapse)
    null = Measurement("r_nx_area", 0.0, math.sqrt(variance), len(scores), {"map": "at random"})
    value, stderr = float(scores.mean()), task.stderr(scores)
    return Measurement("r_nx_area", value, stderr, len(scores), task.settings, null)


def _curve(task: Task, sizes: NDArray[np.int64], within: NDArray[np.int64]) -> Curve:
    n = task.n
    shares = within[:, :-1].cumsum(axis=1) / sizes
    q = shares.mean(axis=0)
    spread = shares.std(axis=0, ddof=1) * math.sqrt(1 / len(shares) + 3 / n)
    stretch = (n - 1) / (n - 1 - sizes)
    chance = sizes / (n - 1)
    return Curve(sizes, q, (q - chance) * stretch, q - chance, spread, spread * stretch)


def _correlations(
    task: Task, sums: NDArray[np.float64], joint: NDArray[np.int64]
) -> tuple[Measurement, Measurement]:
    """Pearson and Spearman correlation of the distances over all judged pairs."""
    collapse = collapse_caveat(task)
    if collapse is not None:
        names = "distance_pearson", "distance_spearman"
        return _undecided(names[0], task, collapse), _undecided(names[1], task, collapse)
    pearson = _correlation(task, "distance_pearson", sums[:, 2:7])
    # The error of the rank correlation is that of its quantile bins.
    binned = _correlation(task, "distance_spearman", sums[:, 7:12])
    value = _rank_correlation(joint)
    return pearson, replace(binned, value=value)


def _correlation(task: Task, name: str, sums: NDArray[np.float64]) -> Measurement:
    """Correlation from per-row sums of the five moments."""
    moments = sums / (task.n - 1)
    value, stderr = leave_one_out(moments, correlation)
    if not math.isfinite(value):
        return _undecided(name, task, "all distances in one of the spaces are equal")
    m = len(moments)
    overall = moments.mean(axis=0)
    variances = overall[2:4] - overall[:2] ** 2
    # Of a random assignment of images to points: row means and what is left of single pairs.
    rows = moments[:, :2].var(axis=0) / variances
    spread = math.sqrt(4 * float(rows.prod()) / m + 2 / (m * task.n))
    null = Measurement(name, 0.0, spread, m, {"map": "at random"})
    return Measurement(name, value, stderr * math.sqrt(1 + 3 * m / task.n), m, task.settings, null)


def _rank_correlation(joint: NDArray[np.int64]) -> float:
    """Spearman correlation of binned pairs, all in a bin at its middle rank."""
    first, second = joint.sum(axis=1), joint.sum(axis=0)
    total = float(joint.sum())
    ranks = [counts.cumsum() - (counts + 1) / 2 - (total - 2) / 2 for counts in (first, second)]
    scale = math.sqrt(float(first @ ranks[0] ** 2) * float(second @ ranks[1] ** 2))
    return float(ranks[0] @ (joint @ ranks[1])) / scale if scale > 0 else math.nan


def _quantile_bins(task: Task) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Bin of a squared distance by the leading 21 bits of its float32, in each space."""
    rng = np.random.default_rng(task.random_state)
    pairs = min(_PAIRS, task.n**2)
    one = rng.integers(0, task.n, pairs)
    other = (one + rng.integers(1, task.n, pairs)) % task.n
    return _bins(task.first, one, other), _bins(task.second, one, other)


def _bins(space: Space, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.uint16]:
    squares = np.empty(len(one), np.float32)
    width = max(1, (1 << 24) // (8 * space.points.shape[1]))
    for start in range(0, len(one), width):
        part = slice(start, start + width)
        step = space.points[one[part]] - space.points[other[part]].astype(np.float64)
        squares[part] = np.einsum("ij,ij->i", step, step)
    edges = np.quantile(squares, np.arange(1, _BINS) / _BINS, method="nearest")
    steps = np.concatenate([[0], edges.view(np.uint32) >> 10, [_CODES]])
    return np.repeat(np.arange(_BINS, dtype=np.uint16), np.diff(steps))


def _undecided(name: str, task: Task, why: str) -> Measurement:
    return Measurement(name, math.nan, math.nan, len(task.rows), task.settings, None, (why,))
