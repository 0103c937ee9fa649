"""Local principal components against tangent planes that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.sampled.graph import NeighborGraph, neighbor_graph
from immersion.sampled.tangents import local_tangents


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_flat_subspace_is_found_exactly(dtype: type) -> None:
    rng = np.random.default_rng(0)
    frame, _ = np.linalg.qr(rng.normal(size=(20, 3)))
    graph = neighbor_graph((rng.normal(size=(500, 3)) @ frame.T).astype(dtype), 12)
    found = local_tangents(graph, 3)
    outside = found.basis - found.basis @ frame @ frame.T
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    assert np.abs(outside).max() < tolerance
    np.testing.assert_allclose(found.held_out, 1, atol=tolerance)


def test_the_sphere() -> None:
    """The plane's error is of the order of the patch's radius (curvature 1)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    graph = neighbor_graph(x, 20)
    found = local_tangents(graph, 2)
    tilt = np.abs(np.einsum("ndi,ni->nd", found.basis, x))
    radius = graph.distances[:, -1].mean()
    assert np.sqrt((tilt**2).mean()) < radius / 2
    assert found.held_out.mean() > 0.99


def test_the_basis_is_orthonormal_even_where_points_coincide() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(30, 6)), 10, axis=0)
    found = local_tangents(neighbor_graph(x, 8), 3)
    gram = found.basis @ found.basis.swapaxes(1, 2)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(3), gram.shape), atol=1e-10)
    assert np.isfinite(found.held_out).all()


def test_noise_without_directions_holds_out_at_chance() -> None:
    x = np.random.default_rng(0).normal(size=(400, 200))
    held_out = local_tangents(neighbor_graph(x, 20), 5).held_out
    stderr = held_out.std() / math.sqrt(len(held_out))
    # The step starts at the point itself, which is not part of the patch.
    assert abs(held_out.mean() - 5 / 200) < 0.02 + 3 * stderr


def test_chosen_rows_and_chunks() -> None:
    graph = neighbor_graph(np.random.default_rng(0).normal(size=(100, 5)), 10)
    everywhere = local_tangents(graph, 2)
    some = local_tangents(graph, 2, np.array([7, 3, 7]))
    np.testing.assert_array_equal(some.basis, everywhere.basis[[7, 3, 7]])
    assert some.dim == 2


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**60])
def test_the_unit_of_the_points_changes_nothing(scale: float) -> None:
    """Squares of these float32 numbers, 1e-60 and 1e36, would vanish or overflow when summed."""
    x = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    plain = neighbor_graph(x, 10)
    given = NeighborGraph.from_neighbors(
        plain.indices, plain.distances, points=x * np.float32(scale)
    )
    found, expected = local_tangents(given, 3), local_tangents(plain, 3)
    np.testing.assert_array_equal(found.basis, expected.basis)
    np.testing.assert_array_equal(found.held_out, expected.held_out)


@pytest.mark.parametrize("dim", [0, 9, 6])
def test_dimensions_that_cannot_be_are_refused(dim: int) -> None:
    graph = neighbor_graph(np.random.default_rng(0).normal(size=(40, 5)), 10)
    with pytest.raises(InputError, match=str(dim)):
        local_tangents(graph, dim)
