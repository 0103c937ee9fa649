"""Components, and the bridges between them against a spanning tree of all distances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from immersion.core.errors import InputError
from immersion.known.sphere import Sphere
from immersion.sampled.graph import NeighborGraph, neighbor_graph
from immersion.sampled.paths.components import components, connect
from immersion.sampled.paths.edges import as_edges
from immersion.sampled.paths.shortest import shortest_paths


def clusters(seed: int, count: int, width: int, dtype: type = np.float64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 30 * rng.normal(size=(count, width))
    sizes = rng.integers(5, 60, count)
    return np.concatenate(
        [c + rng.normal(size=(size, width)) for c, size in zip(centres, sizes, strict=True)]
    ).astype(dtype)


def least_total(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Lengths of the spanning tree between components, from all distances between them."""
    count = labels.max() + 1
    between = np.zeros((count, count))
    for a in range(count):
        for b in range(a + 1, count):
            between[a, b] = distances[np.ix_(labels == a, labels == b)].min()
    return np.sort(minimum_spanning_tree(between).data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("memory", ["512MB", "20kB"])
@pytest.mark.parametrize(("seed", "count", "width"), [(0, 2, 3), (1, 12, 2), (2, 9, 50)])
def test_bridges_are_a_minimum_spanning_tree(
    seed: int, count: int, width: int, memory: str, dtype: type
) -> None:
    x = clusters(seed, count, width, dtype)
    graph = neighbor_graph(x, 4)
    found = connect(graph, memory=memory)
    labels = found.components
    assert labels.max() >= 1
    exact = cdist(x.astype(np.float64), x.astype(np.float64))
    np.testing.assert_allclose(found.lengths, least_total(exact, labels), rtol=1e-7)
    np.testing.assert_allclose(found.lengths, exact[found.added[:, 0], found.added[:, 1]], 1e-7)
    assert (found.added[:, 0] < found.added[:, 1]).all()
    assert components(found.graph).max() == 0
    assert np.isfinite(shortest_paths(found.graph)).all()
    before = as_edges(graph)
    assert found.graph.m == before.m + len(found.added)
    for (i, j), length in zip(found.added, found.lengths, strict=True):
        assert found.graph.to_scipy()[i, j] == np.float32(length)


def test_far_from_the_origin_rounding_does_not_choose() -> None:
    """Float32 products could not tell these gaps; the exact lengths do."""
    x = np.concatenate([1e5 + np.array([[0.0], [0.01], [0.02]]) + gap for gap in (0, 1, 3.5)])
    x = np.column_stack([x[:, 0], np.full(9, -1e5)])
    found = connect(neighbor_graph(x, 1))
    assert found.added.tolist() == [[2, 3], [5, 6]]


def test_ties_are_ordered_by_the_ends() -> None:
    """Three pairs on a lattice, all bridges of equal length."""
    x = np.array([[0.0, 0], [1, 0], [0, 5], [1, 5], [0, 10], [1, 10]])
    found = connect(neighbor_graph(x, 1))
    assert found.added.tolist() == [[0, 2], [2, 4]]
    assert found.lengths.tolist() == [5.0, 5.0]


def test_duplicates_make_one_component_and_bridges_may_be_short() -> None:
    x = np.repeat([[0.0], [3.0]], 6, axis=0)
    graph = neighbor_graph(x, 3)
    found = connect(graph)
    assert components(graph).tolist() == found.components.tolist()
    assert found.lengths[-1] == 3
    # Duplicates beyond k fall into pieces of their own, which bridges of length zero join.
    assert (found.lengths[:-1] == 0).all()
    assert np.unique(shortest_paths(found.graph)).tolist() == [0, 3]


def test_numbers_by_size_then_by_first_point() -> None:
    x = np.array([0.0, 1, 50, 51, 52, 100, 101])[:, None]
    assert components(neighbor_graph(x, 1)).tolist() == [1, 1, 0, 0, 0, 2, 2]
    graph = neighbor_graph(clusters(3, 8, 2), 3)
    np.testing.assert_array_equal(components(graph), graph.components())


def test_a_connected_graph_comes_back() -> None:
    edges = as_edges(neighbor_graph(np.random.default_rng(0).normal(size=(100, 2)), 8))
    found = connect(edges)
    assert found.graph is edges
    assert found.added.shape == (0, 2) and found.lengths.shape == (0,)


def test_cosine() -> None:
    rng = np.random.default_rng(0)
    angle = np.concatenate([rng.normal(0, 0.05, 30), rng.normal(1.5, 0.05, 20)])
    x = (rng.random(50) + 0.5)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    found = connect(neighbor_graph(x, 3, metric="cosine"))
    np.testing.assert_allclose(
        found.lengths, least_total(cdist(x, x, "cosine"), found.components), rtol=1e-7
    )


def test_on_a_manifold() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([c + 0.05 * rng.normal(size=(15, 3)) for c in np.eye(3)])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = connect(neighbor_graph(x, 4, metric=Sphere(2)), memory="50kB")
    truth = np.arccos(np.clip(x @ x.T, -1, 1))
    np.testing.assert_allclose(found.lengths, least_total(truth, found.components), rtol=1e-9)


def test_without_points_or_metric_pieces_cannot_be_joined() -> None:
    pairs = [[1], [0], [3], [2]]
    known = NeighborGraph.from_neighbors(pairs, np.ones((4, 1)), points=np.eye(4))
    with pytest.raises(InputError, match="'precomputed'"):
        connect(known)
    with pytest.raises(InputError, match="neighbours only"):
        connect(NeighborGraph.from_neighbors(pairs, np.ones((4, 1))))
