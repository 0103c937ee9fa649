"""Points of a known manifold, with all that is known about it at each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from immersion.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

RandomState = int | np.random.Generator
Distances = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class SyntheticManifold:
    """n points drawn from a known set, uniformly by volume unless its maker says otherwise.

    What is not known in closed form is NaN, never an estimate.

    Attributes:
        name: the maker's name.
        points: (n, D) float64, noise included.
        clean: (n, D) the same points before noise.
        coordinates: (n, p) the parameters of each point, as the maker defines them.
        dims: (n,) dimension of the set at each point.
        scalar_curvature: (n,) scalar curvature, twice the Gaussian curvature of a surface.
        mean_curvature: (n,) length of the mean curvature vector, tr(II) / d.
        singular_distance: (n,) distance along the set to its nearest singular point (crossing,
            tip, cusp, change of dimension); infinite without any.
        boundary_distance: (n,) distance along the set to its boundary; infinite without one.
        sheet: (n,) which smooth piece a point was drawn from.
        noise: standard deviation of the Gaussian noise on every ambient coordinate.
        settings: every parameter, the seed included where it was a number.
        distances: geodesic distances (m, n) from the given points, or None where not closed.
    """

    name: str
    points: NDArray[np.float64]
    clean: NDArray[np.float64]
    coordinates: NDArray[np.float64]
    dims: NDArray[np.int64]
    scalar_curvature: NDArray[np.float64]
    mean_curvature: NDArray[np.float64]
    singular_distance: NDArray[np.float64]
    boundary_distance: NDArray[np.float64]
    sheet: NDArray[np.int64]
    noise: float
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    distances: Distances | None = None

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.points)

    @property
    def dim(self) -> int:
        """Dimension of the set, the greatest of its pieces."""
        return int(self.dims.max())

    @property
    def gaussian_curvature(self) -> NDArray[np.float64]:
        """(n,) Gaussian curvature; NaN where the set is no surface."""
        return np.where(self.dims == 2, self.scalar_curvature / 2, math.nan)

    def geodesics(self, rows: ArrayLike | None = None) -> NDArray[np.float64]:
        """Distances (m, n) along the clean set from some points, by default all, to all.

        Raises:
            InputError: the distances of this set have no closed form; rows outside 0..n-1.
        """
        if self.distances is None:
            raise InputError(
                f"{self.name} has no geodesic distances in closed form; shortest paths in a "
                "neighbour graph of many clean points estimate them"
            )
        chosen = np.arange(self.n) if rows is None else np.asarray(rows)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise InputError(
                f"rows have shape {chosen.shape} and dtype {chosen.dtype}; give a list of indices"
            )
        if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < self.n:
            raise InputError(
                f"rows run from {chosen.min()} to {chosen.max()}; they must lie in 0..{self.n - 1}"
            )
        return self.distances(chosen.astype(np.int64))

    def near_singular(self, radius: float) -> NDArray[np.bool_]:
        """(n,) which points lie within `radius` along the set of a singular point."""
        return self.singular_distance <= radius

    def near_boundary(self, radius: float) -> NDArray[np.bool_]:
        """(n,) which points lie within `radius` along the set of its boundary.

        Raises:
            InputError: the distance to the boundary of this set has no closed form.
        """
        if np.isnan(self.boundary_distance).any():
            raise InputError(f"{self.name} has no distance to its boundary in closed form")
        return self.boundary_distance <= radius


@dataclass(frozen=True)
class Placement:
    """How many points are drawn, where the set is put, and the noise on top.

    Attributes:
        n: number of points.
        noise: standard deviation a coordinate.
        ambient_dim: coordinates D after a random isometry, or None to leave the set as it is.
        random_state: seed or generator.
    """

    n: int
    noise: float
    ambient_dim: int | None
    random_state: RandomState

    def generator(self) -> np.random.Generator:
        """The generator that draws everything, after a check of the rest.

        Raises:
            InputError: no points, or noise that is negative or no number.
        """
        require_whole(1, n=self.n)
        if not 0 <= self.noise < math.inf:
            raise InputError(f"noise is a standard deviation of at least 0, not {self.noise}")
        return np.random.default_rng(self.random_state)


@dataclass(frozen=True, eq=False)
class Truth:
    """What a maker knows; a number holds for all points, and defaults are those of flat space."""

    dims: int | NDArray[np.int64]
    scalar: float | NDArray[np.float64] = 0.0
    mean: float | NDArray[np.float64] = 0.0
    singular: float | NDArray[np.float64] = math.inf
    boundary: float | NDArray[np.float64] = math.inf
    sheet: int | NDArray[np.int64] = 0
    distances: Distances | None = None


def assemble(
    name: str,
    clean: NDArray[np.float64],
    coordinates: NDArray[np.float64],
    truth: Truth,
    placement: Placement,
    rng: np.random.Generator,
    parameters: Mapping[str, Any],
) -> SyntheticManifold:
    """Place the set by a random isometry, add noise, and keep what is known.

    Raises:
        InputError: `ambient_dim` is too small for the set.
    """
    n, width = clean.shape
    if placement.ambient_dim is not None:
        clean = clean @ _frame(width, placement.ambient_dim, name, rng)
    points = clean
    if placement.noise > 0:
        points = clean + placement.noise * rng.normal(size=clean.shape)
    seed = placement.random_state if isinstance(placement.random_state, int) else None
    settings = {
        **parameters,
        "n": n,
        "noise": placement.noise,
        "ambient_dim": clean.shape[1],
        "random_state": seed,
    }

    def each(value: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(value, dtype=np.float64), n).copy()

    return SyntheticManifold(
        name=name,
        points=points,
        clean=clean,
        coordinates=coordinates,
        dims=np.broadcast_to(np.asarray(truth.dims, dtype=np.int64), n).copy(),
        scalar_curvature=each(truth.scalar),
        mean_curvature=each(truth.mean),
        singular_distance=each(truth.singular),
        boundary_distance=each(truth.boundary),
        sheet=np.broadcast_to(np.asarray(truth.sheet, dtype=np.int64), n).copy(),
        noise=placement.noise,
        settings=settings,
        distances=truth.distances,
    )


def euclidean(flat: NDArray[np.float64]) -> Distances:
    """Distances of a set that unrolls isometrically onto a convex part of flat space."""

    def distances(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        from scipy.spatial.distance import cdist

        return np.asarray(cdist(flat[rows], flat), dtype=np.float64)

    return distances


def require_positive(**parameters: float) -> None:
    """Refuse parameters that are not positive and finite.

    Raises:
        InputError: names the parameter.
    """
    for name, value in parameters.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} must be positive and finite, not {value}")


def require_whole(least: int, **parameters: object) -> None:
    """Refuse parameters that are not whole numbers of at least `least`.

    Raises:
        InputError: names the parameter.
    """
    for name, value in parameters.items():
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}")


def _frame(
    width: int, ambient_dim: int, name: str, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Orthonormal rows (width, ambient_dim), uniform among all such."""
    if ambient_dim < width:
        raise InputError(
            f"{name} needs ambient_dim of at least {width}, not {ambient_dim}: it fills that many "
            "coordinates"
        )
    q, r = np.linalg.qr(rng.normal(size=(ambient_dim, width)))
    # The signs make the frame uniform (Mezzadri 2007).
    signs = np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return np.asarray((q * signs).T, dtype=np.float64)
