"""Trustworthiness and continuity: which neighbours a map invents, and which it loses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.preservation.mirror import Mirror
from immersion.measure.preservation.space import Space, as_space, in_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from immersion.core.measurement import Setting
    from immersion.measure.preservation.space import Points

Sample = int | Literal["auto", "all"]

Block = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]
"""Some points (B,), and squared distances (B, n) from them and from their images to all."""

_ALL_UP_TO = 20_000
_AUTO = 4096

_BUDGET = 1 << 28
_MOST_ROWS = 512
"""More rows make the product hardly faster, and no longer fit a cache."""


@dataclass(frozen=True, eq=False)
class Task:
    """A map whose quality is asked for, checked.

    Attributes:
        first: the points.
        second: their images.
        k: size of a neighbourhood.
        rows: (m,) the points that are judged, each against all others.
        random_state: seed of all draws.
    """

    first: Space
    second: Space
    k: int
    rows: NDArray[np.int64]
    random_state: int

    @property
    def settings(self) -> dict[str, Setting]:
        """What a measurement of the map depends on."""
        judged = len(self.rows)
        return {"k": self.k, "points": self.n, "judged": judged, "random_state": self.random_state}

    @property
    def n(self) -> int:
        """Number of points."""
        return self.first.n

    def blocks(self) -> Iterator[tuple[slice, Block]]:
        """Which of the judged points, and their distances in arrays that the next block reuses."""
        most = max(1, min(len(self.rows), _MOST_ROWS, _BUDGET // (16 * self.n)))
        near, images = np.empty((2, most, self.n), np.float32)
        mirrors = [
            Mirror(space, most) if len(self.rows) == self.n and not len(space.columns) else None
            for space in (self.first, self.second)
        ]
        for start in range(0, len(self.rows), most):
            rows = self.rows[start : start + most]
            block = rows, near[: len(rows)], images[: len(rows)]
            for space, mirror, out in zip(
                (self.first, self.second), mirrors, block[1:], strict=True
            ):
                if mirror is None:
                    space.rows(rows, out)
                else:
                    mirror.rows(start, out)
            yield slice(start, start + len(rows)), block

    def stderr(self, values: NDArray[np.floating]) -> float:
        """Standard error of a mean of per-point values, the points taken as a sample.

        A value rests on two points, the one judged and the other: with m judged of n, the variance
        of a mean is that of one value times 1/m + 3/n (Hoeffding's projection of a U-statistic).
        """
        if len(values) < 2:
            return math.nan
        return float(values.std(ddof=1)) * math.sqrt(1 / len(values) + 3 / self.n)


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Per judged point, what became of its neighbourhood of k.

    Attributes:
        trust: (m,) trustworthiness of the point's neighbours in the map.
        kept: (m,) continuity: how far the map keeps the point's neighbours.
        recall: (m,) share of the point's k neighbours that are its neighbours in the map.
        tied: (2,) share of judged points whose neighbourhood in the points, in the map, ends
            between equal distances, so that index decides.
        hubs: (2,) variance, over all points, of the share of neighbourhoods among the points, in
            the map, that a point belongs to.
    """

    trust: NDArray[np.float64]
    kept: NDArray[np.float64]
    recall: NDArray[np.float64]
    tied: tuple[float, float]
    hubs: tuple[float, float]


def trustworthiness(
    points: Points,
    embedding: Points,
    k: int = 15,
    *,
    sample: Sample = "auto",
    random_state: int = 0,
) -> Measurement:
    """Trustworthiness: do the neighbours in a map come from near by?

    T(k) = 1 - 2 / (n k (2n - 3k - 1)) sum_i sum_{j near i in the map} max(0, r(i, j) - k), where
    r(i, j) is the rank of j by distance from i among the points. 1 when every neighbour in the map
    is a true one; about 1/2 for a map at random, which is the null.

    Ranks are exact in the order (distance, index), distances taken in float64: equal distances
    are ordered by index in both spaces. Where they decide who is a neighbour, a caveat says for
    how many points.

    Args:
        points: (n, D) points, or their graph.
        embedding: (n, d) their images in the same order, or their graph.
        k: neighbours a point, 1 <= k < n / 2.
        sample: how many points, drawn at random, are judged (against all others); "auto" is all up
            to 20,000 points and 4,096 of more, "all" is all.
        random_state: seed of the draw.

    Returns:
        The value, with the standard error as if the points were drawn from a population and the
        map were fixed; that of a sample is included. NaN where all points of a space coincide.

    Raises:
        InputError: arrays of different length, k outside 1..n/2, NaN, or a sample out of range.

    Cost: m n (2 D + d) flops for m judged points, n^2 (D + d) for all; memory O(n x 512), and up to
    256 MB for all.

    Source: Venna and Kaski 2001.

    Example:
        >>> line = np.arange(40.0)[:, None]
        >>> trustworthiness(line, 5 - 3 * line, k=4).value
        1.0
        >>> folded = trustworthiness(line, abs(line - 20), k=4)
        >>> bool(folded.null.value < folded.value < 0.8)
        True
    """
    task = map_task(points, embedding, k, sample, random_state)
    return trust_measurement(task, judge_neighbourhoods(task))


def continuity(
    points: Points,
    embedding: Points,
    k: int = 15,
    *,
    sample: Sample = "auto",
    random_state: int = 0,
) -> Measurement:
    """Continuity: does a map keep neighbours near?

    C(k) = 1 - 2 / (n k (2n - 3k - 1)) sum_i sum_{j near i among the points} max(0, r(i, j) - k),
    where r(i, j) is the rank of j by distance from i in the map: trustworthiness with the two
    spaces exchanged. Arguments, ties, errors and costs are those of `trustworthiness`.

    Source: Venna and Kaski 2001.

    Example:
        >>> circle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        >>> points = np.stack([np.cos(circle), np.sin(circle)], axis=1)
        >>> cut_open = circle[:, None]
        >>> trust = trustworthiness(points, cut_open, k=4).value
        >>> kept = continuity(points, cut_open, k=4).value
        >>> kept < trust
        True
    """
    task = map_task(points, embedding, k, sample, random_state)
    return continuity_measurement(task, judge_neighbourhoods(task))


def map_task(points: Points, embedding: Points, k: int, sample: Sample, random_state: int) -> Task:
    """Check what is given and draw the points to judge.

    Raises:
        InputError: as `trustworthiness` says.
    """
    first, second = as_space(points, "points"), as_space(embedding, "embedding")
    n = first.n
    if second.n != n:
        raise InputError(
            f"{n} points and {second.n} images: the embedding must have one row for each point"
        )
    if not (_is_whole(k) and 1 <= k < n / 2):
        raise InputError(
            f"k = {k} must be a whole number in 1..{(n - 1) // 2}, below half of the {n} points: "
            "larger neighbourhoods have no normalised trustworthiness"
        )
    if isinstance(sample, str):
        if sample not in ("auto", "all"):
            raise InputError(f"sample must be a number, 'auto' or 'all', not {sample!r}")
        m = n if sample == "all" or n <= _ALL_UP_TO else _AUTO
    else:
        m = sample
    if not (_is_whole(m) and 2 <= m <= n):
        raise InputError(f"sample = {m} must be a whole number in 2..{n}, the number of points")
    rows = np.arange(n, dtype=np.int64)
    if m < n:
        rows = np.sort(np.random.default_rng(random_state).choice(n, m, replace=False))
    return Task(first, second, k, rows, random_state)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer)


