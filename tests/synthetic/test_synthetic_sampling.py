"""Uniform by volume, noise, isometry, seeds, errors. Tests on draws state their false alarms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import beta, chi2, kstest

from immersion.core.errors import InputError
from immersion.datasets import synthetic
from synthetic.charts import CASES, UNIONS, Case

ALARM = 1e-4
"""Odds that one test on fair draws fails; seeds are fixed, so a test that passed does so again."""

BOXES = [case for case in CASES if case.box is not None and case.dim <= 3]


def by_name(case: Case) -> str:
    return case.name


def cell_volumes(case: Case, cells: int) -> np.ndarray:
    """Volume of every cell of the parameters by 5-point Gauss quadrature of the metric's root."""
    assert case.box is not None
    nodes, weights = np.polynomial.legendre.leggauss(5)
    axes, scales = [], []
    for low, high in case.box:
        width = (high - low) / cells
        starts = low + width * np.arange(cells)
        axes.append((starts[:, None] + width * (nodes + 1) / 2).ravel())
        scales.append(np.tile(weights, cells))
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, case.dim)
    weight = math.prod(np.meshgrid(*scales, indexing="ij")).ravel()
    J = torch.func.vmap(torch.func.jacfwd(case.map))(torch.as_tensor(grid))
    volume = torch.linalg.det(J.mT @ J).clamp_min(0).sqrt().numpy() * weight
    shaped = volume.reshape((cells, 5) * case.dim)
    return shaped.sum(axis=tuple(range(1, 2 * case.dim, 2))).ravel()


def chi_square(coordinates: np.ndarray, case: Case, cells: int) -> float:
    """P-value of the counts of the cells against their volumes."""
    assert case.box is not None
    edges = [np.linspace(low, high, cells + 1) for low, high in case.box]
    counts = np.histogramdd(coordinates, edges)[0].ravel()
    assert counts.sum() == len(coordinates)
    volumes = cell_volumes(case, cells)
    expected = len(coordinates) * volumes / volumes.sum()
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1))


@pytest.mark.parametrize("case", BOXES, ids=by_name)
def test_points_are_uniform_by_volume(case: Case) -> None:
    found = case.make(40_000, random_state=11)
    assert chi_square(found.coordinates, case, 10 if case.dim < 3 else 5) > ALARM


