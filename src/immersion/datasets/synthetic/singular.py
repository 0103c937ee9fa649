"""Sets with singular points: crossings, tips and changes of dimension, at known distance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError
from immersion.datasets.synthetic.draws import directions, in_ball
from immersion.datasets.synthetic.manifold import (
    Placement,
    Truth,
    assemble,
    require_positive,
    require_whole,
)

if TYPE_CHECKING:
    from immersion.datasets.synthetic.manifold import RandomState, SyntheticManifold


def crossing_planes(
    n: int,
    dim: int = 2,
    *,
    shared: int | None = None,
    angle: float = math.pi / 2,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """Two unit discs of dimension d that cross in a disc of `shared` dimensions.

    Each point is in either disc (`sheet`) with equal odds. Coordinates are those in its own disc,
    the shared ones first. Its singular distance is the length of the others.

    Args:
        n: number of points.
        dim: dimension d of both discs.
        shared: dimension of the crossing, 0 (a point) to d - 1, the default.
        angle: between the discs, in (0, pi / 2].
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> planes = crossing_planes(1000)
        >>> planes.points.shape, bool(planes.near_singular(0.05).any())
        ((1000, 3), True)
    """
    require_whole(1, dim=dim)
    common = dim - 1 if shared is None else shared
    require_whole(0, shared=common)
    if not (0 <= common < dim and 0 < angle <= math.pi / 2):
        raise InputError(
            f"shared = {common} must lie in 0..{dim - 1} and angle = {angle} in (0, pi / 2]"
        )
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    sheet = rng.integers(0, 2, n)
    x = in_ball(rng, n, dim)
    along, free = x[:, :common], x[:, common:]
    off = np.linalg.norm(free, axis=1)

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        from scipy.spatial.distance import cdist

        within = np.asarray(cdist(x[rows], x))
        # From sheet to sheet a shortest path bends where it crosses, as light in a mirror.
        aside = np.asarray(cdist(along[rows], along)) if common else 0.0
        across = np.hypot(aside, off[rows][:, None] + off)
        return np.where(sheet[rows][:, None] == sheet, within, across)

    turn = np.where(sheet == 0, 0.0, angle)[:, None]
    clean = np.concatenate([along, free * np.cos(turn), free * np.sin(turn)], axis=1)
    truth = Truth(
        dim,
        singular=off,
        boundary=1 - np.linalg.norm(x, axis=1),
        sheet=sheet,
        distances=distances,
    )
    settings = {"dim": dim, "shared": common, "angle": angle}
    return assemble("crossing_planes", clean, x, truth, placement, rng, settings)


def cone(
    n: int,
    dim: int = 2,
    *,
    half_angle: float = math.pi / 6,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """The round cone of slant height 1 in d + 1 coordinates; its tip is singular.

    (s sin(a) e, s cos(a)) for unit vectors e and the slant distance s to the tip; coordinates are
    (s, e). For d = 2 it is flat elsewhere; for d > 2 its scalar curvature is
    (d - 1)(d - 2) / (s tan a)^2. Geodesics unroll: a triangle with sides s, s' and the angle
    between e and e' times sin a.

    Args:
        n: number of points.
        dim: dimension d, at least 2.
        half_angle: a, in (0, pi / 2).
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> tip = cone(2000)
        >>> bool(0 < tip.near_singular(0.1).mean() < 0.03)
        True
    """
    require_whole(2, dim=dim)
    if not 0 < half_angle < math.pi / 2:
        raise InputError(f"half_angle = {half_angle} must lie in (0, pi / 2)")
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    e = directions(rng, n, dim)
    s = rng.uniform(size=n) ** (1 / dim)
    sine, cosine = math.sin(half_angle), math.cos(half_angle)

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        from scipy.spatial.distance import cdist

        between = 2 * np.arctan2(cdist(e[rows], e), cdist(e[rows], -e)) * sine
        one, other = s[rows][:, None], s
        return np.hypot(one - other, 2 * np.sqrt(one * other) * np.sin(between / 2))

    truth = Truth(
        dim,
        scalar=(dim - 1) * (dim - 2) * (cosine / (sine * s)) ** 2,
        mean=(dim - 1) * cosine / (dim * sine * s),
        singular=s,
        boundary=1 - s,
        distances=distances,
    )
    clean = np.concatenate([sine * s[:, None] * e, cosine * s[:, None]], axis=1)
    coordinates = np.concatenate([s[:, None], e], axis=1)
    settings = {"dim": dim, "half_angle": half_angle}
    return assemble("cone", clean, coordinates, truth, placement, rng, settings)


def pierced_disc(
    n: int,
    *,
    line_share: float = 0.2,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """A unit disc with a line of length 2 through its centre: two dimensions meet one.

    Each point is on the line (`sheet` 1) with odds `line_share`, uniform within its piece.
    Coordinates are (x, y, z), of which z is 0 on the disc, x and y on the line.

    Args:
        n: number of points.
        line_share: expected share of the points on the line, in (0, 1).
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> sorted(set(pierced_disc(100).dims.tolist()))
        [1, 2]
    """
    if not 0 < line_share < 1:
        raise InputError(f"line_share = {line_share} must lie between 0 and 1")
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    on_line = rng.uniform(size=n) < line_share
    x = np.zeros((n, 3))
    x[:, :2] = in_ball(rng, n, 2)
    x[on_line] = 0
    x[on_line, 2] = rng.uniform(-1, 1, int(on_line.sum()))
    off = np.linalg.norm(x, axis=1)

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        from scipy.spatial.distance import cdist

        same = on_line[rows][:, None] == on_line
        return np.where(same, cdist(x[rows], x), off[rows][:, None] + off)

    truth = Truth(
        np.where(on_line, 1, 2),
        singular=off,
        boundary=1 - off,
        sheet=on_line.astype(np.int64),
        distances=distances,
    )
    settings = {"line_share": line_share}
    return assemble("pierced_disc", x, x, truth, placement, rng, settings)


def line_into_disc(
    n: int,
    *,
    length: float = 1.0,
    line_share: float = 0.2,
    noise: float = 0.0,
    ambient_dim: int | None = None,
    random_state: RandomState = 0,
) -> SyntheticManifold:
    """A line that runs into the rim of a unit disc in its plane: one dimension becomes two.

    Each point is on the line (`sheet` 1) with odds `line_share`, uniform within its piece.
    Coordinates are (x, y); the line is 1 <= x <= 1 + length, y = 0, and (1, 0) alone is singular.
    It is a limit of points of the rim, so that its distance from the line counts for the boundary.

    Args:
        n: number of points.
        length: of the line.
        line_share: expected share of the points on the line, in (0, 1).
        noise: standard deviation of Gaussian noise on every ambient coordinate.
        ambient_dim: coordinates after a random isometry; by default as few as the set needs.
        random_state: seed or generator.

    Raises:
        InputError: a parameter out of range.

    Example:
        >>> sorted(set(line_into_disc(100).dims.tolist()))
        [1, 2]
    """
    require_positive(length=length)
    if not 0 < line_share < 1:
        raise InputError(f"line_share = {line_share} must lie between 0 and 1")
    placement = Placement(n, noise, ambient_dim, random_state)
    rng = placement.generator()
    on_line = rng.uniform(size=n) < line_share
    x = in_ball(rng, n, 2)
    along = rng.uniform(0, length, n)
    x[on_line] = np.stack([1 + along[on_line], np.zeros(int(on_line.sum()))], axis=1)
    off = np.linalg.norm(x - [1.0, 0.0], axis=1)
    to_rim: NDArray[np.float64] = 1 - np.linalg.norm(x, axis=1)

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        from scipy.spatial.distance import cdist

        same = on_line[rows][:, None] == on_line
        return np.where(same, cdist(x[rows], x), off[rows][:, None] + off)

    truth = Truth(
        np.where(on_line, 1, 2),
        singular=off,
        boundary=np.where(on_line, np.minimum(off, length - off), to_rim),
        sheet=on_line.astype(np.int64),
        distances=distances,
    )
    settings = {"length": length, "line_share": line_share}
    return assemble("line_into_disc", x, x, truth, placement, rng, settings)
