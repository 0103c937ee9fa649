"""Points, curvature and distances against parametrisations and derivatives of their own."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist

from immersion.datasets import synthetic
from immersion.sampled.graph import neighbor_graph
from synthetic.charts import CASES, UNIONS, Case


def by_name(case: Case) -> str:
    return case.name


def curvatures(case: Case, at: np.ndarray) -> tuple[float, float]:
    """Scalar curvature and length of tr(II) / d, from derivatives of the chart.

    Gauss: with II the normal part of the second derivatives, scalar = |tr II|^2 - |II|^2.
    """
    chart = case.chart(torch.as_tensor(at))
    zero = torch.zeros(case.dim, dtype=torch.float64)
    J = torch.func.jacfwd(chart)(zero)
    second = torch.func.jacfwd(torch.func.jacfwd(chart))(zero)
    q, r = torch.linalg.qr(J)
    normal = second - torch.einsum("Ae,Be,Bij->Aij", q, q, second)
    inverse = torch.linalg.inv(r)
    form = torch.einsum("Aij,ie,jf->Aef", normal, inverse, inverse)
    trace = torch.einsum("Aee->A", form)
    return float(trace.square().sum() - form.square().sum()), float(trace.norm()) / case.dim


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_points_lie_where_their_coordinates_say(case: Case) -> None:
    found = case.make(200, random_state=3)
    assert found.points.shape == (200, case.ambient) and found.dim == case.dim
    for row in range(0, 200, 20):
        chart = case.chart(torch.as_tensor(found.coordinates[row]))
        zero = torch.zeros(case.dim, dtype=torch.float64)
        np.testing.assert_allclose(found.clean[row], chart(zero).numpy(), atol=1e-14 * 100)


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_curvatures_are_those_of_the_parametrisation(case: Case) -> None:
    """Derivatives are exact; 1e-9 of the squared second form is left to its cancellation."""
    found = case.make(60, random_state=4)
    for row in range(0, 60, 3):
        scalar, mean = curvatures(case, found.coordinates[row])
        size = 1 + mean**2 * case.dim**2
        assert found.mean_curvature[row] == pytest.approx(mean, rel=1e-8, abs=1e-9)
        assert found.scalar_curvature[row] == pytest.approx(scalar, rel=1e-8, abs=1e-9 * size)
        if case.dim == 2:
            assert found.gaussian_curvature[row] == found.scalar_curvature[row] / 2
        else:
            assert math.isnan(found.gaussian_curvature[row])


def test_total_curvature_is_that_of_the_topology() -> None:
    """Gauss and Bonnet: mean curvature times area is 2 pi chi; the error is that of the mean."""
    ring = synthetic.torus(200_000, random_state=0).gaussian_curvature
    assert abs(ring.mean()) < 4.5 * ring.std() / math.sqrt(len(ring))
    ball = synthetic.sphere(10, radius=3.0).gaussian_curvature
    np.testing.assert_allclose(ball * 4 * math.pi * 9, 4 * math.pi)


WITH_DISTANCES = [case for case in CASES + UNIONS if case.make(2).distances is not None]


@pytest.mark.parametrize("case", WITH_DISTANCES, ids=by_name)
def test_distances_are_a_metric_that_the_chord_approaches(case: Case) -> None:
    found = case.make(400, random_state=5)
    d = found.geodesics()
    chord = cdist(found.clean, found.clean)
    np.testing.assert_allclose(d, d.T, atol=1e-9)
    assert np.abs(np.diagonal(d)).max() < 1e-12
    assert (d >= chord * (1 - 1e-9) - 1e-9).all()
    for i in range(0, 400, 40):
        assert (d[i][:, None] <= d[i][None, :] + d + 1e-9).all()
    np.testing.assert_array_equal(found.geodesics([3, 0]), d[[3, 0]])
    np.testing.assert_allclose(
        case.make(400, random_state=5, ambient_dim=40).geodesics(), d, atol=1e-12
    )


CUSPS = ("cusp", "cuspidal_edge")  # neighbours short-cut between the sides
SMOOTH = [case for case in WITH_DISTANCES if case.dim <= 2 and case.name not in CUSPS]


@pytest.mark.parametrize("case", [case for case in SMOOTH if case not in UNIONS], ids=by_name)
def test_distances_are_lengths_of_shortest_paths(case: Case) -> None:
    """A path through neighbours is at least as long as the geodesic, but for its chords.

    Of 6,000 points, k = 16: zigzag adds 6% at most to paths of many steps; chords take less than
    2% off. A wrong identification or metric is off by far more.
    """
    found = case.make(6000, random_state=6)
    graph = neighbor_graph(found.clean, 16).to_scipy()
    sources = np.arange(20)
    paths = np.asarray(dijkstra(graph, directed=False, indices=sources))
    true = found.geodesics(sources)
    far = true > 0.35 * true.max()
    ratio = paths[far] / true[far]
    assert np.isfinite(ratio).all()
    assert np.quantile(ratio, 0.001) > 0.98 and np.quantile(ratio, 0.999) < 1.1
    assert 0.99 < np.median(ratio) < 1.06


@pytest.mark.parametrize("case", UNIONS, ids=by_name)
def test_distances_across_a_crossing_are_the_least_way_through_it(case: Case) -> None:
    """Neighbours cut the corner at a crossing, so the way through it is minimised instead."""
    found = case.make(60, random_state=6)
    d, x = found.geodesics(), found.clean
    first = np.eye(x.shape[1])[0]
    gate = first * (case.name == "line_into_disc")
    first = first * (case.name == "crossing_planes")
    for i in range(0, 60, 5):
        for j in range(60):
            if found.sheet[i] == found.sheet[j]:
                assert d[i, j] == pytest.approx(np.linalg.norm(x[i] - x[j]), abs=1e-12)
            else:
                ends = x[[i, j]] - gate
                found_way = minimize_scalar(
                    lambda t, ends=ends: np.linalg.norm(ends - t * first, axis=1).sum(),
                    bounds=(-1, 1),
                    method="bounded",
                )
                least = found_way.fun
                assert d[i, j] == pytest.approx(least, abs=1e-9)


def test_distances_over_a_cusp_are_lengths_of_straight_ways() -> None:
    """In arc length and height the surface is flat: straight lines there, measured in space."""
    found = synthetic.cuspidal_edge(40, random_state=6)
    d = found.geodesics()
    t = np.linspace(-1, 1, 400_001)
    curve = np.stack([t * t, t**3], axis=1)
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    arc = np.concatenate([[0], steps.cumsum()])
    for i, j in ((0, 1), (2, 30), (7, 8), (11, 25), (39, 3)):
        ends = np.interp(found.coordinates[[i, j], 0], t, arc)
        along = np.interp(np.linspace(*ends, 20_001), arc, t)
        height = np.linspace(*found.coordinates[[i, j], 1], 20_001)
        way = np.stack([along**2, along**3, height], axis=1)
        length = np.linalg.norm(np.diff(way, axis=0), axis=1).sum()
        # A polygon of 20,000 pieces cuts the corner at the cusp, by half a piece at most.
        assert d[i, j] == pytest.approx(length, rel=2.5e-5)


def test_ways_along_a_figure_eight_stay_on_their_loop_or_pass_the_crossing() -> None:
    """Arc lengths from Gauss's: a loop of the lemniscate is twice Gamma(1/4)^2 / (2 sqrt(2 pi))."""
    found = synthetic.figure_eight(200, scale=2.0)
    loop = 2 * math.gamma(0.25) ** 2 / (2 * math.sqrt(2 * math.pi))
    d, t = found.geodesics(), found.coordinates[:, 0]

    def speed(a: float) -> float:
        return 2 / math.sqrt(1 + math.sin(a) ** 2)

    crossings = (math.pi / 2, 3 * math.pi / 2, -math.pi / 2, 5 * math.pi / 2)
    to_crossing = [min(abs(quad(speed, a, c)[0]) for c in crossings) for a in t]
    np.testing.assert_allclose(found.singular_distance, to_crossing, atol=1e-12)
    assert found.singular_distance.max() < loop / 2 and np.isinf(found.boundary_distance).all()
    left = np.cos(t) < 0
    np.testing.assert_array_equal(found.sheet == 0, left)
    for i, j in ((0, 1), (2, 30), (7, 8), (11, 25), (39, 3), (50, 60)):
        straight = abs(quad(speed, t[i], t[j])[0])
        # Between points of one loop the way in t leaves the loop when it passes t = 0, 2 pi.
        if left[i] != left[j]:
            way = to_crossing[i] + to_crossing[j]
        else:
            way = min(straight % loop, loop - straight % loop)
        assert d[i, j] == pytest.approx(way, abs=1e-10)