@pytest.mark.parametrize("name", ["swiss_roll", "torus", "mobius_band", "coils 3", "cuspidal_edge"])
def test_the_test_sees_points_that_are_uniform_in_the_parameters(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    assert case.box is not None
    low, high = np.array(case.box).T
    draws = np.random.default_rng(0).uniform(low, high, (40_000, case.dim))
    assert chi_square(draws, case, 10 if case.dim < 3 else 5) < 1e-12


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_spheres_are_uniform(dim: int) -> None:
    """A coordinate t of S^d has density (1 - t^2)^(d / 2 - 1), a Beta law of (1 + t) / 2."""
    x = synthetic.sphere(20_000, dim, random_state=1).clean
    for axis in range(dim + 1):
        assert kstest((1 + x[:, axis]) / 2, beta(dim / 2, dim / 2).cdf).pvalue > ALARM / 6


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_balls_and_cones_are_uniform(dim: int) -> None:
    ball = synthetic.hyperball(20_000, dim, radius=3.0, random_state=2)
    r = np.linalg.norm(ball.coordinates, axis=1)
    assert kstest((r / 3) ** dim, "uniform").pvalue > ALARM
    if dim > 1:
        s = synthetic.cone(20_000, dim, random_state=2).coordinates
        assert kstest(s[:, 0] ** dim, "uniform").pvalue > ALARM
        angle = np.arctan2(s[:, 2], s[:, 1]) / (2 * math.pi) + 0.5
        assert kstest(angle, "uniform").pvalue > ALARM


@pytest.mark.parametrize("dim", [2, 3])
def test_graphs_over_balls_are_uniform(dim: int) -> None:
    """Volume within radius r, integrated from r^(d-1) sqrt(1 + a^2 r^2)."""
    grid = np.linspace(0, 1, 20_001)
    middle = (grid[1:] + grid[:-1]) / 2
    volume = np.concatenate([[0], (middle ** (dim - 1) * np.hypot(1, 3 * middle)).cumsum()])
    for found in [synthetic.paraboloid(20_000, dim, bend=3.0, random_state=3)] + [
        synthetic.saddle(20_000, bend=3.0, random_state=3)
    ] * (dim == 2):
        r = np.linalg.norm(found.coordinates, axis=1)
        assert kstest(np.interp(r, grid, volume / volume[-1]), "uniform").pvalue > ALARM
        assert kstest(r**dim, "uniform").pvalue < 1e-12  # a flat ball's law does not pass


def test_coils_of_many_dimensions_have_independent_coordinates() -> None:
    a = synthetic.coils(20_000, 12, 3, random_state=4).coordinates
    w = 2 * math.pi * a
    shares = w * np.sqrt(1 + w * w) + np.arcsinh(w)
    full = 2 * math.pi * math.sqrt(1 + 4 * math.pi**2) + math.asinh(2 * math.pi)
    uniform = shares / full
    for axis in range(12):
        assert kstest(uniform[:, axis], "uniform").pvalue > ALARM / 12
    correlation = np.corrcoef(uniform.T)[np.triu_indices(12, 1)]
    # 66 correlations of independent numbers: beyond 5.2 errors once in 70,000.
    assert np.abs(correlation).max() < 5.2 / math.sqrt(20_000)


def test_sheets_and_pieces_have_their_shares() -> None:
    """Shares within 4 standard errors, which chance leaves once in 15,000."""
    planes = synthetic.crossing_planes(10_000, 3, random_state=5)
    assert abs(planes.sheet.mean() - 0.5) < 4 * 0.5 / 100
    for sheet in (0, 1):
        r = np.linalg.norm(planes.coordinates[planes.sheet == sheet], axis=1)
        assert kstest(r**3, "uniform").pvalue > ALARM
    disc = synthetic.pierced_disc(10_000, line_share=0.3, random_state=5)
    assert abs((disc.dims == 1).mean() - 0.3) < 4 * math.sqrt(0.21) / 100
    z = disc.coordinates[disc.dims == 1, 2]
    assert kstest((z + 1) / 2, "uniform").pvalue > ALARM
    stick = synthetic.line_into_disc(10_000, length=3.0, line_share=0.3, random_state=5)
    on_line = stick.dims == 1
    assert abs(on_line.mean() - 0.3) < 4 * math.sqrt(0.21) / 100
    assert kstest((stick.clean[on_line, 0] - 1) / 3, "uniform").pvalue > ALARM
    assert kstest(np.square(stick.clean[~on_line]).sum(axis=1), "uniform").pvalue > ALARM


@pytest.mark.parametrize("case", CASES + UNIONS, ids=by_name)
def test_the_seed_decides_everything(case: Case) -> None:
    how = {"noise": 0.1, "ambient_dim": 50}
    one, again = case.make(30, random_state=7, **how), case.make(30, random_state=7, **how)
    np.testing.assert_array_equal(one.points, again.points)
    fresh = case.make(30, random_state=np.random.default_rng(7), **how)
    np.testing.assert_array_equal(one.points, fresh.points)
    assert not np.array_equal(one.points, case.make(30, random_state=8, **how).points)
    assert one.settings["random_state"] == 7 and fresh.settings["random_state"] is None
    assert one.settings["n"] == 30 and one.noise == one.settings["noise"] == 0.1


@pytest.mark.parametrize("case", CASES + UNIONS, ids=by_name)
def test_an_isometry_changes_no_length(case: Case) -> None:
    plain, placed = case.make(50, random_state=9), case.make(50, random_state=9, ambient_dim=60)
    assert placed.points.shape == (50, 60)
    np.testing.assert_array_equal(plain.coordinates, placed.coordinates)
    gram = [np.linalg.norm(x[:, None] - x, axis=2) for x in (plain.clean, placed.clean)]
    np.testing.assert_allclose(gram[0], gram[1], atol=1e-12)
    np.testing.assert_array_equal(plain.scalar_curvature, placed.scalar_curvature)


def test_noise_is_gaussian_of_the_given_size() -> None:
    found = synthetic.torus(5000, noise=0.25, ambient_dim=8, random_state=1)
    noise = (found.points - found.clean).ravel()
    assert kstest(noise / 0.25, "norm").pvalue > ALARM
    clean = synthetic.torus(5000, ambient_dim=8, random_state=1)
    np.testing.assert_array_equal(clean.points, found.clean)
    np.testing.assert_array_equal(clean.points, clean.clean)


def test_the_benchmark_families() -> None:
    families = synthetic.benchmark_manifolds(50, random_state=3)
    shapes = {name: (one.dim, one.points.shape[1]) for name, one in families.items()}
    assert shapes == {
        "M1": (10, 11), "M2": (3, 5), "M4": (4, 8), "M5": (2, 3), "M6": (6, 36), "M7": (2, 3),
        "M8": (12, 72), "M9": (20, 20), "M10a": (10, 11), "M10b": (17, 18), "M10c": (24, 25),
        "M10d": (70, 71), "M11": (2, 3), "M13a": (2, 3), "M13b": (1, 13),
    }  # fmt: skip
    again = synthetic.benchmark_manifolds(50, random_state=3)
    for name, other in itertools.combinations(families, 2):
        np.testing.assert_array_equal(families[name].points, again[name].points)
        assert families[name].settings["random_state"] != families[other].settings["random_state"]


BAD = [
    (lambda: synthetic.sphere(0), "n must be"),
    (lambda: synthetic.sphere(5.5), "n must be"),
    (lambda: synthetic.sphere(5, 1.5), "dim must be"),
    (lambda: synthetic.sphere(5, 0), "of at least 1"),
    (lambda: synthetic.sphere(5, radius=-1.0), "radius must be positive"),
    (lambda: synthetic.sphere(5, noise=-0.1), "noise"),
    (lambda: synthetic.sphere(5, noise=math.nan), "noise"),
    (lambda: synthetic.sphere(5, ambient_dim=2), "ambient_dim of at least 3"),
    (lambda: synthetic.swiss_roll(5, turns=(2.0, 1.0)), "more_turns"),
    (lambda: synthetic.swiss_roll(5, height=0.0), "height"),
    (lambda: synthetic.torus(5, major=1.0, minor=1.0), "meets itself"),
    (lambda: synthetic.mobius_band(5, half_width=1.0), "half_width"),
    (lambda: synthetic.mobius_band(5, half_twists=0.5), "half_twists"),
    (lambda: synthetic.crossing_planes(5, 2, shared=0.5), "shared must be a whole"),
    (lambda: synthetic.clifford_torus(5, ()), "radius"),
    (lambda: synthetic.closed_curve(5, 0), "harmonics"),
    (lambda: synthetic.coils(5, 2), "of at least 3"),
    (lambda: synthetic.coils(5, 3, 0), "copies"),
    (lambda: synthetic.crossing_planes(5, 2, shared=2), "shared"),
    (lambda: synthetic.crossing_planes(5, angle=2.0), "angle"),
    (lambda: synthetic.cone(5, 1), "of at least 2"),
    (lambda: synthetic.cone(5, half_angle=1.6), "half_angle"),
    (lambda: synthetic.pierced_disc(5, line_share=1.0), "line_share"),
    (lambda: synthetic.line_into_disc(5, line_share=0.0), "line_share"),
    (lambda: synthetic.line_into_disc(5, length=0.0), "length"),
    (lambda: synthetic.cusp(5, extent=0.0), "extent"),
    (lambda: synthetic.figure_eight(5, scale=math.inf), "scale"),
    (lambda: synthetic.torus(5).geodesics(), "no geodesic distances"),
    (lambda: synthetic.saddle(5).near_boundary(0.1), "no distance to its boundary"),
    (lambda: synthetic.sphere(5).geodesics([5]), r"0\.\.4"),
    (lambda: synthetic.sphere(5).geodesics([0.5]), "indices"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_parameters_are_one_clear_error(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