def judge_neighbourhoods(task: Task) -> Neighbourhoods:
    """The neighbourhoods of all judged points, in blocks of rows."""
    tally = Tally.empty(task)
    for part, block in task.blocks():
        count_block(task, block, tally, part)
    return neighbourhoods_from(task, tally)


@dataclass(frozen=True, eq=False)
class Tally:
    """What is counted on the way.

    Attributes:
        counts: (m, 5) intrusion, extrusion, shared, ties in both.
        listed: (2, n) neighbourhoods among the points, in the map, that a point belongs to.
    """

    counts: NDArray[np.int64]
    listed: NDArray[np.int64]

    @staticmethod
    def empty(task: Task) -> Tally:
        """Nothing counted."""
        return Tally(np.zeros((len(task.rows), 5), np.int64), np.zeros((2, task.n), np.int64))


def count_block(task: Task, block: Block, tally: Tally, at: slice) -> None:
    """Count the neighbourhoods of a block, which are the rows `at` of the tally."""
    from immersion.measure.preservation.kernels import FEW, neighbours, penalties, penalties_of_few

    first, second = task.first, task.second
    rows, near, images = block
    counts = tally.counts[at]
    chosen = np.empty((2, len(rows), task.k), np.int64)
    rank = penalties_of_few if task.k <= FEW else penalties

    def work(part: slice) -> None:
        own, count, found = rows[part], counts[part], np.empty((2, len(rows[part]), 2), np.int64)
        sides = ((first, near[part]), (second, images[part]))
        for side, (space, row) in enumerate(sides):
            about = (space.squares, space.points, space.c, space.most)
            neighbours(row, own, *about, chosen[side, part], count[:, 3 + side])
        for side, (space, row) in enumerate(sides):
            about = (space.squares, space.points, space.c, space.most)
            rank(row, own, *about, chosen[1 - side, part], found[side])
        count[:, :2] = found[:, :, 0].T
        count[:, 2] = found[0, :, 1]

    in_threads(len(rows), work)
    for listed, near_by in zip(tally.listed, chosen, strict=True):
        listed += np.bincount(near_by.ravel(), minlength=task.n)


