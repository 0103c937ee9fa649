"""Nonlinear sets of many dimensions, and the benchmark families of dimension estimation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.datasets.synthetic.closed import closed_curve
from immersion.datasets.synthetic.draws import by_inverse
from immersion.datasets.synthetic.flat import hypercube, s_curve, sphere, swiss_roll
from immersion.datasets.synthetic.manifold import Placement, Truth, assemble, require_whole
from immersion.datasets.synthetic.surfaces import helicoid, mobius_band

if TYPE_CHECKING:
    from collections.abc import Callable

    from immersion.datasets.synthetic.manifold import RandomState, SyntheticManifold

_TURN = 2 * math.pi


def coils(
    n: int,
    dim: int = 4,
    copies: int = 1,
    *,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """Chained coils, the strongly curved family of Hein and Audibert's benchmark.

    x_i = a_{i+1} (cos 2 pi a_i, sin 2 pi a_i) for i = 1..d in a ring, all repeated `copies` times;
    coordinates are a in [0, 1]^d. In this chart the metric is diagonal, copies times
    g_i = 1 + (2 pi a_{i+1})^2, so volume is a product and drawing by it is exact. Only the planes
    (i, i + 1) are curved: K = -(2 pi)^2 / (g_i^2 g_{i+1}) / copies. The distance to the boundary
    is not closed. (M4, M6 and M8 of the benchmark draw a uniformly in the cube instead.)

    Args:
        n: number of points.
        dim: dimension d, at least 3.
        copies: how often the 2d coordinates are repeated.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Source: Hein and Audibert, Intrinsic dimensionality estimation of submanifolds (2005).

    Example:
        >>> coils(100, 6, 3).points.shape
        (100, 36)
    """
    require_whole(3, dim=dim)
    require_whole(1, copies=copies)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()

    def speed(a: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sqrt(1 + (_TURN * a) ** 2)

    def length(a: NDArray[np.float64]) -> NDArray[np.float64]:
        return (a * speed(a) + np.arcsinh(_TURN * a) / _TURN) / 2

    a = by_inverse(rng, n * dim, 0.0, 1.0, length, speed).reshape(n, dim)
    radius = np.roll(a, -1, axis=1)
    g = 1 + (_TURN * radius) ** 2
    following = np.roll(g, -1, axis=1)
    # The trace of II has a radial and a tangential part in the plane of each coil.
    pull = _TURN**2 * radius / g
    radial = pull * (1 - 1 / following)
    tangential = np.roll(pull, 1, axis=1) * _TURN * radius / g
    truth = Truth(
        dim,
        scalar=-2 * (_TURN**2 / (g**2 * following)).sum(axis=1) / copies,
        mean=np.sqrt((radial**2 + tangential**2).sum(axis=1) / copies) / dim,
        boundary=math.nan,
    )
    plane = np.stack([radius * np.cos(_TURN * a), radius * np.sin(_TURN * a)], axis=2)
    clean = np.tile(plane.reshape(n, 2 * dim), (1, copies))
    settings = {"dim": dim, "copies": copies}
    return assemble("coils", clean, a, truth, placement, rng, settings)


def benchmark_manifolds(
    n: int, *, noise: float = 0.0, random_state: int = 0
) -> dict[str, SyntheticManifold]:
    """The families on which dimension estimators are compared, dimensions 1 to 70.

    Names are those of the literature; all are drawn uniformly by volume. Left out are M3, whose
    volume is not closed, and M12, a Gaussian, which is no uniform set. M13b, for which sources
    differ, is the closed curve of constant speed.

    Args:
        n: number of points of each.
        noise: as in `sphere`.
        random_state: seed; every family takes its own from it.

    Raises:
        InputError: a parameter out of range.

    Source: Hein and Audibert 2005; Campadelli, Casiraghi, Ceruti, Rozza 2015.

    Example:
        >>> families = benchmark_manifolds(20)
        >>> {name: (m.dim, m.points.shape[1]) for name, m in list(families.items())[:3]}
        {'M1': (10, 11), 'M2': (3, 5), 'M4': (4, 8)}
    """
    makers: dict[str, Callable[[int], SyntheticManifold]] = {
        "M1": lambda s: sphere(n, 10, noise=noise, random_state=s),
        "M2": lambda s: hypercube(n, 3, noise=noise, ambient_dim=5, random_state=s),
        "M4": lambda s: coils(n, 4, noise=noise, random_state=s),
        "M5": lambda s: helicoid(n, noise=noise, random_state=s),
        "M6": lambda s: coils(n, 6, 3, noise=noise, random_state=s),
        "M7": lambda s: swiss_roll(n, noise=noise, random_state=s),
        "M8": lambda s: coils(n, 12, 3, noise=noise, random_state=s),
        "M9": lambda s: hypercube(n, 20, noise=noise, random_state=s),
        "M10a": lambda s: hypercube(n, 10, noise=noise, ambient_dim=11, random_state=s),
        "M10b": lambda s: hypercube(n, 17, noise=noise, ambient_dim=18, random_state=s),
        "M10c": lambda s: hypercube(n, 24, noise=noise, ambient_dim=25, random_state=s),
        "M10d": lambda s: hypercube(n, 70, noise=noise, ambient_dim=71, random_state=s),
        "M11": lambda s: mobius_band(n, half_twists=10, noise=noise, random_state=s),
        "M13a": lambda s: s_curve(n, noise=noise, random_state=s),
        "M13b": lambda s: closed_curve(n, noise=noise, ambient_dim=13, random_state=s),
    }
    seeds = np.random.SeedSequence(random_state).generate_state(len(makers))
    return {name: make(int(seed)) for (name, make), seed in zip(makers.items(), seeds, strict=True)}
