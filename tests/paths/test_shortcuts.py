"""Curvature against linear programmes, and pruning where the shortcuts are known."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse.csgraph import dijkstra

from immersion.core.errors import InputError
from immersion.sampled.graph import neighbor_graph
from immersion.sampled.paths.components import components
from immersion.sampled.paths.edges import EdgeGraph, as_edges
from immersion.sampled.paths.shortcuts import edge_curvature, prune_shortcuts


def by_programme(edges: EdgeGraph, x: int, y: int, hops: np.ndarray) -> float:
    """1 - W1 of the uniform measures, as a linear programme over all transports."""
    near = [i for i in edges.indices[edges.starts[x] : edges.starts[x + 1]] if i != y]
    far = [i for i in edges.indices[edges.starts[y] : edges.starts[y + 1]] if i != x]
    if not near or not far:
        return math.nan
    cost = hops[np.ix_(near, far)]
    rows = np.kron(np.eye(len(near)), np.ones(len(far)))
    columns = np.kron(np.ones(len(near)), np.eye(len(far)))
    masses = [1 / len(near)] * len(near) + [1 / len(far)] * len(far)
    return 1 - linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=masses).fun


@pytest.mark.parametrize(("n", "width", "k"), [(60, 2, 4), (50, 20, 5), (40, 1, 2), (25, 3, 8)])
def test_curvature_is_that_of_the_linear_programme(n: int, width: int, k: int) -> None:
    edges = as_edges(neighbor_graph(np.random.default_rng(n).normal(size=(n, width)), k))
    ends, curvature = edge_curvature(edges)
    hops = dijkstra(edges.to_scipy(), unweighted=True)
    expected = [by_programme(edges, x, y, hops) for x, y in ends.tolist()]
    np.testing.assert_allclose(curvature, expected, atol=1e-9)
    assert np.nanmin(curvature) >= -2 and np.nanmax(curvature) <= 1


def graph_of(pairs: list[tuple[int, int]], n: int) -> EdgeGraph:
    origin = neighbor_graph(np.arange(float(n))[:, None], 1)
    return as_edges(origin).with_edges(np.array(pairs), np.ones(len(pairs), np.float32))


def test_known_curvatures() -> None:
    complete = graph_of([(i, j) for i in range(6) for j in range(i)], 6)
    np.testing.assert_array_equal(edge_curvature(complete)[1], 1)
    # A cycle of six: the one neighbour of x goes three edges to that of y.
    cycle = graph_of([(i, (i + 1) % 6) for i in range(6)], 6)
    np.testing.assert_array_equal(edge_curvature(cycle)[1], -2)
    # A cycle of four: they are neighbours.
    square = graph_of([(i, (i + 1) % 4) for i in range(4)], 4)
    np.testing.assert_array_equal(edge_curvature(square)[1], 0)
    star = graph_of([(0, i) for i in range(1, 5)], 5)
    assert np.isnan(edge_curvature(star)[1]).all()


def swiss_roll(n: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    t = 1.5 * np.pi * (1 + 2 * rng.random(n))
    flat = np.column_stack([t * np.cos(t), 20 * rng.random(n), t * np.sin(t)])
    return flat + noise * rng.normal(size=(n, 3)), t


def test_shortcuts_of_a_noisy_swiss_roll_are_found_and_nothing_else() -> None:
    points, t = swiss_roll(4000, 0.8, 0)
    found = prune_shortcuts(neighbor_graph(points, 20))
    shortcut = np.abs(t[found.ends[:, 0]] - t[found.ends[:, 1]]) > 2
    assert shortcut.sum() > 15
    assert (found.removed & shortcut).sum() >= 0.95 * shortcut.sum()
    assert (found.removed & ~shortcut).sum() <= 1e-4 * len(found.ends)
    assert found.pieces == (1, 1)
    assert found.graph.m == len(found.ends) - found.removed.sum()
    assert found.caveats == ()


def test_where_it_cannot_tell_it_says_so() -> None:
    """Noise without shortcuts to find, in ten dimensions with few neighbours."""
    x = np.random.default_rng(0).normal(size=(1000, 10))
    found = prune_shortcuts(neighbor_graph(x, 5))
    assert "% of the edges were removed" in found.caveats[0]
    assert (
        found.caveats[1] == f"the graph fell from {found.pieces[0]} into {found.pieces[1]} pieces"
    )


def test_a_clean_sphere_keeps_all_edges() -> None:
    x = np.random.default_rng(0).normal(size=(2000, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = prune_shortcuts(neighbor_graph(x, 20))
    assert not found.removed.any()
    assert found.threshold == pytest.approx(-0.2)
    assert found.reach == pytest.approx(0.99 * math.pi**2 / (2 * math.sqrt(0.24)))


def test_detours_are_distances_without_the_suspected_edges() -> None:
    points, _ = swiss_roll(600, 1.0, 1)
    edges = as_edges(neighbor_graph(points, 8))
    found = prune_shortcuts(edges)
    suspected = found.curvature < found.threshold
    assert suspected.sum() > 50
    np.testing.assert_array_equal(np.isnan(found.detour), ~suspected)
    _, lengths = edges.edges()
    rest = edges.with_edges(found.ends[~suspected], lengths[~suspected])
    between = dijkstra(rest.to_scipy().astype(np.float64))
    matrix = edges.to_scipy()
    local = matrix.sum(axis=1) / edges.degrees
    for edge in np.flatnonzero(suspected).tolist():
        i, j = found.ends[edge]
        expected = between[i, j] / max(local[i], local[j])
        if expected > found.reach:
            assert found.detour[edge] == np.inf
            assert found.removed[edge] or found.kept_by_need[edge]
        else:
            assert found.detour[edge] == pytest.approx(expected, rel=1e-6)
            assert not found.removed[edge]


def test_no_point_is_left_alone() -> None:
    """Few neighbours: whole neighbourhoods are suspected."""
    points, _ = swiss_roll(500, 1.5, 2)
    edges = as_edges(neighbor_graph(points, 3))
    found = prune_shortcuts(edges, delta=0.55)
    assert found.removed.any()
    assert (found.graph.degrees > 0).all()
    assert found.pieces == (
        components(edges).max() + 1,
        components(found.graph).max() + 1,
    )


def test_threads_change_nothing() -> None:
    points, _ = swiss_roll(1500, 1.0, 3)
    graph = neighbor_graph(points, 10)
    first = prune_shortcuts(graph)
    try:
        numba.set_num_threads(1)
        second = prune_shortcuts(graph)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    np.testing.assert_array_equal(first.curvature, second.curvature)
    np.testing.assert_array_equal(first.detour, second.detour)


def test_duplicates_and_small_graphs() -> None:
    equal = prune_shortcuts(neighbor_graph(np.ones((30, 2)), 4))
    assert not equal.removed.any()
    two = prune_shortcuts(neighbor_graph([[0.0], [1.0]], 1))
    assert np.isnan(two.curvature).all() and two.graph.m == 1
    nothing = graph_of([(0, 1)], 3)
    nothing = nothing.with_edges(np.empty((0, 2), np.int64), np.empty(0, np.float32))
    assert prune_shortcuts(nothing).pieces == (3, 3)


@pytest.mark.parametrize("bad", [{"delta": 0.4}, {"delta": math.nan}, {"distortion": 0.0}])
def test_parameters_outside_their_range(bad: dict[str, float]) -> None:
    graph = neighbor_graph(np.random.default_rng(0).normal(size=(20, 2)), 3)
    with pytest.raises(InputError, match="lies between"):
        prune_shortcuts(graph, **bad)
