"""Sets whose geodesic distances are closed: rolled-up flat ones, and spheres."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.datasets.synthetic.draws import by_inverse, directions, in_ball
from immersion.datasets.synthetic.manifold import (
    Placement,
    Truth,
    assemble,
    euclidean,
    require_positive,
    require_whole,
)

if TYPE_CHECKING:
    from immersion.datasets.synthetic.manifold import RandomState, SyntheticManifold


def sphere(
    n: int,
    dim: int = 2,
    *,
    radius: float = 1.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The sphere of dimension d and radius r, of scalar curvature d (d - 1) / r^2.

    Distances are r times the angle. Coordinates are unit vectors (n, dim + 1).

    Args:
        n: number of points.
        dim: dimension d of the sphere, at least 1.
        radius: its radius.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> ball = sphere(100, 3, radius=2.0)
        >>> ball.points.shape, float(ball.scalar_curvature[0])
        ((100, 4), 1.5)
    """
    require_whole(1, dim=dim)
    require_positive(radius=radius)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    unit = directions(rng, n, dim + 1)

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        from scipy.spatial.distance import cdist

        # tan(angle / 2) = |x - y| / |x + y| keeps its digits near 0 and pi, unlike the cosine.
        return 2 * radius * np.arctan2(cdist(unit[rows], unit), cdist(unit[rows], -unit))

    truth = Truth(dim, dim * (dim - 1) / radius**2, 1 / radius, distances=distances)
    settings = {"dim": dim, "radius": radius}
    return assemble("sphere", radius * unit, unit, truth, placement, rng, settings)


def swiss_roll(
    n: int,
    *,
    height: float = 21.0,
    turns: tuple[float, float] = (0.75, 2.25),
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The Archimedean spiral times an interval: (t cos t, h, t sin t), a rolled-up rectangle.

    Coordinates are (t, h). Uniform by area, unlike scikit-learn's, which is uniform in t.

    Args:
        n: number of points.
        height: length of the interval.
        turns: first and last t in turns of 2 pi.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> roll = swiss_roll(500, random_state=1)
        >>> float(abs(roll.gaussian_curvature).max()), roll.geodesics([0]).shape
        (0.0, (1, 500))
    """
    require_positive(height=height, first_turn=turns[0], more_turns=turns[1] - turns[0])
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    low, high = 2 * math.pi * turns[0], 2 * math.pi * turns[1]

    def length(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return (t * np.sqrt(1 + t * t) + np.arcsinh(t)) / 2

    t = by_inverse(rng, n, low, high, length, lambda t: np.sqrt(1 + t * t))
    h = rng.uniform(0, height, n)
    s, ends = length(t), length(np.array([low, high]))
    truth = Truth(
        2,
        mean=(2 + t * t) / (1 + t * t) ** 1.5 / 2,
        boundary=np.min([s - ends[0], ends[1] - s, h, height - h], axis=0),
        distances=euclidean(np.stack([s, h], axis=1)),
    )
    clean = np.stack([t * np.cos(t), h, t * np.sin(t)], axis=1)
    coordinates = np.stack([t, h], axis=1)
    settings = {"height": height, "turns": turns}
    return assemble("swiss_roll", clean, coordinates, truth, placement, rng, settings)


def s_curve(
    n: int,
    *,
    height: float = 2.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """Two three-quarter circles joined in an S, times an interval: a bent rectangle.

    (sin t, h, sign(t) (cos t - 1)) for |t| <= 3 pi / 2; coordinates are (t, h). The side to which
    it bends changes at t = 0, the amount does not.

    Args:
        n: number of points.
        height: length of the interval.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> s_curve(10).mean_curvature[:2].tolist()
        [0.5, 0.5]
    """
    require_positive(height=height)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    end = 1.5 * math.pi
    t, h = rng.uniform(-end, end, n), rng.uniform(0, height, n)
    coordinates = np.stack([t, h], axis=1)
    boundary = np.min([end - np.abs(t), h, height - h], axis=0)
    truth = Truth(2, mean=0.5, boundary=boundary, distances=euclidean(coordinates))
    clean = np.stack([np.sin(t), h, np.sign(t) * (np.cos(t) - 1)], axis=1)
    return assemble("s_curve", clean, coordinates, truth, placement, rng, {"height": height})


def hypercube(
    n: int,
    dim: int = 2,
    *,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The unit cube [0, 1]^d, by `ambient_dim` an isometric image of it in more coordinates.

    Args:
        n: number of points.
        dim: dimension d.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> hypercube(50, 10, ambient_dim=30).points.shape
        (50, 30)
    """
    require_whole(1, dim=dim)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    x = rng.uniform(size=(n, dim))
    boundary = np.minimum(x, 1 - x).min(axis=1)
    truth = Truth(dim, boundary=boundary, distances=euclidean(x))
    return assemble("hypercube", x, x, truth, placement, rng, {"dim": dim})


def hyperball(
    n: int,
    dim: int = 2,
    *,
    radius: float = 1.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The solid ball, a disc for d = 2, by `ambient_dim` an isometric image in more coordinates.

    Args:
        n: number of points.
        dim: dimension d.
        radius: its radius.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> disc = hyperball(1000, 2, ambient_dim=3)
        >>> bool(0.15 < disc.near_boundary(0.1).mean() < 0.23)
        True
    """
    require_whole(1, dim=dim)
    require_positive(radius=radius)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    x = radius * in_ball(rng, n, dim)
    boundary = radius - np.linalg.norm(x, axis=1)
    truth = Truth(dim, boundary=boundary, distances=euclidean(x))
    settings = {"dim": dim, "radius": radius}
    return assemble("hyperball", x, x, truth, placement, rng, settings)
