"""Shortest paths against Dijkstra's algorithm in float64, and against arithmetic by hand."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest
from scipy.sparse.csgraph import dijkstra

from immersion.core.errors import InputError
from immersion.core.progress import Progress, Silent
from immersion.sampled.graph import NeighborGraph, neighbor_graph
from immersion.sampled.paths.edges import EdgeGraph, as_edges
from immersion.sampled.paths.shortest import (
    distance_blocks,
    path,
    shortest_paths,
    shortest_trees,
)

HALF_ULP = 2**-24
"""Rounding of a distance to float32; the float64 sums before it err by far less."""


def cloud(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


GRAPHS: dict[str, Callable[[], NeighborGraph]] = {
    "high dimension": lambda: neighbor_graph(cloud(500, 40), 8),
    "plane": lambda: neighbor_graph(cloud(400, 2), 6),
    "float32": lambda: neighbor_graph(cloud(300, 3).astype(np.float32), 5),
    "in pieces": lambda: neighbor_graph(cloud(300, 2) + 50 * np.arange(300)[:, None] // 60, 3),
    "a long line": lambda: neighbor_graph(np.cumsum(cloud(600, 1) ** 2, axis=0), 2),
    "hub": lambda: neighbor_graph(np.concatenate([np.zeros((1, 60)), np.eye(60)]), 1),
    "wide range of lengths": lambda: neighbor_graph(10.0 ** cloud(400, 2), 6),
    "two points": lambda: neighbor_graph([[0.0], [2.5]], 1),
    "sources fill no block": lambda: neighbor_graph(cloud(17, 2), 3),
}


def reference(graph: NeighborGraph) -> np.ndarray:
    """Distances from all points by scipy on the union of both directions."""
    both = as_edges(graph).to_scipy().astype(np.float64)
    assert both.data.min() > 0  # scipy would drop edges of length zero
    return dijkstra(both)


@pytest.mark.parametrize("device", [None, "cpu"], ids=["sweeps", "torch"])
@pytest.mark.parametrize("name", GRAPHS)
def test_equals_dijkstra(name: str, device: str | None) -> None:
    graph = GRAPHS[name]()
    found = shortest_paths(graph, device=device)
    expected = reference(graph)
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
    reached = np.isfinite(expected)
    # one part in 1e12 for the order of float64 sums
    np.testing.assert_allclose(found[reached], expected[reached], rtol=HALF_ULP + 1e-12)
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", GRAPHS)
def test_torch_and_sweeps_agree_to_the_bit(name: str) -> None:
    graph = GRAPHS[name]()
    exact = [np.empty((graph.n, graph.n)) for _ in range(2)]
    shortest_paths(graph, out=exact[0])
    shortest_paths(graph, out=exact[1], device="cpu")
    np.testing.assert_array_equal(*exact)


def test_float64_sums_keep_long_paths_exact() -> None:
    """20,000 edges of 0.1: float32 sums would be off by some 1e-4 of the length."""
    after = np.append(np.arange(1, 20_001), 19_999)[:, None]
    steps = np.full((20_001, 1), 0.1, np.float32)
    found = shortest_paths(NeighborGraph.from_neighbors(after, steps), [0])[0, -1]
    assert abs(found / (20_000 * float(steps[0, 0])) - 1) <= HALF_ULP + 1e-11


def test_distances_are_the_same_from_both_ends() -> None:
    found = shortest_paths(neighbor_graph(cloud(700, 10), 8))
    # float64 sums in opposite order may round apart, but only at the edge of a float32 step
    different = found != found.T
    assert different.mean() < 1e-4
    np.testing.assert_allclose(found, found.T, rtol=2 * HALF_ULP)


def test_chosen_and_repeated_sources_in_any_order() -> None:
    graph = neighbor_graph(cloud(400, 5), 6)
    everything = shortest_paths(graph)
    chosen = [7, 3, 7, 399, 0, 3, *range(100, 130)]
    for device in (None, "cpu"):
        np.testing.assert_array_equal(
            shortest_paths(graph, chosen, device=device), everything[chosen]
        )
    np.testing.assert_array_equal(shortest_paths(graph, 5), everything[[5]])
    assert shortest_paths(graph, []).shape == (0, 400)
    assert shortest_paths(graph, [], device="cpu").shape == (0, 400)


def test_threads_memory_and_blocks_change_nothing() -> None:
    graph = neighbor_graph(cloud(500, 6), 7)
    expected = shortest_paths(graph, memory="1GB")
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(shortest_paths(graph, memory="1MB"), expected)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    out = np.full((500, 500), np.nan, np.float32)
    assert shortest_paths(graph, out=out, memory=1) is out
    np.testing.assert_array_equal(out, expected)
    pieces = [(s.copy(), d.copy()) for s, d in distance_blocks(graph, memory="100kB")]
    assert len(pieces) > 5
    np.testing.assert_array_equal(np.concatenate([s for s, _ in pieces]), np.arange(500))
    np.testing.assert_array_equal(np.concatenate([d for _, d in pieces]), expected)


def test_duplicates_are_joined_by_edges_of_length_zero() -> None:
    x = np.repeat(cloud(40, 3), 4, axis=0)
    graph = neighbor_graph(x, 8)
    for device in (None, "cpu"):
        found = shortest_paths(graph, device=device)
        same = np.arange(160) // 4
        assert (found[same[:, None] == same] == 0).all()
        one = found[::4, ::4]
        np.testing.assert_array_equal(found, one[same][:, same])
        assert (one[~np.eye(40, dtype=bool)] > 0).all()


def test_all_points_equal() -> None:
    graph = neighbor_graph(np.ones((50, 3)), 4)
    found = shortest_paths(graph)
    assert set(np.unique(found)) <= {0.0, np.inf}
    trees = shortest_trees(graph, range(50))
    for row in range(50):
        for end in np.flatnonzero(np.isfinite(found[row])):
            assert trees.path(row, int(end)).length == 0


def lists(indices: list[list[int]], distances: list[list[float]]) -> NeighborGraph:
    return NeighborGraph.from_neighbors(indices, distances)


def test_asymmetric_lists_join_both_ways() -> None:
    """0 lists 1, 1 lists 2, 2 lists 1: 2 still reaches 0, and a directed graph would not."""
    graph = lists([[1], [2], [1]], [[5.0], [1.0], [1.0]])
    np.testing.assert_array_equal(shortest_paths(graph), [[0, 5, 6], [5, 0, 1], [6, 1, 0]])


def test_a_component_of_one_point() -> None:
    edges = as_edges(neighbor_graph(cloud(30, 2), 3))
    ends, lengths = edges.edges()
    kept = (ends != 4).all(axis=1)
    alone = edges.with_edges(ends[kept], lengths[kept])
    for device in (None, "cpu"):
        found = shortest_paths(alone, device=device)
        expected = np.full(30, np.inf)
        expected[4] = 0
        np.testing.assert_array_equal(found[4], expected)
        np.testing.assert_array_equal(found[:, 4], expected)
    nothing = edges.with_edges(ends[:0], lengths[:0])
    np.testing.assert_array_equal(
        shortest_paths(nothing), np.where(np.eye(30, dtype=bool), 0, np.inf)
    )
    assert shortest_trees(nothing, [2]).path(0, 3).length == np.inf


def test_the_paths_add_up_to_the_distances() -> None:
    for name in GRAPHS:
        graph = GRAPHS[name]()
        edges = as_edges(graph).to_scipy()
        sources = np.random.default_rng(1).choice(graph.n, min(graph.n, 20), replace=False)
        trees = shortest_trees(graph, sources)
        np.testing.assert_array_equal(
            trees.distances.astype(np.float32), shortest_paths(graph, sources)
        )
        ends = np.random.default_rng(2).choice(graph.n, min(graph.n, 15), replace=False)
        for row, source in enumerate(sources.tolist()):
            for end in ends.tolist():
                found = trees.path(row, end)
                assert found.length == trees.distances[row, end]
                if not np.isfinite(found.length):
                    assert len(found.nodes) == 0
                    continue
                assert found.nodes[0] == source and found.nodes[-1] == end
                assert len(set(found.nodes.tolist())) == len(found.nodes)
                total = 0.0
                for i, j, length in zip(found.nodes, found.nodes[1:], found.lengths, strict=False):
                    assert edges[i, j] == length
                    total += length
                assert total == found.length


def test_predecessors_form_trees() -> None:
    """Even among duplicates, where edges of length zero could close circles."""
    graph = neighbor_graph(np.repeat(cloud(30, 2), 5, axis=0), 9)
    trees = shortest_trees(graph, [0, 77, 0])
    np.testing.assert_array_equal(trees.predecessors[0], trees.predecessors[2])
    for row, source in enumerate(trees.sources):
        before = trees.predecessors[row]
        assert before[source] == -1
        at = np.arange(graph.n)
        for _ in range(graph.n):
            at = np.where(before[at] >= 0, before[at], at)
        reached = np.isfinite(trees.distances[row])
        assert (at[reached] == source).all()
        assert (before[~reached] == -1).all()


def test_of_equal_paths_the_one_with_fewest_edges() -> None:
    """A square with a chord as long as the two sides it spans."""
    graph = lists([[1, 2], [0, 2], [1, 0]], [[1.0, 2.0], [1.0, 1.0], [1.0, 2.0]])
    assert path(graph, 0, 2).nodes.tolist() == [0, 2]
    assert path(graph, 1, 1).nodes.tolist() == [1]
    assert path(graph, 1, 1).length == 0


def test_weights_replace_the_distances() -> None:
    graph = neighbor_graph(cloud(200, 3), 6)
    hops = shortest_paths(graph, weights=np.ones((200, 6)))
    expected = dijkstra(as_edges(graph).to_scipy(), unweighted=True)
    np.testing.assert_array_equal(hops, expected)
    assert path(graph, 0, 50, weights=np.ones((200, 6), np.int64)).length == expected[0, 50]
    one_way = lists([[1], [0], [0]], [[1.0], [1.0], [1.0]])
    smaller = shortest_paths(one_way, weights=[[4.0], [3.0], [1.0]])
    assert smaller[0, 1] == 3


class Watched(Silent):
    def __init__(self) -> None:
        self.done = 0

    def stage(self, label: str, total: int | None = None):
        from contextlib import contextmanager

        assert total == 40

        @contextmanager
        def opened():
            yield self.add

        return opened()

    def add(self, steps: int) -> None:
        self.done += steps


@pytest.mark.parametrize("device", [None, "cpu"])
def test_progress_reaches_its_end(device: str | None) -> None:
    watched = Watched()
    assert isinstance(watched, Progress)
    graph = neighbor_graph(cloud(60, 2), 4)
    shortest_paths(graph, [*range(39), 5], progress=watched, device=device)
    assert watched.done == 40


def test_edges_come_once_and_both_ways() -> None:
    graph = neighbor_graph(cloud(100, 3), 5)
    edges = as_edges(graph)
    assert isinstance(edges, EdgeGraph) and as_edges(edges) is edges
    ends, lengths = edges.edges()
    listed = {
        (min(i, j), max(i, j)): graph.distances[i, slot]
        for i in range(100)
        for slot, j in enumerate(graph.indices[i].tolist())
    }
    assert dict(zip(map(tuple, ends.tolist()), lengths.tolist(), strict=True)) == listed
    assert edges.m == len(listed) and edges.degrees.sum() == 2 * edges.m
    matrix = edges.to_scipy()
    assert (matrix != matrix.T).nnz == 0
    again = edges.with_edges(
        np.concatenate([ends, ends[:, ::-1]]), np.concatenate([lengths, lengths + 1])
    )
    np.testing.assert_array_equal(again.lengths, edges.lengths)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"sources": [10]}, "0 to 9"),
        ({"sources": [-1]}, "-1"),
        ({"sources": [0.5]}, "float64"),
        ({"sources": [True] * 10}, "bool"),
        ({"sources": [[1, 2]]}, r"\(1, 2\)"),
        ({"sources": "0"}, "whole numbers"),
        ({"weights": np.ones((10, 3))}, r"\(10, 2\)"),
        ({"weights": -np.ones((10, 2))}, r"weights\[0, 0\] is -1"),
        ({"weights": np.full((10, 2), np.nan)}, "20 entries"),
        ({"weights": np.full((10, 2), 1e38)}, "range of float32"),
        ({"out": np.zeros((3, 10), np.float32)}, r"\(10, 10\)"),
        ({"out": np.zeros((10, 10), np.int32)}, "int32"),
        ({"memory": "300B"}, "distance_blocks"),
        ({"memory": "much"}, "much"),
    ],
    ids=str,
)
def test_bad_input_is_one_clear_error(bad: dict[str, object], says: str) -> None:
    graph = neighbor_graph(cloud(10, 2), 2)
    with pytest.raises(InputError, match=says):
        shortest_paths(graph, **bad)  # pyright: ignore[reportArgumentType]


def test_bad_ends_and_weights_of_edges() -> None:
    graph = neighbor_graph(cloud(10, 2), 2)
    with pytest.raises(InputError, match="end has 11"):
        path(graph, 0, 11)
    with pytest.raises(InputError, match="lengths of their own"):
        shortest_paths(as_edges(graph), weights=np.ones((10, 2)))
