"""Tangent spaces and their angles against surfaces whose normals are known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.datasets import synthetic
from immersion.known.sphere import Sphere
from immersion.sampled.graph import NeighborGraph, neighbor_graph
from immersion.sampled.shape.charts import fewest_neighbors
from immersion.sampled.shape.spaces import tangent_angles, tangent_spaces
from immersion.sampled.tangents import local_tangents


def surface(name: str, n: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit normals."""
    if name == "sphere":
        made = synthetic.sphere(n, radius=2, noise=noise, random_state=2)
        return made.points, made.coordinates
    if name == "torus":
        made = synthetic.torus(n, noise=noise, random_state=2)
        a, b = made.coordinates.T
        normal = [np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)]
        return made.points, np.stack(normal, axis=1)
    made = synthetic.paraboloid(n, noise=noise, random_state=2)
    normal = np.concatenate([-made.coordinates, np.ones((n, 1))], axis=1)
    return made.points, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def lean(basis: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Angle (n,) to the true space: root mean square over the directions of the basis."""
    return np.sqrt((np.einsum("ndi,ni->nd", basis, normal) ** 2).mean(axis=1))


# Factors measured at n = 4,000, k = 30 are 30,000 (sphere), 32 (torus) and 4,000 (paraboloid, with
# a boundary); with noise of a third of what the patch bends by, 4.
@pytest.mark.parametrize(
    ("name", "noise", "factor"),
    [
        ("sphere", 0.0, 1000),
        ("torus", 0.0, 15),
        ("paraboloid", 0.0, 500),
        ("torus", 0.003, 1.5),
    ],
)
def test_the_correction_shrinks_the_error(name: str, noise: float, factor: float) -> None:
    points, normal = surface(name, 4000, noise)
    graph = neighbor_graph(points, 30)
    plain = lean(local_tangents(graph, 2).basis, normal)
    found = tangent_spaces(graph, 2)
    error = lean(found.basis, normal)
    assert np.sqrt((plain**2).mean()) > factor * np.sqrt((error**2).mean())
    # Two standard errors hold the truth at 95% of the points or more.
    assert (error < 2 * found.stderr).mean() > 0.95


def test_the_error_of_noise_is_not_far_too_large() -> None:
    points, normal = surface("sphere", 3000, 0.02)
    found = tangent_spaces(neighbor_graph(points, 60), 2)
    error = np.sqrt((lean(found.basis, normal) ** 2).mean())
    # Higher orders that noise could hide are in it, which doubles it.
    assert 1 < np.sqrt((found.stderr**2).mean()) / error < 3
    assert 0.8 < np.median(found.noise) / 0.02 < 1.2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_flat_subspace_is_found_to_rounding(dtype: type) -> None:
    rng = np.random.default_rng(0)
    frame, _ = np.linalg.qr(rng.normal(size=(20, 3)))
    x = (rng.normal(size=(500, 3)) @ frame.T).astype(dtype)
    found = tangent_spaces(neighbor_graph(x, 20), 3)
    assert found.decided.all()
    outside = found.basis - found.basis @ frame @ frame.T
    assert np.abs(outside).max() < (1e-5 if dtype == np.float32 else 1e-12)
    assert found.stderr.max() < (1e-5 if dtype == np.float32 else 1e-12)


def test_many_coordinates_cost_no_digit() -> None:
    """D = 200 > k goes through the Gram matrix of the patch."""
    x = synthetic.torus(800, random_state=0).points
    wide = x @ np.linalg.qr(np.random.default_rng(1).normal(size=(200, 3)))[0].T
    near, far = (tangent_spaces(neighbor_graph(each, 20), 2) for each in (x, wide))
    np.testing.assert_allclose(near.stderr, far.stderr, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(near.noise, far.noise, rtol=1e-5, atol=1e-9)


def test_length_turn_and_place_change_nothing() -> None:
    x = synthetic.torus(600, noise=0.01, random_state=0).points
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    plain = tangent_spaces(neighbor_graph(x, 20), 2)
    moved = tangent_spaces(neighbor_graph(1000 * x @ turn.T + [5, -7, 3], 20), 2)
    both = np.linalg.svd(plain.basis @ turn.T @ moved.basis.swapaxes(1, 2))[1]
    np.testing.assert_allclose(both, 1, atol=1e-9)
    np.testing.assert_allclose(moved.stderr, plain.stderr, rtol=1e-6)
    np.testing.assert_allclose(moved.noise, 1000 * plain.noise, rtol=1e-6)


def test_angles_between_neighbours_on_a_sphere() -> None:
    """The planes at x and y make the angle between x and y."""
    graph = neighbor_graph(synthetic.sphere(2000, radius=3, random_state=0).points, 16)
    angles = tangent_angles(graph, tangent_spaces(graph, 2))
    truth = 2 * np.arcsin(graph.distances / 6)
    assert np.abs(angles.largest - truth).max() < 1e-3
    assert (np.abs(angles.largest - truth) < 3 * angles.stderr).mean() > 0.95


def test_angles_of_higher_spaces_and_of_equal_ones() -> None:
    rng = np.random.default_rng(0)
    frame = np.linalg.qr(rng.normal(size=(8, 3)))[0].T
    flat = neighbor_graph(rng.normal(size=(400, 3)) @ frame, 20)
    assert tangent_angles(flat, tangent_spaces(flat, 3)).largest.max() < 1e-12
    # Two circles at right angles: the torus of angles, whose tangents turn with both.
    turn = rng.uniform(0, 2 * np.pi, size=(2500, 2))
    pair = np.concatenate([np.cos(turn), np.sin(turn)], axis=1)
    graph = neighbor_graph(pair, 20)
    angles = tangent_angles(graph, tangent_spaces(graph, 2))
    between = np.abs((turn[:, None] - turn[graph.indices] + np.pi) % (2 * np.pi) - np.pi)
    error = np.abs(angles.largest - between.max(axis=2))
    assert (error < 2 * angles.stderr + 1e-9).mean() > 0.95
    assert np.median(error) < 0.01


def test_patches_that_decide_nothing_say_so() -> None:
    many = np.repeat(np.random.default_rng(0).normal(size=(40, 5)), 25, axis=0)
    lattice = np.stack(np.meshgrid(range(20), range(20), [0.0]), -1).reshape(-1, 3)
    line = np.linspace(0, 1, 100)[:, None] * np.ones(4)
    for x, dim in ((many, 2), (np.full((50, 3), 2.0), 2), (line, 2)):
        found = tangent_spaces(neighbor_graph(x, 16), dim)
        assert not found.decided.any()
        gram = found.basis @ found.basis.swapaxes(1, 2)
        np.testing.assert_allclose(gram, np.broadcast_to(np.eye(dim), gram.shape), atol=1e-9)
        assert np.isnan(tangent_angles(neighbor_graph(x, 16), found).largest).all()
    # A lattice is flat all the same, where its patch is wide enough for the quadratic.
    flat = tangent_spaces(neighbor_graph(lattice.astype(float), 24), 2)
    assert flat.decided.mean() > 0.5
    assert np.abs(flat.basis[flat.decided][..., 2]).max() < 1e-12


def test_rows_and_threads() -> None:
    graph = neighbor_graph(synthetic.torus(500, random_state=0).points, 16)
    everywhere = tangent_spaces(graph, 2)
    some = tangent_spaces(graph, 2, [7, 3, 7])
    np.testing.assert_allclose(some.basis, everywhere.basis[[7, 3, 7]], atol=1e-14)
    assert tangent_spaces(graph, 2, []).basis.shape == (0, 2, 3)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: tangent_spaces(graph, 2), range(4)):
            np.testing.assert_array_equal(found.basis, everywhere.basis)
            np.testing.assert_array_equal(found.stderr, everywhere.stderr)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_fewest_neighbours_suffice(dim: int) -> None:
    x = synthetic.sphere(500, dim, random_state=0).points
    least = fewest_neighbors(dim)
    assert tangent_spaces(neighbor_graph(x, least), dim).decided.mean() > 0.95
    with pytest.raises(InputError, match=f"k >= {least}"):
        tangent_spaces(neighbor_graph(x, least - 1), dim)


def test_bad_input_is_one_clear_error() -> None:
    x = synthetic.sphere(60, random_state=0).points
    graph = neighbor_graph(x, 12)
    bare = NeighborGraph.from_neighbors(graph.indices, graph.distances)
    bad = [
        (lambda: tangent_spaces(graph, 0), "1..D - 1 = 2"),
        (lambda: tangent_spaces(graph, 3), "not be 3"),
        (lambda: tangent_spaces(bare, 2), "points="),
        (lambda: tangent_spaces(neighbor_graph(x, 12, metric="cosine"), 2), "cosine"),
        (lambda: tangent_spaces(neighbor_graph(x, 12, metric=Sphere(2)), 2), "Euclidean"),
        (lambda: tangent_spaces(graph, 2, [60]), "60"),
        (lambda: tangent_spaces(graph, 2, [0.5]), "float64"),
        (lambda: tangent_angles(graph, tangent_spaces(graph, 2, [1, 2])), "without rows"),
    ]
    for call, says in bad:
        with pytest.raises(InputError, match=says):
            call()