def test_antipodes_and_near_points_keep_their_digits() -> None:
    ball = synthetic.sphere(300, 3)
    d, unit = ball.geodesics(), ball.coordinates
    with mpmath.workdps(50):
        for i, j in ((0, 1), (5, 200), (17, 80)):
            x, y = ([mpmath.mpf(float(v)) for v in unit[row]] for row in (i, j))
            norm = mpmath.sqrt(sum(v * v for v in x)) * mpmath.sqrt(sum(v * v for v in y))
            truth = mpmath.acos(sum(a * b for a, b in zip(x, y, strict=True)) / norm)
            assert abs(d[i, j] - float(truth)) < 1e-15 * 10


def test_boundary_distances_are_lengths_of_curves() -> None:
    """The straight way to the boundary, its length integrated from the points."""
    roll = synthetic.swiss_roll(40)
    for row in range(40):
        t, h = roll.coordinates[row]
        ends = [
            quad(lambda s: math.hypot(1, s), *sorted((t, end)))[0]
            for end in (1.5 * math.pi, 4.5 * math.pi)
        ]
        assert roll.boundary_distance[row] == pytest.approx(min(*ends, h, 21 - h), abs=1e-9)
    bowl = synthetic.paraboloid(40, 3, bend=2.0, radius=1.5)
    for row in range(40):
        r = np.linalg.norm(bowl.coordinates[row])
        length = quad(lambda s: math.hypot(1, 2 * s), r, 1.5)[0]
        assert bowl.boundary_distance[row] == pytest.approx(length, abs=1e-9)
    band = synthetic.mobius_band(40)
    for row in range(40):
        u, w = band.coordinates[row]
        edge = math.copysign(0.5, w)
        rim = (1 + edge * math.cos(u / 2)) * np.array([math.cos(u), math.sin(u), 0])
        rim[2] = edge * math.sin(u / 2)
        length = np.linalg.norm(band.clean[row] - rim)  # the line lies in the band
        assert band.boundary_distance[row] == pytest.approx(length, abs=1e-12)
    edge, curve = synthetic.cuspidal_edge(40), synthetic.cusp(40)
    for row in range(40):
        t = abs(curve.coordinates[row, 0])
        tip, end = (quad(lambda s: s * math.hypot(2, 3 * s), *ends)[0] for ends in ((0, t), (t, 1)))
        assert curve.singular_distance[row] == pytest.approx(tip, abs=1e-10)
        assert curve.boundary_distance[row] == pytest.approx(end, abs=1e-10)
        t, h = edge.coordinates[row]
        tip, end = (
            quad(lambda s: s * math.sqrt(4 + 9 * s * s), *ends)[0]
            for ends in ((0, abs(t)), (abs(t), 1))
        )
        assert edge.singular_distance[row] == pytest.approx(tip, abs=1e-10)
        assert edge.boundary_distance[row] == pytest.approx(min(end, h, 2 - h), abs=1e-9)


