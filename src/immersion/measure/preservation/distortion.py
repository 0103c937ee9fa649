"""How distances in a map differ from given distances along the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.preservation.jackknife import correlation, leave_one_out
from immersion.measure.preservation.space import checked_points
from immersion.measure.preservation.table import table
from immersion.sampled.graph import NeighborGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from immersion.core.measurement import Setting
    from immersion.measure.preservation.space import Points

_ALL_UP_TO = 2000
_SOURCES = 512
_FEWEST = 64
_ENTRIES = 1 << 27
"""Path lengths that are held at once, unless the caller says from where."""


@dataclass(frozen=True, eq=False)
class Distortion:
    """Distances in a map against distances along the data.

    Attributes:
        residual_variance: 1 - r^2 of the two distances, 0 for a perfect map up to scale.
        stress: sqrt(sum (g - s e)^2 / sum g^2) with the best scale s.
        relative_error: mean of |s e - g| / g with that scale.
        scale: s, the units along the data that one unit of the map stands for.
        expansion: greatest of s e / g over all pairs: what the map tears apart.
        contraction: least of the same: what the map folds together.
        unreachable: share of pairs without a path, left out.
        rows: (m,) the sources.
        scores: (m,) mean relative error of the distances from each source.
    """

    residual_variance: Measurement
    stress: Measurement
    relative_error: Measurement
    scale: Measurement
    expansion: float
    contraction: float
    unreachable: float
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All numbers with an error."""
        return self.residual_variance, self.stress, self.relative_error, self.scale

    def __str__(self) -> str:
        return table(self.measurements)