def neighbourhoods_from(task: Task, tally: Tally) -> Neighbourhoods:
    """Scores of points from the sums of their ranks."""
    counts, m = tally.counts, len(task.rows)
    scale = 2 / (task.k * (2 * task.n - 3 * task.k - 1))
    tied = counts[:, 3:].mean(axis=0)
    trust, kept = np.subtract(1, scale * counts[:, :2].T, dtype=np.float64)
    # Of m neighbourhoods that are a sample, the counts vary by the luck of the draw too.
    drawn = task.k * m / task.n * (1 - m / task.n)
    hubs = np.maximum(tally.listed.var(axis=1) - drawn, 0) / m**2
    return Neighbourhoods(
        trust,
        kept,
        counts[:, 2] / task.k,
        (float(tied[0]), float(tied[1])),
        (float(hubs[0]), float(hubs[1])),
    )


def trust_measurement(task: Task, judged: Neighbourhoods) -> Measurement:
    """Mean trustworthiness with its error, null and caveats."""
    null = _rank_null(task, judged.hubs[1])
    return _mean(task, "trustworthiness", judged.trust, judged, null)


def continuity_measurement(task: Task, judged: Neighbourhoods) -> Measurement:
    """Mean continuity with its error, null and caveats."""
    return _mean(task, "continuity", judged.kept, judged, _rank_null(task, judged.hubs[0]))


def recall_measurement(task: Task, judged: Neighbourhoods) -> Measurement:
    """Mean share of neighbours kept, Q_NX(k), whose null is k / (n - 1)."""
    share = task.k / (task.n - 1)
    # Hypergeometric: k of n - 1, of which k count; and hubs of one space that meet the other's.
    spread = share * (1 - share) / task.k * (task.n - 1 - task.k) / max(1, task.n - 2)
    hubs = task.n * judged.hubs[0] * judged.hubs[1] / task.k**2
    null = share, spread / len(task.rows) + hubs
    return _mean(task, "neighbour_recall", judged.recall, judged, null)


def collapse_caveat(task: Task) -> str | None:
    """Why nothing can be decided, where one of the spaces is a single point."""
    for space, name in ((task.first, "points"), (task.second, "images")):
        if space.collapsed:
            return f"all {task.n} {name} coincide, so that they have no order by distance"
    return None


def _mean(
    task: Task,
    name: str,
    scores: NDArray[np.float64],
    judged: Neighbourhoods,
    null: tuple[float, float],
) -> Measurement:
    settings = {**task.settings, "tied_points": judged.tied[0], "tied_images": judged.tied[1]}
    collapse = collapse_caveat(task)
    if collapse is not None:
        return Measurement(name, math.nan, math.nan, len(scores), settings, None, (collapse,))
    caveats = tuple(
        f"{share:.1%} of the neighbourhoods {where} end between equal distances; index decides"
        for share, where in zip(judged.tied, ("among the points", "in the map"), strict=True)
        if share > 0
    )
    chance = Measurement(name, null[0], math.sqrt(null[1]), len(scores), {"map": "at random"})
    return Measurement(
        name, float(scores.mean()), task.stderr(scores), len(scores), settings, chance, caveats
    )


def _rank_null(task: Task, hubs: float) -> tuple[float, float]:
    """Mean score for images dealt at random, and its variance.

    Each of k ranks is uniform on 1..n-1; a sum of k without replacement varies a little less than
    the k independent ones that are counted here. Where the same hubs are in many neighbourhoods
    they are dealt once for all of these; counted as if a point had the same rank from everywhere,
    the most that it can add.
    """
    n, k = task.n, task.k
    scale = 2 / (k * (2 * n - 3 * k - 1))
    beyond = np.arange(1, n - k, dtype=np.float64)
    mean = float(beyond.sum()) / (n - 1)
    variance = float(np.square(beyond).sum()) / (n - 1) - mean**2
    return 1 - scale * k * mean, scale**2 * variance * (k / len(task.rows) + n * hubs)
