"""Intrinsic dimension as a function of the scale, by generalised ratios of neighbour distances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.dimension.uncertainty import FEWEST, caveats, graph_stderr, undecided
from immersion.sampled.graph import NeighborGraph, as_graph, as_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import ArrayLike, NDArray

LARGEST = 64
"""Largest scale of the default curve, in neighbours."""


@dataclass(frozen=True)
class ScaleCurve:
    """The dimension at a ladder of scales.

    Attributes:
        scales: the larger neighbour of each ratio; the smaller one is half of it.
        radii: mean distance to that neighbour, in the units of the metric: the scale in space.
        estimates: the dimension at each scale.
    """

    scales: tuple[int, ...]
    radii: tuple[float, ...]
    estimates: tuple[Measurement, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The dimensions alone."""
        return tuple(estimate.value for estimate in self.estimates)

    @property
    def stderrs(self) -> tuple[float, ...]:
        """Their standard errors alone."""
        return tuple(estimate.stderr for estimate in self.estimates)

    def to_dict(self) -> dict[str, object]:
        """JSON-ready dictionary."""
        return {
            "scales": list(self.scales),
            "radii": list(self.radii),
            "estimates": [estimate.to_dict() for estimate in self.estimates],
        }


def gride(
    points: ArrayLike | torch.Tensor | NeighborGraph, *, scales: Sequence[int] | None = None
) -> ScaleCurve:
    """The dimension at each scale, from the ratio of the s-th to the (s/2)-th neighbour's distance.

    For a uniform density within the s-th neighbour, mu = r_s / r_{s/2} has the density
    d (mu^d - 1)^{s/2 - 1} / (B(s/2, s/2) mu^{(s - 1) d + 1}); its likelihood over all points is
    maximised. Scale 2 is TwoNN without censoring. On a flat manifold without boundary the curve is
    level; noise makes it fall, curvature and folds make it rise, and a boundary makes it fall.

    Args:
        points: (n, D) points, or a graph; scales up to its k are taken.
        scales: even neighbour numbers, ascending; the powers of 2 up to 64, the graph's k and n - 1
            by default.

    Returns:
        The curve; each value with a standard error that allows for shared neighbours. Values of
        different scales are correlated.

    Raises:
        InputError: scales that are not even, positive and ascending, or exceed the graph's k.

    Cost: n log-ratios and about 8 Newton steps a scale.

    Source: Denti, Doimo, Laio, Mira 2022, doi:10.1038/s41598-022-20991-1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> noisy = np.pad(rng.uniform(size=(2000, 1)), ((0, 0), (0, 9)))
        >>> curve = gride(noisy + 1e-3 * rng.normal(size=noisy.shape))
        >>> curve.values[0] > 4, curve.values[-1] < 1.5
        (True, True)
    """
    if scales is None:
        most = points.k if isinstance(points, NeighborGraph) else len(as_points(points)) - 1
        scales = [2**power for power in range(1, int(math.log2(min(max(most, 2), LARGEST))) + 1)]
    wanted = tuple(int(scale) for scale in scales)
    if not wanted or any(s < 2 or s % 2 for s in wanted) or sorted(set(wanted)) != list(wanted):
        raise InputError(f"scales must be even numbers from 2 up, ascending, not {list(scales)}")
    graph = as_graph(points, wanted[-1])
    radii = tuple(float(graph.distances[:, s - 1].mean(dtype=np.float64)) for s in wanted)
    return ScaleCurve(wanted, radii, tuple(_at_scale(graph, scale) for scale in wanted))


def _at_scale(graph: NeighborGraph, scale: int) -> Measurement:
    half = scale // 2
    settings = {"scale": scale}
    near, far = (graph.distances[:, s - 1].astype(np.float64) for s in (half, scale))
    usable = near > 0
    n = int(np.count_nonzero(usable))
    if n < FEWEST:
        return undecided("gride", graph, settings, n)
    logs = np.log(far[usable] / near[usable])
    if logs.sum() == 0:
        return undecided("gride", graph, settings, n)
    d = _maximise(logs, half)
    score, slope = _score(logs, half, d)
    information = -float(slope.mean())
    influence = np.zeros(graph.n)
    influence[usable] = score / information
    textbook = 1 / math.sqrt(n * information)
    stderr = max(graph_stderr(graph, influence, usable, scale), textbook)
    return Measurement("gride", d, stderr, n, settings, caveats=caveats(graph, d))


def _maximise(logs: NDArray[np.float64], half: int) -> float:
    """The root of the mean score, by Newton's steps in log d.

    The log-likelihood is concave in d; the start, exact for half = 1, comes from the mean log
    ratio, d E[log mu] = 1/half + ... + 1/(2 half - 1).
    """
    d = sum(1 / j for j in range(half, 2 * half)) / float(logs.mean())
    for _ in range(50):
        score, slope = _score(logs, half, d)
        step = float(score.mean()) / (d * float(slope.mean()))
        d *= math.exp(-max(-1.0, min(1.0, step)))
        if abs(step) < 1e-12:
            break
    return d


def _score(
    logs: NDArray[np.float64], half: int, d: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and second derivative in d of each point's log-likelihood.

    With L = log mu: 1/d + (half - 1) L / (1 - e^{-dL}) - (2 half - 1) L, and
    -1/d^2 - (half - 1) L^2 e^{-dL} / (1 - e^{-dL})^2, whose limits at L = 0 are taken there.
    """
    if half == 1:
        return 1 / d - logs, np.full_like(logs, -1 / d**2)
    t = np.maximum(d * logs, 1e-12)
    rest = -np.expm1(-t)
    score = 1 / d + (half - 1) * (t / rest) / d - (2 * half - 1) * logs
    slope = -(1 + (half - 1) * np.exp(-t) * (t / rest) ** 2) / d**2
    return score, slope
