"""IVF and HNSW: the recall they state is the recall they have, whatever the data and threads."""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numba
import numpy as np
import pytest
import torch

from immersion.core.errors import InputError
from immersion.sampled.graph import HNSW, IVF, Exact, NeighborGraph, Search, neighbor_graph
from immersion.sampled.search.sample import recall_of

SEARCHES: dict[str, Search] = {"ivf": IVF(), "hnsw": HNSW()}


def curved(n: int, dtype: type = np.float32) -> np.ndarray:
    """Points of a curved 6-dimensional manifold in 32 dimensions."""
    rng = np.random.default_rng(0)
    z, a, b = rng.normal(size=(n, 6)), rng.normal(size=(6, 48)), rng.normal(size=(48, 32))
    return (np.tanh(z @ a / 2) @ b).astype(dtype)


CLOUDS: dict[str, Callable[[], np.ndarray]] = {
    "curved": lambda: curved(3000),
    "float64": lambda: curved(1500, np.float64),
    "duplicates": lambda: np.repeat(curved(40), 50, axis=0),
    "all equal": lambda: np.full((700, 5), 2.5, np.float32),
    "two far clusters": lambda: np.concatenate([curved(500), curved(500) + 1e4]),
    "tiny": lambda: curved(17),
    "constant features": lambda: np.pad(curved(600), ((0, 0), (2, 2))),
    "large numbers": lambda: curved(600) * np.float32(1e15),
    "small numbers": lambda: curved(600) * np.float32(1e-25),
}


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_stated_recall_is_the_true_one(cloud: str, kind: str) -> None:
    x = CLOUDS[cloud]()
    graph, true = neighbor_graph(x, 12, search=SEARCHES[kind]), neighbor_graph(x, 12)
    recall = float((graph.distances <= true.distances[:, -1:]).mean())
    # Four standard errors: fails once in 16,000 honest samples.
    assert abs(graph.recall - recall) <= 4 * graph.recall_stderr
    # Links between points with many duplicates lead nowhere else; then the graph says so.
    reached = recall >= 0.985
    assert reached or (cloud, kind) == ("duplicates", "hnsw")
    assert reached is (not graph.measured_recall.caveats)
    assert graph.indices.min() >= 0 and graph.indices.max() < len(x)
    assert (graph.indices != np.arange(len(x))[:, None]).all()
    assert graph.measured_recall.value == graph.recall
    assert graph.recall_n == min(1000, len(x))
    # No neighbour twice, and what both searches found has one distance to the last bit.
    assert (np.diff(np.sort(graph.indices, axis=1), axis=1) > 0).all()
    same = graph.indices == true.indices
    np.testing.assert_array_equal(graph.distances[same], true.distances[same])


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_number_of_threads_changes_nothing(kind: str, metric: str) -> None:
    x = curved(4000)
    threads, faiss_threads = torch.get_num_threads(), faiss.omp_get_max_threads()
    graphs: list[NeighborGraph] = []
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
            faiss.omp_set_num_threads(count)
            graphs.append(neighbor_graph(x, 10, metric=metric, search=SEARCHES[kind]))  # pyright: ignore[reportArgumentType]
            assert faiss.omp_get_max_threads() == count
    finally:
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(faiss_threads)
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    for graph in graphs[1:]:
        np.testing.assert_array_equal(graph.indices, graphs[0].indices)
        np.testing.assert_array_equal(graph.distances, graphs[0].distances)
        assert graph.search == graphs[0].search and graph.recall == graphs[0].recall


def test_all_cells_are_exact_search() -> None:
    x = np.random.default_rng(0).integers(0, 4, (900, 6)).astype(np.float32)
    graph, true = neighbor_graph(x, 9, search=IVF(20, 20)), neighbor_graph(x, 9)
    np.testing.assert_array_equal(graph.indices, true.indices)
    np.testing.assert_array_equal(graph.distances, true.distances)
    assert graph.recall == 1


@pytest.mark.parametrize("recall", [0.8, 0.95, 0.999])
def test_cells_are_as_few_as_reach_the_recall(recall: float) -> None:
    x = curved(5000)
    true = neighbor_graph(x, 10)

    def reached(graph: NeighborGraph) -> float:
        return float((graph.distances <= true.distances[:, -1:]).mean())

    graph = neighbor_graph(x, 10, search=IVF(recall=recall))
    assert isinstance(graph.search, IVF) and graph.search.n_probe is not None
    assert reached(graph) >= recall
    fewer = neighbor_graph(x, 10, search=IVF(graph.search.n_lists, graph.search.n_probe - 1))
    # One cell fewer falls below the recall plus the margin of four errors that tuning keeps.
    assert reached(fewer) < recall + 4 * 0.4 * (1 - recall) ** 0.5 / 500**0.5 + 1e-3


@pytest.mark.parametrize("search", [IVF(n_probe=1), HNSW(m=4, ef_construction=8, ef_search=1)])
def test_a_poor_search_says_so_and_leaves_no_hole(search: Search) -> None:
    x = np.random.default_rng(0).normal(size=(3000, 40)).astype(np.float32)
    graph, true = neighbor_graph(x, 40, search=search), neighbor_graph(x, 40)
    recall = (graph.distances <= true.distances[:, -1:]).mean()
    assert abs(graph.recall - recall) < 4 * graph.recall_stderr
    assert recall < 0.9
    assert graph.indices.min() >= 0 and graph.indices.max() < 3000
    assert np.isfinite(graph.distances).all()


def test_the_error_of_a_recall_covers_the_truth() -> None:
    """Of 400 samples, the true recall lies within two errors about 95 times in 100."""
    rng = np.random.default_rng(0)
    share = rng.beta(20, 1, 20_000)
    hits = rng.random((20_000, 15)) < share[:, None]
    truth, covered = hits.mean(), 0
    for _ in range(400):
        estimate = recall_of(hits[rng.choice(20_000, 300, replace=False)], 20_000)
        covered += abs(estimate.value - truth) <= 2 * estimate.stderr
    assert 0.92 <= covered / 400 <= 0.98
    perfect = recall_of(np.ones((300, 15), bool), 20_000)
    assert perfect.value == 1 and 0 < perfect.stderr < 1e-3
    assert recall_of(hits, 20_000).stderr == 0


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: IVF(recall=1.0), "Exact"),
        (lambda: IVF(n_lists=0), "n_lists"),
        (lambda: HNSW(m=1), "m must be"),
        (lambda: HNSW(ef_search=-3), "ef_search"),
        (lambda: Exact("annoy"), "annoy"),  # pyright: ignore[reportArgumentType]
        (lambda: neighbor_graph(np.eye(4), 2, search=IVF(), device="meta"), "IVF searches on"),
    ],
)
def test_searches_that_cannot_be_are_refused(made: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        made()
