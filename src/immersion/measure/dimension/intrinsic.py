"""The intrinsic dimension: which estimator to trust, how far, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.measurement import Measurement, with_error
from immersion.core.progress import Silent
from immersion.measure.dimension.calibration import calibrated
from immersion.measure.dimension.controls import gaussian_like, shuffle_features
from immersion.measure.dimension.correlation import correlation_dimension
from immersion.measure.dimension.gride import LARGEST, ScaleCurve, gride
from immersion.measure.dimension.mle import mle_dimension
from immersion.measure.dimension.pca import euclidean_graph, pca_dimension
from immersion.measure.dimension.simplex import ess_dimension
from immersion.measure.dimension.two_nn import two_nn
from immersion.measure.dimension.uncertainty import (
    Sentence,
    left_out,
    resolvable,
)
from immersion.sampled.graph import (
    NeighborGraph,
    Search,
    as_points,
    graph_of,
    search_task,
)

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray

    from immersion.core.progress import Progress
    from immersion.core.reason import Reason

Null = Literal["shuffled", "gaussian"]
Method = Literal["distances", "distances and angles", "none"]

_PATCH = 10
"""Neighbours whose angles are compared: a small patch bends little."""

_NEEDED = 12
"""Fewest neighbours a graph must have: those of the patches of local PCA."""

_RECALL = 0.99
"""Recall of the graph below which its missing neighbours are mentioned."""

_FLOPS = 1 << 34
"""Arithmetic of the neighbours' search between two reports of progress: about half a second."""

_ROWS = 2048
"""Rows searched together at least, whose cost is far above that of reading all points once."""

_Z = 1.959963984540054
"""Standard errors to either side of a 95% interval."""

_BOUNDARY = 2.0
"""How many times a ball's shortfall the interval allows for: 1.5 times was met on cubes, 1.8 on
smooth images of cubes."""

_DENSITY = 0.02
"""Relative half-width for a density that varies between neighbours, met on Gaussians."""

_MODEL_ERROR = 0.07
"""Relative half-width for what a flat ball does not tell about other flat bodies; set on cubes,
Gaussians, spheres and smooth images of cubes of dimension 8 to 24."""


@dataclass(frozen=True)
class IntrinsicDimension:
    """The recommended dimension, and all that it rests on.

    Attributes:
        dimension: the value; its standard error includes the systematic part and is half the
            interval in units of a normal's; its null where one was asked for.
        interval: the 95% interval, which need not be symmetric; NaN where undecided.
        resolved: whether n resolves every dimension of the interval. Where it does not, the
            interval holds under conditions that a caveat names, and may miss the truth.
        method: "distances" where n resolves the dimension, else "distances and angles"; "none"
            where nothing could be decided.
        why: the reason for the method, one sentence or two, as a `Reason`.
        estimates: every estimator's own value, by name, with its sampling error alone.
        curve: the dimension by scale.
    """

    dimension: Measurement
    interval: tuple[float, float]
    resolved: bool
    method: Method
    why: str
    estimates: Mapping[str, Measurement]
    curve: ScaleCurve

    @property
    def value(self) -> float:
        """The dimension; NaN where it could not be decided."""
        return self.dimension.value

    @property
    def stderr(self) -> float:
        """Half the 95% interval in units of a normal's, systematic part included."""
        return self.dimension.stderr

    @property
    def caveats(self) -> tuple[str, ...]:
        """When not to trust the value."""
        return self.dimension.caveats

    def to_dict(self) -> dict[str, object]:
        """JSON-ready dictionary."""
        low, high = self.interval
        return {
            "dimension": self.dimension.to_dict(),
            "interval": [low, high] if self.dimension.decidable else None,
            "resolved": self.resolved,
            "method": self.method,
            "why": self.why,
            "estimates": {name: found.to_dict() for name, found in self.estimates.items()},
            "curve": self.curve.to_dict(),
        }

    def __str__(self) -> str:
        if not self.dimension.decidable:
            return str(self.dimension)
        low, high = self.interval
        flat = "" if self.resolved else " if nearly flat"
        return (
            f"{self.value:.3g} (95% interval {low:.3g} to {high:.3g}{flat}, n = {self.dimension.n})"
        )


