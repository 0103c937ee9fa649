"""Graphs from distances and neighbours that the caller has, and what a graph says of itself."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array, csr_array

from immersion.core.errors import InputError
from immersion.sampled.graph import Given, NeighborGraph, neighbor_graph


def lattice() -> np.ndarray:
    """Points with many equal distances, a few of them twice."""
    x = np.random.default_rng(0).integers(0, 4, (120, 3)).astype(np.float64)
    assert len(np.unique(x, axis=0)) < 120
    return x


def distances_of(x: np.ndarray) -> np.ndarray:
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))


@pytest.mark.parametrize("kind", ["float64", "float32", "tensor", "fortran", "sparse", "infinite"])
def test_from_distances_is_the_graph_of_the_points(kind: str) -> None:
    x = lattice()
    true = neighbor_graph(x, 6)
    full = distances_of(x)
    far = np.where(full > 2.5, np.inf, full)
    rows, columns = np.nonzero(full <= 2.5)
    kinds: dict[str, Any] = {
        "float64": full,
        "float32": full.astype(np.float32),
        "tensor": torch.from_numpy(full),
        "fortran": np.asfortranarray(full),
        "sparse": coo_array((full[rows, columns], (rows, columns)), shape=full.shape),
        "infinite": far,
    }
    graph = NeighborGraph.from_distances(kinds[kind], 6, points=x)
    np.testing.assert_array_equal(graph.indices, true.indices)
    np.testing.assert_array_equal(graph.distances, true.distances)
    assert graph.search == Given() and graph.metric == "precomputed" and graph.recall == 1
    assert graph.has_points and not NeighborGraph.from_distances(full, 6).has_points


def test_integer_distances_that_are_not_symmetric() -> None:
    graph = NeighborGraph.from_distances([[0, 1, 9], [5, 0, 4], [2, 2, 0]], 2)
    assert graph.indices.tolist() == [[1, 2], [2, 0], [0, 1]]
    assert graph.distances.tolist() == [[1, 9], [4, 5], [2, 2]]


@pytest.mark.parametrize(
    ("matrix", "k", "says"),
    [
        (np.zeros((3, 4)), 1, r"\(3, 4\)"),
        (np.zeros(3), 1, r"\(3,\)"),
        (np.zeros((3, 3)), 3, "k = 3"),
        (np.zeros((3, 3)), 1.5, "whole number"),
        (np.zeros((3, 3)), True, "whole number"),
        (np.ones((3, 3)), 1, "similarities"),
        ([[0, -1], [1, 0]], 1, r"distances\[0, 1\] is negative"),
        ([[0, 1], [np.nan, 0]], 1, r"distances\[1, 0\] is not a number"),
        ([[0, np.inf, 1], [np.inf, 0, np.inf], [1, 1, 0]], 1, "point 1 has 0 neighbours"),
        (csr_array((4, 4)), 1, "point 0 has 0 neighbours"),
        ([["a", "b"], ["c", "d"]], 1, "numbers"),
        ([[0, 1], [1]], 1, "rectangular"),
    ],
    ids=str,
)
def test_distances_that_cannot_be_are_refused(matrix: Any, k: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        NeighborGraph.from_distances(matrix, k)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16])
def test_from_neighbors_orders_and_drops_the_point_itself(dtype: type) -> None:
    true = neighbor_graph(lattice(), 6)
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.broadcast_to(np.arange(6), (120, 6)), axis=1)
    who = np.take_along_axis(true.indices, shuffled, axis=1).astype(dtype)
    near = np.take_along_axis(true.distances, shuffled, axis=1)
    graph = NeighborGraph.from_neighbors(who, near)
    np.testing.assert_array_equal(graph.indices, true.indices)
    np.testing.assert_array_equal(graph.distances, true.distances)
    assert np.isnan(graph.recall) and graph.measured_recall.caveats
    assert not graph.measured_recall.decidable
    # With the points themselves in front, as other libraries give them; and displaced in one row.
    who = np.column_stack([np.arange(120, dtype=dtype), who])
    near = np.column_stack([np.zeros(120, np.float32), near])
    twin = int(np.flatnonzero(true.distances[:, 0] == 0)[0])
    who[twin] = [*true.indices[twin], 119 if 119 not in true.indices[twin] else 118]
    near[twin] = [*true.distances[twin], 50.0]
    graph = NeighborGraph.from_neighbors(who, near)
    np.testing.assert_array_equal(graph.indices, true.indices)


@pytest.mark.parametrize(
    ("who", "near", "says"),
    [
        ([[1], [-1]], [[1.0], [1.0]], r"indices\[1, 0\] is -1"),
        ([[1], [2]], [[1.0], [1.0]], r"indices\[1, 0\] is 2"),
        ([[1], [0]], [[1.0], [np.nan]], r"distances\[1, 0\]"),
        ([[1], [0]], [[1.0], [np.inf]], "finite"),
        ([[1], [0]], [[1.0], [-2.0]], "negative"),
        ([[1.0], [0.0]], [[1.0], [1.0]], "whole numbers"),
        ([[1], [0]], [[1.0, 2.0], [1.0, 2.0]], r"\(2, 1\) and \(2, 2\)"),
        ([[1, 1], [0, 2], [0, 1]], [[1.0, 1.0]] * 3, r"indices\[0\] lists a neighbour twice"),
        ([[0], [1]], [[0.0], [0.0]], "themselves"),
        (np.empty((0, 2), int), np.empty((0, 2)), r"\(0, 2\)"),
    ],
    ids=str,
)
def test_neighbors_that_cannot_be_are_refused(who: Any, near: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        NeighborGraph.from_neighbors(who, near)
    with pytest.raises(InputError, match="3 points for a graph of 2"):
        NeighborGraph.from_neighbors([[1], [0]], [[1.0], [1.0]], points=np.eye(3))


@pytest.mark.parametrize("symmetric", ["union", "mutual"])
def test_symmetric_matrices(symmetric: Any) -> None:
    graph = neighbor_graph(lattice(), 5)
    directed = np.full((120, 120), np.nan)
    for i in range(120):
        directed[i, graph.indices[i]] = graph.distances[i]
    there, back = ~np.isnan(directed), ~np.isnan(directed.T)
    kept = there | back if symmetric == "union" else there & back
    matrix = graph.to_scipy(symmetric)
    stored = np.zeros((120, 120), bool)
    stored[np.repeat(np.arange(120), np.diff(matrix.indptr)), matrix.indices] = True
    np.testing.assert_array_equal(stored, kept)  # zeros of duplicates are stored too
    weights = np.where(there, directed, directed.T)
    np.testing.assert_array_equal(matrix.toarray(), np.where(kept, weights, 0))
    assert matrix.has_sorted_indices and matrix.dtype == np.float32
    with pytest.raises(InputError, match="'both'"):
        graph.to_scipy("both")  # pyright: ignore[reportArgumentType]


def test_unequal_weights_of_one_edge_become_the_lesser() -> None:
    graph = NeighborGraph.from_distances([[0, 3], [2, 0]], 1)
    assert graph.to_scipy("mutual").toarray().tolist() == [[0, 2], [2, 0]]
    assert graph.to_scipy("union").toarray().tolist() == [[0, 2], [2, 0]]


def test_summary_of_pieces_duplicates_and_lonely_points() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.normal(size=(20, 2)) + 100,
            rng.normal(size=(50, 2)),
            np.full((5, 2), -500.0),  # more duplicates than neighbours
            [[0.0, 30.0]],  # far from all: in nobody's list
        ]
    )
    graph = neighbor_graph(x, 4)
    pieces = graph.components()
    assert [len(np.unique(pieces[part])) for part in np.split(np.arange(76), [20, 70, 75])] == [
        1, 1, 1, 1,
    ]  # fmt: skip
    assert (pieces[20:70] == 0).all() and pieces[75] == 0
    assert (pieces[:20] == 1).all() and (pieces[70:75] == 2).all()
    summary = graph.summary()
    assert summary.piece_sizes == (51, 20, 5)
    assert summary.duplicates == 5 and summary.saturated == 5
    listed = set(graph.indices.ravel().tolist())
    assert 75 not in listed
    assert summary.isolated == 76 - len(listed)
    assert len(summary.caveats) == 2 and "3 pieces" in str(summary)
    whole = neighbor_graph(rng.normal(size=(60, 2)), 8).summary()
    assert whole.caveats == () and whole.piece_sizes == (60,)


def test_edges_lead_from_the_neighbour_to_the_point(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = neighbor_graph(lattice(), 3)
    edges, weights = graph.edges()
    assert edges.shape == (2, 360) and edges.dtype == torch.int64
    np.testing.assert_array_equal(edges[0].numpy(), graph.indices.ravel())
    np.testing.assert_array_equal(edges[1].numpy(), np.repeat(np.arange(120), 3))
    np.testing.assert_array_equal(weights.numpy(), graph.distances.ravel())
    for name in ("torch_geometric", "torch_geometric.data"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"\.edges\(\)"):
        graph.to_pyg()
    data = ModuleType("torch_geometric.data")
    data.Data = SimpleNamespace  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "torch_geometric.data", data)
    monkeypatch.setitem(sys.modules, "torch_geometric", ModuleType("torch_geometric"))
    made = graph.to_pyg()
    assert torch.equal(made.edge_index, edges) and made.edge_attr.shape == (360, 1)
    assert made.x.shape == (120, 3) and made.num_nodes == 120
    assert NeighborGraph.from_distances([[0, 1], [1, 0]], 1).to_pyg().x is None