def map_distortion(
    geodesics: ArrayLike | NeighborGraph,
    embedding: Points,
    sources: ArrayLike | None = None,
    *,
    random_state: int = 0,
) -> Distortion:
    """Distances in a map against geodesic distances from some or all points.

    Args:
        geodesics: the neighbour graph of the points, whose shortest paths are then taken; or
            (m, n) distances g from the sources to all points, infinite where there is no path.
        embedding: (n, d) the map; e are Euclidean distances in it.
        sources: (m,) index of each source. By default all points; of a graph with more than 2,000,
            512 drawn at random, fewer beyond 262,144 points, where their paths would take 512 MB.
        random_state: seed of that draw, and of the map at random.

    Returns:
        Standard errors come from leaving out sources, as if points were drawn from a population.
        The null is the same map with its images dealt to the points at random. NaN with a caveat
        where no two reachable points lie apart.

    Raises:
        InputError: shapes that do not fit, negative or NaN distances, sources out of range.

    Cost: 2 m n d flops, memory O(n) a source at work beside the distances; from a graph, shortest
    paths from m sources before.

    Source: Tenenbaum, de Silva, Langford 2000 (residual variance); Kruskal 1964 (stress).

    Example:
        >>> line = np.arange(5.0)
        >>> found = map_distortion(abs(line[:, None] - line), 10 * line[:, None])
        >>> round(found.stress.value, 9), round(found.scale.value, 9), found.expansion
        (0.0, 0.1, 1.0)
    """
    images = checked_points(embedding, "embedding").astype(np.float64, copy=False)
    n = len(images)
    rng = np.random.default_rng(random_state)
    settings: dict[str, Setting] = {"random_state": random_state}
    if isinstance(geodesics, NeighborGraph):
        paths, rows = _graph_paths(geodesics, sources, n, rng)
        settings |= {"k": geodesics.k, "metric": geodesics.metric}
    else:
        paths = _checked_paths(geodesics, n)
        rows = _checked_sources(sources, len(paths), n)
    unreachable = float(np.isinf(paths).mean())
    settings |= {"sources": len(rows), "unreachable": unreachable}
    fit = _fit(paths, rows, images)
    if isinstance(fit, str):
        return _undecided(rows, settings, fit)
    dealt = _fit(paths, rows, images[rng.permutation(n)])
    caveats = (
        (f"{unreachable:.2%} of the pairs have no path and are left out",) if unreachable else ()
    )
    # The other point of each pair adds three parts in n, as in `Task.stderr`.
    more = math.sqrt(1 + 3 * len(rows) / n)

    def measured(name: str) -> Measurement:
        value, error = fit.values[name]
        null = None
        if isinstance(dealt, _Fit) and name != "scale":
            by_chance, spread = dealt.values[name]
            null = Measurement(name, by_chance, spread, len(rows), {"map": "at random"})
        return Measurement(name, value, more * error, len(rows), settings, null, caveats)

    return Distortion(
        measured("residual_variance"),
        measured("stress"),
        measured("relative_error"),
        measured("scale"),
        fit.expansion,
        fit.contraction,
        unreachable,
        rows,
        fit.scores,
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    """Values with the errors that leaving out sources shows, and what is known of pairs."""

    values: dict[str, tuple[float, float]]
    expansion: float
    contraction: float
    scores: NDArray[np.float64]


def _fit(
    paths: NDArray[np.floating], rows: NDArray[np.int64], images: NDArray[np.float64]
) -> _Fit | str:
    """What the distances say, or why they say nothing."""
    moments = np.zeros((len(rows), 6))
    for part, g, e in _blocks(paths, rows, images):
        usable = np.isfinite(paths[part]).sum(axis=1) - 1  # not the point with itself
        products = (g, e, g * g, e * e, g * e)
        moments[part, 0] = usable
        moments[part, 1:] = np.stack([term.sum(axis=1) for term in products], axis=1)
    if not moments[:, 3].sum() > 0:
        return "no two points with a path between them lie apart"
    if not moments[:, 4].sum() > 0:
        return "all images coincide"
    scale, scale_error = leave_one_out(moments, _best_scale)
    scores, slopes, low, high = np.empty(len(rows)), np.empty(len(rows)), math.inf, 0.0
    for part, g, e in _blocks(paths, rows, images):
        apart = g > 0
        ratio = np.divide(scale * e, g, out=np.ones_like(g), where=apart)
        low, high = min(low, float(ratio.min())), max(high, float(ratio.max()))
        pairs = np.maximum(apart.sum(axis=1), 1)
        scores[part] = np.abs(ratio - 1).sum(axis=1) / pairs
        slopes[part] = (np.sign(ratio - 1) * ratio).sum(axis=1) / (scale * pairs)
    error = math.nan
    if len(rows) > 1:
        # A source counts through the scale too: the mean moves by its slope in the scale.
        without = _best_scale((moments.sum(axis=0) - moments) / (len(rows) - 1))
        moved = (len(rows) - 1) * (without.mean() - without) * slopes.mean()
        error = float((scores + moved).std(ddof=1)) / math.sqrt(len(rows))
    values = {
        "residual_variance": leave_one_out(moments, _residual_variance),
        "stress": leave_one_out(moments, _stress),
        "relative_error": (float(scores.mean()), error),
        "scale": (scale, scale_error),
    }
    return _Fit(values, high, low, scores)


def _graph_paths(
    graph: NeighborGraph, sources: ArrayLike | None, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Shortest paths from the sources, drawn where none are given."""
    from immersion.sampled.paths.shortest import shortest_paths

    if graph.n != n:
        raise InputError(
            f"a graph of {graph.n} points and {n} images: the embedding must have one row for "
            "each point"
        )
    if sources is not None:
        given = np.atleast_1d(np.asarray(sources))
        rows = _checked_sources(given, len(given), n)
    elif n <= _ALL_UP_TO:
        rows = np.arange(n, dtype=np.int64)
    else:
        m = min(_SOURCES, max(_FEWEST, _ENTRIES // n))
        rows = np.sort(rng.choice(n, m, replace=False))
    return shortest_paths(graph, rows), rows


def _checked_paths(geodesics: ArrayLike, n: int) -> NDArray[np.floating]:
    try:
        paths = np.asarray(geodesics)
    except ValueError as error:
        raise InputError(f"geodesics are no rectangular array ({error})") from error
    if paths.dtype.kind not in "fiu" or paths.ndim != 2 or paths.shape[1] != n or not len(paths):
        raise InputError(
            f"geodesics have shape {paths.shape} and dtype {paths.dtype}; numbers of shape "
            f"(m, {n}) are needed, one column for each image"
        )
    # NaN fails the comparison too.
    if not (paths.min() >= 0):
        raise InputError("geodesics hold negative values or NaN; no path is infinity")
    return paths


def _checked_sources(sources: ArrayLike | None, m: int, n: int) -> NDArray[np.int64]:
    if sources is None:
        if m != n:
            raise InputError(
                f"geodesics from {m} of {n} points: pass sources=, the index of each of them"
            )
        return np.arange(n, dtype=np.int64)
    rows = np.asarray(sources)
    if not m or rows.shape != (m,) or rows.dtype.kind not in "iu":
        raise InputError(
            f"sources have shape {rows.shape} and dtype {rows.dtype}; {max(m, 1)} indices of "
            "points are needed, one for each row of geodesics"
        )
    if int(rows.min()) < 0 or int(rows.max()) >= n:
        raise InputError(
            f"sources run from {rows.min()} to {rows.max()}; they must lie in 0..{n - 1}"
        )
    return rows.astype(np.int64)


def _blocks(
    paths: NDArray[np.floating], rows: NDArray[np.int64], images: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
    """Rows of both distances, zero in both where there is no path."""
    from scipy.spatial.distance import cdist

    for part in row_chunks(len(rows), 64 * len(images), 1 << 27):
        g = paths[part].astype(np.float64)
        e = cast("NDArray[np.float64]", cdist(images[rows[part]], images))
        missing = np.isinf(g)
        g[missing], e[missing] = 0.0, 0.0
        yield part, g, e


def _best_scale(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    return moments[..., 5] / moments[..., 4]


def _stress(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    cosine = moments[..., 5] ** 2 / (moments[..., 3] * moments[..., 4])
    return np.sqrt(np.maximum(1 - cosine, 0))


def _residual_variance(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - correlation(moments[..., 1:] / moments[..., :1]) ** 2


def _undecided(rows: NDArray[np.int64], settings: dict[str, Setting], why: str) -> Distortion:
    def nothing(name: str) -> Measurement:
        return Measurement(name, math.nan, math.nan, len(rows), settings, None, (why,))

    return Distortion(
        nothing("residual_variance"),
        nothing("stress"),
        nothing("relative_error"),
        nothing("scale"),
        math.nan,
        math.nan,
        float(settings["unreachable"] or 0),
        rows,
        np.full(len(rows), math.nan),
    )
