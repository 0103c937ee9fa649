"""Graphs on disk and points that stay there: equal to the last bit, whole or not at all."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from immersion.core.errors import InputError, OutputError, ReadError
from immersion.known.sphere import Sphere
from immersion.sampled import exact, storage
from immersion.sampled.graph import HNSW, IVF, NeighborGraph, Search, as_points, neighbor_graph
from immersion.sampled.search import cells


def cloud(n: int = 400, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 6)).astype(dtype)


def made(kind: str) -> NeighborGraph:
    searches: dict[str, Search] = {"ivf": IVF(), "hnsw": HNSW()}
    if kind == "given":
        exact_graph = neighbor_graph(cloud(), 5)
        return NeighborGraph.from_neighbors(exact_graph.indices, exact_graph.distances)
    if kind == "sphere":
        x = cloud(dtype=np.float64)
        return neighbor_graph(x / np.linalg.norm(x, axis=1, keepdims=True), 5, metric=Sphere(5))
    return neighbor_graph(cloud(), 5, search=searches.get(kind))


@pytest.mark.parametrize("kind", ["exact", "ivf", "hnsw", "given", "sphere"])
def test_what_is_loaded_is_what_was_saved(kind: str, tmp_path: Path) -> None:
    graph = made(kind)
    graph.save(tmp_path / "graph")
    loaded = NeighborGraph.load(tmp_path / "graph", manifold=graph.manifold)
    for field in fields(NeighborGraph):
        old, new = getattr(graph, field.name), getattr(loaded, field.name)
        if isinstance(old, np.ndarray):
            assert old.dtype == new.dtype and old.tobytes() == new.tobytes()
        else:
            assert old == new or (old != old and new != new)
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]


def test_points_may_stay_out_of_the_file(tmp_path: Path) -> None:
    graph, path = made("exact"), tmp_path / "graph.safetensors"
    graph.save(path, points=False)
    assert not NeighborGraph.load(path).has_points
    np.testing.assert_array_equal(NeighborGraph.load(path, points=graph.points).points, cloud())
    with pytest.raises(InputError, match="399 points"):
        NeighborGraph.load(path, points=cloud(399))
    with pytest.raises(InputError, match="euclidean"):
        NeighborGraph.load(path, manifold=Sphere(5))


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "graph"
    made("exact").save(path)
    before = path.read_bytes()

    def full(tensors: object, name: Path, metadata: object) -> None:
        name.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(OutputError, match="no space left"):
        made("ivf").save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OutputError, match="cannot be written"):
        made("exact").save(tmp_path / "missing" / "graph")


def test_files_that_are_no_whole_graph_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph"
    with pytest.raises(ReadError, match="cannot be read"):
        NeighborGraph.load(path)
    made("exact").save(path)
    whole = path.read_bytes()
    for cut in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ReadError):
            NeighborGraph.load(path)
    safetensors.numpy.save_file({"x": np.eye(2)}, path)
    with pytest.raises(ReadError, match="no neighbour graph"):
        NeighborGraph.load(path)
    described = {"metric": "euclidean", "manifold": False, "recall": [1.0, 0.0, 3]}
    for search, indices, says in (
        ({"kind": "Exact", "engine": None}, [[1], [2], [3]], "outside"),
        ({"kind": "Exact", "engine": None}, [[1], [2], [-1]], "outside"),
        ({"kind": "Oracle"}, [[1], [2], [0]], "Oracle"),
        ({"kind": "IVF", "n_lists": 0}, [[1], [2], [0]], "n_lists"),
    ):
        safetensors.numpy.save_file(
            {"indices": np.array(indices), "distances": np.ones((3, 1), np.float32)},
            path,
            {"format": storage._FORMAT, "graph": json.dumps({**described, "search": search})},
        )
        with pytest.raises(ReadError, match=says):
            NeighborGraph.load(path)


@pytest.mark.parametrize("search", [None, IVF(), HNSW()], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mapped_points_give_the_same_graph_and_stay_mapped(
    search: Search | None, dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, path = cloud(1500, dtype), tmp_path / "x.npy"
    np.save(path, x)
    whole = neighbor_graph(x, 8, search=search)
    # Small blocks, so that the base and the queries come in many pieces.
    monkeypatch.setattr(exact, "_BASE", (4 + x.itemsize) * 6 * 217)
    monkeypatch.setattr(exact, "_QUERIES", 40_000)
    monkeypatch.setattr(exact, "_PRODUCTS", 4096)
    monkeypatch.setattr(exact, "_ACROSS", 37)
    monkeypatch.setattr(cells, "_HELD", 4096)
    for given in (path, str(path), np.load(path, mmap_mode="r")):
        graph = neighbor_graph(given, 8, search=search)
        np.testing.assert_array_equal(graph.indices, whole.indices)
        np.testing.assert_array_equal(graph.distances, whole.distances)
        base = graph.points
        while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)


def test_a_mapped_array_is_not_loaded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 MB of points: small blocks hold two thirds of them at most, one block holds more."""
    path = tmp_path / "wide.npy"
    np.save(path, np.random.default_rng(0).random((400, 31_250), np.float32))
    peaks: list[int] = []
    for block in (1 << 23, 1 << 30):
        monkeypatch.setattr(exact, "_BASE", block)
        monkeypatch.setattr(exact, "_QUERIES", block)
        tracemalloc.start()
        neighbor_graph(path, 5)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 36e6
    assert peaks[1] > 100e6


def test_paths_that_hold_no_points(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="cannot be read"):
        as_points(tmp_path / "none.npy")
    with pytest.raises(InputError, match=r"\.npy"):
        as_points("points.csv")
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises(ReadError, match="cannot be read"):
        as_points(tmp_path / "bad.npy")
    np.save(tmp_path / "nan.npy", np.array([[0.0], [np.nan], [1.0]]))
    with pytest.raises(InputError, match=r"points\[1\]"):
        neighbor_graph(tmp_path / "nan.npy", 1)
