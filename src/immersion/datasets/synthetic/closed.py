"""Flat sets without boundary: products of circles, the flat Klein bottle, a closed curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError
from immersion.datasets.synthetic.manifold import (
    Placement,
    Truth,
    assemble,
    require_positive,
    require_whole,
)

if TYPE_CHECKING:
    from immersion.datasets.synthetic.manifold import RandomState, SyntheticManifold

_TURN = 2 * math.pi


def clifford_torus(
    n: int,
    radii: Sequence[float] = (1.0, 1.0),
    *,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The product of d circles in 2d coordinates, a flat torus.

    Coordinates are the d angles in [0, 2 pi).

    Args:
        n: number of points.
        radii: radius of each circle; their number is the dimension.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> clifford_torus(10, (1.0, 1.0, 2.0)).points.shape
        (10, 6)
    """
    if not len(radii):
        raise InputError("a torus needs at least one radius")
    for radius in radii:
        require_positive(radius=radius)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    r = np.asarray(radii, dtype=np.float64)
    angles = rng.uniform(0, _TURN, (n, len(r)))

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        total = np.zeros((len(rows), n))
        for axis, radius in enumerate(r):
            total += (radius * _around(angles[rows, axis], angles[:, axis])) ** 2
        return np.sqrt(total)

    mean = math.sqrt(float((1 / r**2).sum())) / len(r)
    truth = Truth(len(r), mean=mean, distances=distances)
    circles = np.stack([r * np.cos(angles), r * np.sin(angles)], axis=2)
    settings = {"radii": tuple(map(float, radii))}
    return assemble(
        "clifford_torus", circles.reshape(n, -1), angles, truth, placement, rng, settings
    )


def closed_curve(
    n: int,
    harmonics: int = 6,
    *,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """A closed curve of constant speed in 2m coordinates: (cos kt, sin kt) / k for k = 1..m.

    The coordinate is t in [0, 2 pi). Its speed is sqrt(m), its curvature sqrt(sum k^2) / m.

    Args:
        n: number of points.
        harmonics: m.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> closed_curve(100, ambient_dim=13).points.shape
        (100, 13)
    """
    require_whole(1, harmonics=harmonics)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    k = np.arange(1, harmonics + 1)
    t = rng.uniform(0, _TURN, n)
    turned = t[:, None] * k
    clean = np.concatenate([np.cos(turned) / k, np.sin(turned) / k], axis=1)

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return math.sqrt(harmonics) * _around(t[rows], t)

    mean = math.sqrt(float((k * k).sum())) / harmonics
    truth = Truth(1, mean=mean, distances=distances)
    settings = {"harmonics": harmonics}
    return assemble("closed_curve", clean, t[:, None], truth, placement, rng, settings)


def klein_bottle(
    n: int,
    *,
    scale: float = 1.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The flat Klein bottle, embedded in five coordinates without a change of lengths.

    (cos u e(v), 2 sin u e(v / 2), sqrt(3) cos u) with e(v) = (cos v, sin v), u and v in [0, 2 pi),
    where (u, v + 2 pi) is the point (-u, v). Coordinates are (u, v); the metric is 4 du^2 + dv^2.
    Without its last coordinate it is Tompkins' surface, which meets itself in a circle.

    Args:
        n: number of points.
        scale: factor on all coordinates.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Source: after Tompkins, A flat Klein bottle isometrically embedded in Euclidean 4-space (1941).

    Example:
        >>> bottle = klein_bottle(200)
        >>> bottle.points.shape, float(bottle.gaussian_curvature.max())
        ((200, 5), 0.0)
    """
    require_positive(scale=scale)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    u, v = rng.uniform(0, _TURN, (2, n))

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        nearest = np.full((len(rows), n), math.inf)
        for turns in (-2, -1, 0, 1, 2):
            along = 2 * _around(u[rows], u if turns % 2 == 0 else -u)
            across = v[rows][:, None] - v + _TURN * turns
            nearest = np.minimum(nearest, along**2 + across**2)
        return scale * np.sqrt(nearest)

    mean = np.sqrt(1 + 0.75 * np.cos(u) ** 2) / (2 * scale)
    clean = scale * np.stack(
        [
            np.cos(u) * np.cos(v),
            np.cos(u) * np.sin(v),
            2 * np.sin(u) * np.cos(v / 2),
            2 * np.sin(u) * np.sin(v / 2),
            math.sqrt(3) * np.cos(u),
        ],
        axis=1,
    )
    truth = Truth(2, mean=mean, distances=distances)
    coordinates = np.stack([u, v], axis=1)
    return assemble("klein_bottle", clean, coordinates, truth, placement, rng, {"scale": scale})


def _around(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles between all pairs, (m, n), in [0, pi]."""
    apart = np.abs(one[:, None] - other) % _TURN
    return np.minimum(apart, _TURN - apart)
