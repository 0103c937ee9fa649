"""Curved surfaces, and graphs over balls, whose curvature is closed and whose geodesics are not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError
from immersion.datasets.synthetic.draws import by_inverse, by_rejection, in_ball
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


def torus(
    n: int,
    *,
    major: float = 2.0,
    minor: float = 1.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The ring torus: a circle of radius r about one of radius R > r.

    ((R + r cos b) cos a, (R + r cos b) sin a, r sin b); coordinates are (a, b). Its Gaussian
    curvature is cos b / (r (R + r cos b)), positive outside and negative inside.

    Args:
        n: number of points.
        major: R.
        minor: r.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> ring = torus(400)
        >>> bool(ring.gaussian_curvature.min() < 0 < ring.gaussian_curvature.max())
        True
    """
    require_positive(minor=minor, major=major)
    if minor >= major:
        raise InputError(
            f"minor = {minor} must be below major = {major}, or the torus meets itself"
        )
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    a = rng.uniform(0, _TURN, n)
    b = by_inverse(
        rng,
        n,
        0.0,
        _TURN,
        lambda b: major * b + minor * np.sin(b),
        lambda b: major + minor * np.cos(b),
    )
    ring = major + minor * np.cos(b)
    truth = Truth(
        2,
        scalar=2 * np.cos(b) / (minor * ring),
        mean=np.abs(ring + minor * np.cos(b)) / (2 * minor * ring),
    )
    clean = np.stack([ring * np.cos(a), ring * np.sin(a), minor * np.sin(b)], axis=1)
    settings = {"major": major, "minor": minor}
    return assemble("torus", clean, np.stack([a, b], axis=1), truth, placement, rng, settings)