def intrinsic_dimension(
    points: ArrayLike | torch.Tensor | NeighborGraph,
    *,
    null: Null | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> IntrinsicDimension:
    """The intrinsic dimension with a 95% interval, by the estimator that fits n, and why that one.

    Ratios of distances to the two nearest neighbours see the smallest scale. They fall short where
    the boundary is as near as the neighbours, and the shortfall of a ball is known
    (`calibrated`), so a manifold without boundary and a convex body bracket the truth:

    - "distances": where that calibrated value is at most 2 log10(n), the interval runs from the
      plain value to one with twice a ball's shortfall (corners cost more than a smooth boundary),
      with sampling errors and 2% for uneven density at both ends, and further down by as much as
      angles show the data to bend within the nearest neighbours and as the dimension grows from 2
      to 4 neighbours. The value is the midpoint without this last part, which is one-sided.
    - "distances and angles": above it, neighbours are not local. The calibrated distances and the
      angles of small patches (`ess_dimension`) are then two views with different faults; the value
      is their mean and the interval spans both, with sampling errors and 7% of the value. A caveat
      says that the interval holds for data that is nearly flat over neighbour distances, since a
      strongly bent manifold of lower dimension has the same distances and angles at this n.

    Args:
        points: (n, D) points, or a Euclidean graph with at least 12 neighbours; of points a graph
            of 64 neighbours (n - 1 where there are fewer) is computed.
        null: also measure a control: "shuffled" permutes each feature by itself, "gaussian" is a
            Gaussian of the same covariance. It is computed from points and costs a graph.
        seed: of the draws of patches, pairs and the control.
        progress: where to tell how far the work is.

    Returns:
        The dimension, its interval, every estimator's value and the scale curve. Not decidable
        with fewer than 20 distinct points.

    Raises:
        InputError: unusable points, a graph of another metric or with fewer than 12 neighbours.

    Cost: the graph, which of points is exact: above some 100,000 of them give the graph of an
    approximate search. Then O(n k) and at most 2,000 n D flops for the correlation dimension.

    Source: calibration on a ball as in Ceruti et al. 2014 (DANCo),
    doi:10.1016/j.patcog.2014.02.013, in closed form instead of by simulation; limit of Eckmann and
    Ruelle 1992.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> angles = rng.uniform(0, 2 * np.pi, (2000, 2))
        >>> torus = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        >>> d = intrinsic_dimension(torus)
        >>> low, high = d.interval
        >>> low < 2 < high, d.method
        (True, 'distances')
    """
    if null not in (None, "shuffled", "gaussian"):
        raise InputError(f"null must be 'shuffled', 'gaussian' or None, not {null!r}")
    told = progress or Silent()
    graph = _graph(points, told)
    result = _measure(graph, seed, told)
    if null is None or not result.dimension.decidable:
        return result
    control = shuffle_features if null == "shuffled" else gaussian_like
    other = _searched(control(graph.points, seed), graph.k, told, "control")
    measured = _measure(other, seed, Silent())
    return replace(
        result,
        dimension=replace(result.dimension, null=measured.dimension),
        estimates={
            name: replace(found, null=measured.estimates[name])
            for name, found in result.estimates.items()
        },
    )


def _graph(points: ArrayLike | torch.Tensor | NeighborGraph, progress: Progress) -> NeighborGraph:
    if isinstance(points, NeighborGraph):
        return euclidean_graph(points, _NEEDED, "intrinsic_dimension")
    x = as_points(points)
    if len(x) <= _NEEDED:
        raise InputError(f"a dimension needs more than {_NEEDED} points; there are {len(x)}")
    return _searched(x, min(LARGEST, len(x) - 1), progress, "neighbours")


def _searched(
    points: NDArray[np.floating], k: int, progress: Progress, label: str
) -> NeighborGraph:
    """The exact graph, some rows after the other, so that the progress knows how far it is."""
    task = search_task(points, k, "euclidean", None, None)
    found: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    search: Search = task.search
    with progress.stage(label, total=len(points)) as advance:
        flops = 2 * points.size
        for rows in row_chunks(len(points), flops, max(_FLOPS, _ROWS * flops)):
            lists, search = task.run(rows)
            found.append(lists)
            advance(rows.stop - rows.start)
    indices, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return graph_of(task, indices, distances, search, task.recall(distances))


def _measure(graph: NeighborGraph, seed: int, progress: Progress) -> IntrinsicDimension:
    with progress.stage("scales"):
        curve = gride(graph)
    with progress.stage("estimators"):
        estimates = {
            "two_nn": two_nn(graph),
            "mle": mle_dimension(graph),
            "local_pca": pca_dimension(graph, seed=seed),
            "angles": ess_dimension(graph, k=_PATCH, seed=seed),
            "correlation": correlation_dimension(graph, seed=seed),
        }
    return _choose(graph, curve, estimates)


def _choose(
    graph: NeighborGraph, curve: ScaleCurve, estimates: Mapping[str, Measurement]
) -> IntrinsicDimension:
    plain, angles = curve.estimates[0], estimates["angles"]
    limit = resolvable(graph.n)
    if not plain.decidable:
        return _none(plain.n, plain.caveats[0], estimates, curve)
    ball = _on_a_ball(plain, graph.n)
    if math.isinf(ball.value):
        why = Sentence("lattice", "nearest neighbours are as good as equally far, as on a lattice")
        return _none(plain.n, why, estimates, curve)
    notes = list(_notes(graph, curve))
    method: Method
    if ball.value <= limit or not angles.decidable:
        method = "distances"
        bend = _bend(ball, angles)
        growth = _growth(curve, graph.n, ball)
        slack = _DENSITY * plain.value
        low = plain.value - _Z * plain.stderr - bend - slack
        high = plain.value + _BOUNDARY * (ball.value - plain.value) + _Z * ball.stderr + slack
        value = (low + high) / 2
        low -= growth
        why = Sentence(
            "local",
            "{n} points resolve dimensions up to 2 log10(n) = {limit:.1f}, so the nearest "
            "neighbours are local: {plain:.3g} without a boundary, {ball:.3g} in a ball.",
            n=graph.n,
            limit=limit,
            plain=plain.value,
            ball=ball.value,
        )
        if bend > 0.05 * value:
            notes.append(
                Sentence(
                    "bends",
                    "the data bends within its {patch} nearest neighbours (angles see {angles:.3g} "
                    "dimensions); the interval was widened downwards by {bend:.2g}",
                    patch=_PATCH,
                    angles=angles.value,
                    bend=bend,
                )
            )
        if growth > max(0.1 * value, 2 * ball.stderr):
            notes.append(
                Sentence(
                    "folds",
                    "the dimension grows by {growth:.2g} from 2 to 4 neighbours; the interval was "
                    "widened downwards by as much, since folds may lie closer than the neighbours",
                    growth=growth,
                )
            )
        if high > limit:
            notes.append(_beyond(graph.n, limit))
    else:
        method = "distances and angles"
        value = (ball.value + angles.value) / 2
        half = (
            abs(ball.value - angles.value) / 2
            + _Z * math.hypot(ball.stderr, angles.stderr) / 2
            + _MODEL_ERROR * value
        )
        low, high = value - half, value + half
        why = Sentence(
            "not_local",
            "{n} points resolve dimensions up to 2 log10(n) = {limit:.1f} by distances alone, and "
            "these show {plain:.3g}; compared with a flat ball of as many points they show "
            "{ball:.3g}, and angles {angles:.3g}.",
            n=graph.n,
            limit=limit,
            plain=plain.value,
            ball=ball.value,
            angles=angles.value,
        )
        notes.append(_beyond(graph.n, limit))
        if angles.value > 1.15 * ball.value:
            notes.append(
                Sentence(
                    "branches",
                    "angles see {angles:.3g} dimensions and distances {ball:.3g}: the data bends "
                    "or branches within its nearest neighbours, and its dimension may be below the "
                    "interval",
                    angles=angles.value,
                    ball=ball.value,
                )
            )
    settings = {"plain": plain.value, "ball": ball.value, "angles": angles.value, "patch": _PATCH}
    measured = Measurement(
        "intrinsic_dimension",
        value,
        (high - low) / (2 * _Z),
        plain.n,
        settings,
        caveats=tuple(notes),
    )
    return IntrinsicDimension(measured, (low, high), high <= limit, method, why, estimates, curve)


def _none(
    n: int, why: str, estimates: Mapping[str, Measurement], curve: ScaleCurve
) -> IntrinsicDimension:
    measured = Measurement("intrinsic_dimension", math.nan, math.nan, n, {}, None, (why,))
    return IntrinsicDimension(measured, (math.nan, math.nan), False, "none", why, estimates, curve)


def _on_a_ball(plain: Measurement, n: int) -> Measurement:
    """The estimate of scale 2 with the shortfall of a uniform ball undone, and its error."""
    relative = min(1.0, plain.stderr / plain.value)
    value = calibrated(1 / plain.value, n)
    above, below = (calibrated((1 - s * relative) / plain.value, n) for s in (0.5, -0.5))
    stderr = above - below if math.isfinite(above) else plain.stderr * value / plain.value
    return Measurement("ball", value, stderr, plain.n)


def _bend(ball: Measurement, angles: Measurement) -> float:
    """How much the bend within the two nearest neighbours may add to a distance estimate.

    Angles count the directions into which a patch bends, in proportion to its squared radius,
    which is (2 / k)^(2/d) of that of k neighbours at the second one.
    """
    if not angles.decidable:
        return 0.0
    excess = max(0.0, angles.value - ball.value)
    return excess * (2 / _PATCH) ** (2 / max(ball.value, 1.0))


def _growth(curve: ScaleCurve, n: int, ball: Measurement) -> float:
    """How much less a scale below the smallest one may show: as much as the next one shows more.

    Sheets that lie closer than the neighbours, as of a roll of few points, make the dimension grow
    with the scale. Both scales count as of a ball, so that a boundary alone makes no difference.
    """
    following = curve.estimates[1]
    if not following.decidable:
        return 0.0
    return max(0.0, calibrated(_mean_log(4, following.value), n, 2, 4) - ball.value)


def _beyond(n: int, limit: float) -> Reason:
    return Sentence(
        "beyond",
        "{n} points do not resolve dimensions above 2 log10(n) = {limit:.1f}: the interval holds "
        "for data that is nearly flat and evenly spread over neighbour distances, and cannot tell "
        "it from a strongly bent manifold of lower dimension",
        n=n,
        limit=limit,
    )


def _notes(graph: NeighborGraph, curve: ScaleCurve) -> list[Reason]:
    """What the points and the scale curve say against the value."""
    notes: list[Reason] = []
    if graph.duplicates:
        notes.append(left_out(graph))
    if graph.recall < _RECALL:
        notes.append(
            Sentence(
                "missed",
                "the search found {recall:.1%} of the true neighbours; missed ones lower the "
                "dimension",
                recall=graph.recall,
            )
        )
    known = [(s, e) for s, e in zip(curve.scales, curve.estimates, strict=True) if e.decidable]
    (small, first), (large, last) = known[0], known[-1]
    # The level a ball would have at both scales, so that a boundary alone raises no caveat.
    level = [
        calibrated(_mean_log(scale, found.value), graph.n, scale // 2, scale)
        for scale, found in ((small, first), (large, last))
    ]
    noise = 3 * first.stderr * level[0] / first.value
    ends = {
        "first": with_error(first.value, first.stderr),
        "small": small,
        "last": with_error(last.value, last.stderr),
        "large": large,
    }
    if level[0] - level[1] > max(noise, 0.1 * level[0]):
        notes.append(
            Sentence(
                "falls",
                "the dimension falls with the scale, from {first} at {small} neighbours to {last} "
                "at {large}, by more than a boundary explains: noise, or several dimensions, or "
                "very uneven density",
                **ends,
            )
        )
    elif level[1] - level[0] > max(noise, 0.25 * level[0]):
        notes.append(
            Sentence(
                "grows",
                "the dimension grows with the scale, from {first} at {small} neighbours to {last} "
                "at {large}: the data bends or folds within its neighbourhoods",
                **ends,
            )
        )
    return notes


def _mean_log(scale: int, d: float) -> float:
    """The mean log-ratio that goes with a dimension on a manifold without boundary."""
    return float(np.sum(1 / np.arange(scale // 2, scale))) / d
