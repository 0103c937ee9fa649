"""The parts of the tests against independent formulas: caps, their null, the control of places."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest

from immersion.datasets import synthetic
from immersion.measure.singular.patches import measure_patches
from immersion.measure.singular.places import connected, cover, flag
from immersion.measure.singular.voids import (
    cap_share,
    largest_caps,
    section,
    thinned_share,
    void_null,
    void_statistic,
)
from immersion.sampled.graph import neighbor_graph


def ball(rng: np.random.Generator, m: int, k: int, d: int) -> np.ndarray:
    u = rng.normal(size=(m, k, d))
    return u / np.linalg.norm(u, axis=2, keepdims=True) * rng.uniform(size=(m, k, 1)) ** (1 / d)


@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_caps_by_counting(d: int) -> None:
    u = ball(np.random.default_rng(d), 1, 200_000, d)[0, :, 0]
    for s in (-0.6, 0.0, 0.3, 0.8):
        assert abs(float(cap_share(np.array(s), d)) - np.mean(u > s)) < 0.005
        density = np.mean(np.abs(u - s) < 0.05) / 0.1
        assert float(section(np.array(s), d)) == pytest.approx(density, rel=0.08, abs=0.02)


@pytest.mark.parametrize("d", [1, 3])
def test_thinned_caps_by_counting(d: int) -> None:
    rng = np.random.default_rng(d)
    u = ball(rng, 1, 400_000, d)[0, :, 0]
    kept = u[rng.uniform(size=len(u)) < np.exp(-2 * (u + 1))]
    for s in (-0.5, 0.1, 0.6):
        share = thinned_share(np.array([s]), np.array([-2.0]), d)[0]
        assert abs(float(share) - np.mean(kept > s)) < 0.006
    assert thinned_share(np.array([0.1]), np.array([2.0]), d)[0] == cap_share(np.array(0.1), d)


def test_the_density_is_read_off_the_patches() -> None:
    """A sheet with density exp(2 x): log density rises by 2 a unit of length."""
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (60_000, 2))
    u = u[rng.uniform(size=len(u)) < np.exp(2 * (u[:, 0] - 1))][:6000]
    graph = neighbor_graph(u, 64)
    (found,) = measure_patches(graph, (64,), np.full(len(u), 2), directions=True)
    inside = np.abs(u).max(axis=1) < 0.6
    ratio = (found.thinning / found.radius)[inside]
    way = found.outward[inside, 0]
    slope = float((ratio * way).sum() / (way * way).sum())
    assert slope == pytest.approx(2, rel=0.1)


def test_the_largest_cap_of_a_plane_patch_by_brute_force() -> None:
    u = ball(np.random.default_rng(0), 50, 20, 2)
    turn = 2 * np.pi * np.arange(20_000) / 20_000
    every = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    best = (u @ every.T).max(axis=1).min(axis=1)
    extent, direction = largest_caps(u)
    assert (extent >= best - 2e-4).all()  # what a step of the grid can miss
    # A local search ends in the best cap mostly, and in one nearly as large otherwise.
    assert np.mean(extent - best) < 0.02
    assert np.allclose(np.einsum("mkd,md->mk", u, direction).max(axis=1), extent)


def test_caps_of_a_line() -> None:
    u = np.array([[[0.5], [-0.2], [1.0]], [[0.3], [0.6], [1.0]]])
    extent, direction = largest_caps(u)
    assert extent.tolist() == pytest.approx([0.2, -0.3])
    assert direction.ravel().tolist() == [-1.0, -1.0]


@pytest.mark.parametrize(("d", "k"), [(1, 16), (2, 32), (3, 64)])
def test_p_values_are_uniform_in_a_full_ball(d: int, k: int) -> None:
    rng = np.random.default_rng(99)
    u = ball(rng, 4000, k, d)
    u[:, 0] /= np.linalg.norm(u[:, 0], axis=1, keepdims=True)
    p = void_null(d, k, 0).p_values(void_statistic(cap_share(largest_caps(u)[0], d), k))
    assert kstest(p, "uniform").pvalue > 1e-3
    assert abs(np.mean(p <= 0.001) - 0.001) < 4 * math.sqrt(0.001 / 4000)


def test_p_values_fall_and_never_vanish() -> None:
    null = void_null(2, 32, 0)
    p = null.p_values(np.array([0.0, 3.0, 8.0, 20.0, 60.0, np.nan]))
    assert (np.diff(p[:5]) < 0).all() and p[0] <= 1 and p[4] > 0
    assert math.isnan(p[5])


def test_exact_quadratics_leave_nothing() -> None:
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (500, 2))
    bowl = np.concatenate([u, 0.3 * (u**2).sum(axis=1, keepdims=True)], axis=1)
    wide = bowl @ np.linalg.qr(rng.normal(size=(90, 90)))[0][:3]
    for points in (bowl, wide):
        (found,) = measure_patches(neighbor_graph(points, 20), (20,), np.full(500, 2))
        centre = np.linalg.norm(u, axis=1) < 0.1
        assert found.decided.all()
        # Around the bottom the tangent plane is level: curvature .6, and no remainder.
        assert np.allclose(found.bend[centre] / found.radius[centre], 0.6, rtol=0.05)
        assert (np.sqrt(found.residual[centre]) < 2e-3).all()


def test_the_residual_is_the_variance_of_the_noise() -> None:
    m = synthetic.hyperball(3000, 2, ambient_dim=6, noise=0.002)
    (found,) = measure_patches(neighbor_graph(m.points, 30), (30,), np.full(3000, 2))
    assert math.sqrt(float((found.residual_length() ** 2).mean()) / 4) == pytest.approx(
        0.002, rel=0.02
    )


def test_control_of_families() -> None:
    """On uniform p-values anything is flagged in at most 5% of 2,000 draws, and at least in 3%."""
    rng = np.random.default_rng(0)
    family = np.arange(200) // 10
    hits = sum(flag(rng.uniform(size=200), family, 0.05)[0].any() for _ in range(2000))
    assert 60 < hits < 100 + 3 * math.sqrt(95)


def test_strong_families_do_not_loosen_the_others() -> None:
    rng = np.random.default_rng(1)
    family = np.arange(200) // 10
    hits = 0
    for _ in range(1000):
        p = rng.uniform(size=200)
        p[:100] *= 1e-6
        flagged, adjusted, _ = flag(p, family, 0.05)
        assert flagged[:100].all() and (adjusted[:100] < 1e-3).all()
        hits += bool(flagged[100:].any())
    assert hits < 50 + 4 * math.sqrt(50)


def test_undecided_points_are_never_flagged() -> None:
    flagged, adjusted, _ = flag(np.array([np.nan, 1e-9]), np.array([0, 0]), 0.05)
    assert flagged.tolist() == [False, True] and math.isnan(adjusted[0])
    flagged, _, level = flag(np.full(3, np.nan), np.zeros(3, np.int64), 0.05)
    assert not flagged.any() and level == 0


def test_a_cover_reaches_every_point_and_only_neighbours() -> None:
    graph = neighbor_graph(np.random.default_rng(0).uniform(size=(500, 2)), 10)
    family = cover(graph, 10)
    assert (family >= 0).all()
    sizes = np.bincount(family)
    assert sizes.min() >= 1 and sizes.max() <= 11
    assert 500 / 11 <= len(sizes) <= 250


def test_connected_pieces_of_chosen_points() -> None:
    graph = neighbor_graph(np.array([[0.0], [1], [2], [10], [11], [12], [13]]), 2)
    chosen = np.array([True, False, True, True, True, True, False])
    assert connected(graph, 2, chosen).tolist() == [1, -1, 1, 0, 0, 0, -1]
    assert (connected(graph, 2, np.zeros(7, bool)) == -1).all()