def mobius_band(
    n: int,
    *,
    half_width: float = 0.5,
    half_twists: int = 1,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """A band with k half twists about the unit circle; one-sided for odd k.

    ((1 + w cos(ku/2)) cos u, (1 + w cos(ku/2)) sin u, w sin(ku/2)) for |w| <= half_width;
    coordinates are (u, w). The metric is dw^2 + E du^2, E = (1 + w cos(ku/2))^2 + (kw/2)^2, and the
    Gaussian curvature -(k/2)^2 / E^2.

    Args:
        n: number of points.
        half_width: below 1.
        half_twists: k; 10 is the band of Hein and Audibert's benchmark.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> band = mobius_band(300)
        >>> bool((band.boundary_distance <= 0.5).all()), bool((band.gaussian_curvature < 0).all())
        (True, True)
    """
    require_positive(half_width=half_width)
    require_whole(0, half_twists=half_twists)
    if half_width >= 1:
        raise InputError(f"half_width = {half_width} must be below 1")
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    rate = half_twists / 2

    def metric(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        u, w = coordinates.T
        return (1 + w * np.cos(rate * u)) ** 2 + (rate * w) ** 2

    coordinates = by_rejection(
        rng,
        n,
        lambda m: np.stack(
            [rng.uniform(0, _TURN, m), rng.uniform(-half_width, half_width, m)], axis=1
        ),
        lambda at: np.sqrt(metric(at)),
        math.hypot(1 + half_width, rate * half_width),
    )
    u, w = coordinates.T
    e, ring = metric(coordinates), 1 + w * np.cos(rate * u)
    truth = Truth(
        2,
        scalar=-2 * rate**2 / e**2,
        mean=np.abs(np.sin(rate * u)) * (ring**2 + 2 * (rate * w) ** 2) / (2 * e**1.5),
        # Lines u = const are geodesics of unit speed, and nothing is shorter: ds >= |dw|.
        boundary=half_width - np.abs(w),
    )
    clean = np.stack([ring * np.cos(u), ring * np.sin(u), w * np.sin(rate * u)], axis=1)
    settings = {"half_width": half_width, "half_twists": half_twists}
    return assemble("mobius_band", clean, coordinates, truth, placement, rng, settings)


def helicoid(
    n: int,
    *,
    radius: float = 10 * math.pi,
    angle: float = 10 * math.pi,
    pitch: float = 0.5,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """A spiral staircase (r cos a, r sin a, p a): minimal, of curvature -p^2 / (r^2 + p^2)^2.

    Coordinates are (r, a), 0 <= r <= radius, 0 <= a <= angle. The distance to its boundary is not
    closed.

    Args:
        n: number of points.
        radius: greatest r.
        angle: greatest a.
        pitch: rise p a radian.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> float(helicoid(10).mean_curvature.max())
        0.0
    """
    require_positive(radius=radius, angle=angle, pitch=pitch)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()

    def speed(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.hypot(r, pitch)

    def area(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return (r * speed(r) + pitch**2 * np.arcsinh(r / pitch)) / 2

    r = by_inverse(rng, n, 0.0, radius, area, speed)
    a = rng.uniform(0, angle, n)
    truth = Truth(2, scalar=-2 * pitch**2 / (r * r + pitch**2) ** 2, boundary=math.nan)
    clean = np.stack([r * np.cos(a), r * np.sin(a), pitch * a], axis=1)
    settings = {"radius": radius, "angle": angle, "pitch": pitch}
    return assemble("helicoid", clean, np.stack([r, a], axis=1), truth, placement, rng, settings)


def paraboloid(
    n: int,
    dim: int = 2,
    *,
    bend: float = 1.0,
    radius: float = 1.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The graph z = bend |x|^2 / 2 over a ball in d dimensions.

    Coordinates are x (n, d). With a the bend and w = sqrt(1 + a^2 |x|^2), the principal curvatures
    are a / w, d - 1 times, and a / w^3.

    Args:
        n: number of points.
        dim: dimension d.
        bend: a, the curvature at the bottom.
        radius: of the ball.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> bowl = paraboloid(200, bend=0.5)
        >>> bool(bowl.gaussian_curvature.max() <= 0.25)
        True
    """
    require_whole(1, dim=dim)
    require_positive(bend=bend, radius=radius)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    x, w = _over_ball(rng, n, dim, bend, radius)
    r = np.linalg.norm(x, axis=1)

    def length(r: NDArray[np.float64]) -> NDArray[np.float64]:
        slope = bend * r
        return (r * np.sqrt(1 + slope**2) + np.arcsinh(slope) / bend) / 2

    truth = Truth(
        dim,
        scalar=(dim - 1) * bend**2 * ((dim - 2) / w**2 + 2 / w**4),
        mean=bend * ((dim - 1) / w + 1 / w**3) / dim,
        boundary=length(np.array(radius)) - length(r),
    )
    clean = np.concatenate([x, bend * r[:, None] ** 2 / 2], axis=1)
    settings = {"dim": dim, "bend": bend, "radius": radius}
    return assemble("paraboloid", clean, x, truth, placement, rng, settings)


def saddle(
    n: int,
    *,
    bend: float = 1.0,
    radius: float = 1.0,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The graph z = bend (x^2 - y^2) / 2 over a disc, of negative curvature throughout.

    Coordinates are (x, y). With a the bend and w^2 = 1 + a^2 (x^2 + y^2), the Gaussian curvature
    is -a^2 / w^4. The distance to its boundary is not closed.

    Args:
        n: number of points.
        bend: a, the curvature at the centre.
        radius: of the disc.
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> bool((saddle(50).gaussian_curvature < 0).all())
        True
    """
    require_positive(bend=bend, radius=radius)
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    x, w = _over_ball(rng, n, 2, bend, radius)
    difference = x[:, 0] ** 2 - x[:, 1] ** 2
    truth = Truth(
        2,
        scalar=-2 * bend**2 / w**4,
        mean=bend**3 * np.abs(difference) / (2 * w**3),
        boundary=math.nan,
    )
    clean = np.concatenate([x, bend * difference[:, None] / 2], axis=1)
    settings = {"bend": bend, "radius": radius}
    return assemble("saddle", clean, x, truth, placement, rng, settings)


def _over_ball(
    rng: np.random.Generator, n: int, dim: int, bend: float, radius: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of a ball with odds by w = sqrt(1 + bend^2 |x|^2), and w."""

    def stretch(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sqrt(1 + bend**2 * np.square(x).sum(axis=1))

    x = by_rejection(
        rng, n, lambda m: radius * in_ball(rng, m, dim), stretch, math.hypot(1, bend * radius)
    )
    return x, stretch(x)
