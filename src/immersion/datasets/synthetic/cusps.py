"""Curves with a crossing or a cusp, and a surface with a cuspidal edge, at known distance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.datasets.synthetic.draws import by_inverse
from immersion.datasets.synthetic.manifold import (
    Placement,
    Truth,
    assemble,
    euclidean,
    require_positive,
)

if TYPE_CHECKING:
    from immersion.datasets.synthetic.manifold import RandomState, SyntheticManifold

_TURN = 2 * math.pi


def figure_eight(
    n: int,
    *,
    scale: float = 1.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """Bernoulli's lemniscate, a curve that crosses itself at a right angle.

    a (cos t, sin t cos t) / (1 + sin^2 t); the coordinate is t in [0, 2 pi), and both t = pi / 2
    and t = 3 pi / 2 are the crossing. Arc length is the elliptic integral a F(t | -1), and the
    curvature 3 r / a^2 at the distance r from the crossing.

    Args:
        n: number of points.
        scale: a, half the width.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> curve = figure_eight(1000)
        >>> round(float(curve.singular_distance.max()), 2)  # half a loop
        1.31
    """
    from scipy.special import ellipkinc

    require_positive(scale=scale)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()

    def length(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ellipkinc(t, -1.0))

    t = by_inverse(rng, n, 0.0, _TURN, length, lambda t: 1 / np.sqrt(1 + np.sin(t) ** 2))
    loop = float(length(np.array(math.pi)))
    # From the crossing on: the loop on the left is 0 <= s < loop, that on the right the other.
    s = (length(t) - loop / 2) % (2 * loop)
    right = s >= loop
    within = s % loop
    off = np.minimum(within, loop - within)

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        apart = np.abs(within[rows][:, None] - within)
        same = right[rows][:, None] == right
        around = np.minimum(apart, loop - apart)
        return scale * np.where(same, around, off[rows][:, None] + off)

    shrink = 1 / (1 + np.sin(t) ** 2)
    clean = scale * np.stack([np.cos(t), np.sin(t) * np.cos(t)], axis=1) * shrink[:, None]
    radius = np.abs(np.cos(t)) * np.sqrt(shrink)
    truth = Truth(
        1,
        mean=3 * radius / scale,
        singular=scale * off,
        sheet=right.astype(np.int64),
        distances=distances,
    )
    settings = {"scale": scale}
    return assemble("figure_eight", clean, t[:, None], truth, placement, rng, settings)


def cusp(
    n: int,
    *,
    extent: float = 1.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The semicubical parabola (t^2, t^3), |t| <= extent, a curve that turns back at t = 0.

    The coordinate is t. Its curvature 6 / (|t| (4 + 9 t^2)^1.5) has no bound at the cusp.

    Args:
        n: number of points.
        extent: greatest |t|.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> curve = cusp(500)
        >>> curve.dim, bool(curve.near_singular(0.1).any())
        (1, True)
    """
    require_positive(extent=extent)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    t = by_inverse(rng, n, -extent, extent, _length, _speed)
    s, end = _length(t), float(_length(np.array(extent)))
    truth = Truth(
        1,
        mean=_curvature(t),
        singular=np.abs(s),
        boundary=end - np.abs(s),
        distances=euclidean(s[:, None]),
    )
    clean = np.stack([t * t, t**3], axis=1)
    return assemble("cusp", clean, t[:, None], truth, placement, rng, {"extent": extent})


def cuspidal_edge(
    n: int,
    *,
    extent: float = 1.0,
    height: float = 2.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """A cusp times an interval: (t^2, t^3, h), |t| <= extent, singular along t = 0.

    Coordinates are (t, h). Its own metric is flat; the surface turns back on itself at the edge.

    Args:
        n: number of points.
        extent: greatest |t|.
        height: length of the interval.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> edge = cuspidal_edge(500)
        >>> float(edge.gaussian_curvature.max()), bool(edge.near_singular(0.1).any())
        (0.0, True)
    """
    require_positive(extent=extent, height=height)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()

    t = by_inverse(rng, n, -extent, extent, _length, _speed)
    h = rng.uniform(0, height, n)
    s, end = _length(t), float(_length(np.array(extent)))
    truth = Truth(
        2,
        mean=_curvature(t) / 2,
        singular=np.abs(s),
        boundary=np.min([end - np.abs(s), h, height - h], axis=0),
        distances=euclidean(np.stack([s, h], axis=1)),
    )
    clean = np.stack([t * t, t**3, h], axis=1)
    coordinates = np.stack([t, h], axis=1)
    settings = {"extent": extent, "height": height}
    return assemble("cuspidal_edge", clean, coordinates, truth, placement, rng, settings)


def _speed(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs(t) * np.sqrt(4 + 9 * t * t)


def _length(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Arc length of (t^2, t^3) from the cusp on, negative where t is."""
    # ((4 + 9 t^2)^1.5 - 8) / 27, without the cancellation at 0.
    root = np.sqrt(4 + 9 * t * t)
    return np.sign(t) * t * t * (root * root + 2 * root + 4) / (3 * (root + 2))


def _curvature(t: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return 6 / (np.abs(t) * (4 + 9 * t * t) ** 1.5)