def test_singular_sets_are_where_they_should_be() -> None:
    planes = synthetic.crossing_planes(500, angle=1.0)
    first = planes.clean[planes.sheet == 0]
    assert np.abs(first[:, 2]).max() == 0
    # The crossing is the first axis, from which both planes recede at unit speed.
    off = np.linalg.norm(planes.clean[:, 1:], axis=1)
    np.testing.assert_allclose(planes.singular_distance, off, atol=1e-14)
    tip = synthetic.cone(500)
    np.testing.assert_allclose(tip.singular_distance, np.linalg.norm(tip.clean, axis=1))
    np.testing.assert_array_equal(tip.near_singular(0.3), tip.singular_distance <= 0.3)
    disc = synthetic.pierced_disc(500)
    on_line = disc.dims == 1
    assert (disc.clean[on_line, :2] == 0).all() and (disc.clean[~on_line, 2] == 0).all()
    stick = synthetic.line_into_disc(500, length=0.5)
    on_line, r = stick.dims == 1, np.linalg.norm(stick.clean, axis=1)
    assert (stick.clean[on_line, 1] == 0).all() and (r[~on_line] <= 1).all()
    assert r[on_line].min() >= 1 and r.max() <= 1.5
    np.testing.assert_array_equal(
        stick.singular_distance, np.linalg.norm(stick.clean - [1, 0], axis=1)
    )
    np.testing.assert_allclose(
        stick.boundary_distance[on_line], np.minimum(r - 1, 1.5 - r)[on_line], atol=1e-15
    )
    np.testing.assert_allclose(stick.boundary_distance[~on_line], (1 - r)[~on_line], atol=1e-15)
    smooth = synthetic.sphere(20)
    assert np.isinf(smooth.singular_distance).all() and np.isinf(smooth.boundary_distance).all()
    assert not smooth.near_singular(9.0).any() and not smooth.near_boundary(9.0).any()
