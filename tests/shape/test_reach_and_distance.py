"""Reach and distance to the manifold against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.datasets import synthetic
from immersion.sampled.graph import neighbor_graph
from immersion.sampled.shape.projection import distance_to_manifold
from immersion.sampled.shape.reach import reach


def two_planes(n: int, gap: float, noise: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    height = np.where(np.arange(n) % 2, gap / 2, -gap / 2)
    x = np.concatenate([rng.uniform(-1, 1, size=(n, 2)), height[:, None]], axis=1)
    return x + noise * rng.normal(size=x.shape)


def cloud(name: str, noise: float) -> tuple[np.ndarray, int, float]:
    """Points, dimension and reach."""
    if name == "sphere":
        return synthetic.sphere(3000, radius=2, noise=noise).points, 2, 2.0
    if name == "three-sphere":
        return synthetic.sphere(3000, 3, radius=2, noise=noise).points, 3, 2.0
    if name == "thin torus":
        return synthetic.torus(3000, major=2, minor=0.7, noise=noise).points, 2, 0.7
    if name == "torus with a narrow hole":
        return synthetic.torus(3000, major=1.5, minor=1, noise=noise).points, 2, 0.5
    return two_planes(3000, 0.6, noise), 2, 0.3


@pytest.mark.parametrize("noise", [0.0, 0.004])
@pytest.mark.parametrize(
    "name", ["sphere", "three-sphere", "thin torus", "torus with a narrow hole", "two planes"]
)
def test_the_reach(name: str, noise: float) -> None:
    points, dim, truth = cloud(name, noise)
    found = reach(neighbor_graph(points, 24), dim, sample=1500)
    assert found.decidable
    assert abs(found.value - truth) < 2.5 * found.stderr
    assert found.stderr < (0.15 if noise else 0.08) * truth


def test_the_reach_goes_with_length_and_not_with_place() -> None:
    x = synthetic.torus(1000, noise=0.002).points
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    plain, moved = (reach(neighbor_graph(each, 20), 2) for each in (x, 10 * x @ turn.T + 4))
    assert moved.value == pytest.approx(10 * plain.value, rel=1e-5)
    assert moved.stderr == pytest.approx(10 * plain.stderr, rel=1e-4)


def test_flat_data_have_no_finite_reach() -> None:
    for noise in (0.0, 0.01):
        found = reach(neighbor_graph(two_planes(1500, 0.0, noise), 20), 2)
        assert math.isnan(found.value) and not found.decidable
        assert "flat" in found.caveats[0]


def test_without_tangent_spaces_there_is_no_reach() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(20, 3)), 20, axis=0)
    found = reach(neighbor_graph(x, 12), 2)
    assert not found.decidable and found.n == 0
    assert any("not decidable" in caveat for caveat in found.caveats)


def test_the_draw_is_in_the_settings() -> None:
    graph = neighbor_graph(synthetic.sphere(400, random_state=0).points, 12)
    one, same = (reach(graph, 2, sample=100, seed=3) for _ in range(2))
    assert one == same and one.settings["sample"] == 100 and one.settings["seed"] == 3
    with pytest.raises(InputError, match="sample must be at least 1"):
        reach(graph, 2, sample=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_heights_above_a_sphere(noise: float, dtype: type) -> None:
    made = synthetic.sphere(2500, radius=2, noise=noise, random_state=0)
    rng = np.random.default_rng(1)
    out = rng.normal(size=(400, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    height = rng.uniform(-0.9, 0.9, size=400)
    graph = neighbor_graph(made.points.astype(dtype), 30)
    found = distance_to_manifold(graph, ((2 + height)[:, None] * out).astype(dtype), 2)
    assert found.decided.mean() > 0.98
    ok = found.decided
    error = np.abs(found.distance - np.abs(height))[ok]
    assert (error < 2 * found.stderr[ok] + 1e-6).mean() > 0.93
    # With noise s the chart rests on 31 points: s / sqrt(31 / 6) in its middle.
    assert np.median(error) < (noise / 2 if noise else 2e-6)
    miss = np.linalg.norm(found.foot[ok] - 2 * out[ok], axis=1)
    assert np.median(miss) < (0.02 if noise else 2e-5)


def test_noisy_points_lie_off_their_manifold_by_their_noise() -> None:
    made = synthetic.torus(4000, noise=0.02, random_state=0)
    found = distance_to_manifold(neighbor_graph(made.points, 60), made.points, 2)
    ok = found.decided
    assert ok.mean() > 0.95
    # One normal direction: the distance is |N(0, s)|, and the chart's own error adds to it.
    typical = math.sqrt(float((found.distance[ok] ** 2).mean()))
    assert 0.85 < typical / 0.02 < 1.15
    clean = distance_to_manifold(neighbor_graph(made.points, 60), made.clean, 2)
    assert np.median(clean.distance) < 0.4 * 0.02


def test_a_curve_in_the_plane_and_its_evolute() -> None:
    """(0, h) above the ellipse's flat side: the foot is the end of the short axis."""
    turn = 2 * np.pi * (np.arange(600) + 0.3) / 600
    ellipse = np.stack([2 * np.cos(turn), np.sin(turn)], axis=1)
    found = distance_to_manifold(neighbor_graph(ellipse, 8), [[0, 1.5], [0, 0.8], [2.3, 0]], 1)
    np.testing.assert_allclose(found.distance, [0.5, 0.2, 0.3], atol=1e-6)
    np.testing.assert_allclose(found.foot, [[0, 1], [0, 1], [2, 0]], atol=1e-4)


def test_beyond_the_boundary_the_distance_is_a_bound() -> None:
    rng = np.random.default_rng(0)
    sheet = np.concatenate([rng.uniform(size=(1500, 2)), np.zeros((1500, 1))], axis=1)
    found = distance_to_manifold(neighbor_graph(sheet, 16), [[3.0, 0.5, 0], [0.5, 0.5, 0.2]], 2)
    assert found.decided.tolist() == [False, True]
    assert found.distance[0] == pytest.approx(
        np.linalg.norm(sheet - [3.0, 0.5, 0], axis=1).min(), rel=1e-12
    )
    np.testing.assert_array_equal(found.foot[0], sheet[found.nearest[0]])
    assert found.distance[1] == pytest.approx(0.2, abs=1e-12)


def test_length_turn_and_place() -> None:
    x = synthetic.torus(1000, noise=0.005, random_state=0).points
    q = 1.05 * x[:50]
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    one = distance_to_manifold(neighbor_graph(x, 20), q, 2)
    other = distance_to_manifold(neighbor_graph(7 * x @ turn.T + 2, 20), 7 * q @ turn.T + 2, 2)
    np.testing.assert_array_equal(one.nearest, other.nearest)
    np.testing.assert_allclose(other.distance, 7 * one.distance, rtol=1e-8)
    np.testing.assert_allclose(other.stderr, 7 * one.stderr, rtol=1e-6)
    np.testing.assert_allclose((other.foot - 2) @ turn, 7 * one.foot, atol=1e-8)


def test_hard_places() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(20, 3)), 20, axis=0)
    found = distance_to_manifold(neighbor_graph(x, 12), x[::7] + 0.1, 2)
    assert not found.decided.any()
    np.testing.assert_allclose(found.distance, 0.1 * math.sqrt(3), rtol=1e-6)
    sphere = synthetic.sphere(300, random_state=0).points
    graph = neighbor_graph(sphere, 12)
    # The centre has every foot: any is right, and Newton's matrix is singular.
    centre = distance_to_manifold(graph, [[0.0, 0.0, 0.0]], 2)
    assert centre.distance[0] == pytest.approx(1, abs=1e-3)
    whole = distance_to_manifold(graph, [[0, 0, 2]], 2)
    assert whole.distance[0] == pytest.approx(1, abs=1e-3)


def test_bad_input_is_one_clear_error() -> None:
    graph = neighbor_graph(synthetic.sphere(100, random_state=0).points, 12)
    for queries, says in (
        ([[0.0, 1.0]], "2 coordinates"),
        ([[math.nan, 0.0, 1.0]], "NaN"),
        ([0.0, 1.0, 2.0], "shape"),
    ):
        with pytest.raises(InputError, match=says):
            distance_to_manifold(graph, queries, 2)
    with pytest.raises(InputError, match="not be 3"):
        reach(graph, 3)
