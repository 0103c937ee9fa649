"""The neighbour graph against brute force, and the same graph from every engine."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from immersion.core.errors import InputError
from immersion.sampled import exact
from immersion.sampled.graph import Engine, Exact, NeighborGraph, as_graph, neighbor_graph

ENGINES = ("faiss", "torch")


def brute_force(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours by (distance, index) from exact differences in float64."""
    wide = x.reshape(len(x), -1).astype(np.float64)
    squared = np.square(wide[:, None] - wide[None]).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    order = np.lexsort((np.broadcast_to(np.arange(len(x)), squared.shape), squared), axis=1)[:, :k]
    return order, np.sqrt(np.take_along_axis(squared, order, axis=1))


def digits_like(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 4, (300, 12)).astype(np.float32)


CLOUDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.normal(size=(400, 7)).astype(np.float32),
    "float64": lambda rng: rng.normal(size=(200, 3)),
    "lattice": lambda rng: np.stack(np.meshgrid(*[np.arange(7.0)] * 3), -1).reshape(-1, 3),
    "many ties": digits_like,
    "duplicates": lambda rng: np.repeat(rng.normal(size=(12, 5)), 30, axis=0).astype(np.float32),
    "all equal": lambda rng: np.full((50, 4), 3.7, np.float32),
    "far from the origin": lambda rng: (1e4 + rng.normal(size=(300, 6))).astype(np.float32),
    "two scales": lambda rng: np.concatenate(
        [rng.normal(size=(150, 6)) * 1e-4, 100 + rng.normal(size=(150, 6))]
    ).astype(np.float32),
    "one dimension": lambda rng: np.sort(rng.normal(size=(100, 1)), axis=0),
    "constant features": lambda rng: np.pad(rng.normal(size=(80, 2)), ((0, 0), (3, 3))),
    "two points": lambda rng: np.array([[0.0, 1.0], [2.0, 3.0]]),
    "wide": lambda rng: rng.normal(size=(60, 3000)).astype(np.float32),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_equals_brute_force(cloud: str, engine: Engine) -> None:
    x = CLOUDS[cloud](np.random.default_rng(0))
    k = min(15, len(x) - 1)
    graph = neighbor_graph(x, k, search=Exact(engine))
    indices, distances = brute_force(x, k)
    np.testing.assert_array_equal(graph.distances, distances.astype(np.float32))
    np.testing.assert_array_equal(graph.indices, indices)


@pytest.mark.parametrize("engine", ENGINES)
@given(
    x=arrays(
        np.float64,
        st.tuples(st.integers(4, 40), st.integers(1, 4)),
        elements=st.integers(-3, 3).map(float),
    ),
    k=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_small_integer_clouds_against_exact_fractions(
    engine: Engine, x: np.ndarray, k: int
) -> None:
    graph = neighbor_graph(x, k, search=Exact(engine))
    points = [[Fraction(value) for value in row] for row in x.tolist()]
    for i, point in enumerate(points):
        squared = sorted(
            (sum((a - b) ** 2 for a, b in zip(point, other, strict=True)), j)
            for j, other in enumerate(points)
            if j != i
        )
        assert graph.indices[i].tolist() == [j for _, j in squared[:k]]


def test_the_number_of_threads_changes_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(2000, 40)).astype(np.float32)
    threads = torch.get_num_threads()
    graphs: list[NeighborGraph] = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            numba.set_num_threads(count)
            graphs += [neighbor_graph(x, 12, search=Exact(engine)) for engine in ENGINES]
    finally:
        torch.set_num_threads(threads)
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    for graph in graphs[1:]:
        np.testing.assert_array_equal(graph.indices, graphs[0].indices)
        np.testing.assert_array_equal(graph.distances, graphs[0].distances)


def test_rows_that_rounding_leaves_open_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With candidates that are wrong at the edge, the certificate sends the row to full search."""
    x = np.repeat(np.random.default_rng(0).normal(size=(8, 3)), 40, axis=0)
    rows: list[int] = []
    full = exact.compare

    def watched(*arguments: Any) -> None:
        rows.extend(arguments[2].tolist())
        full(*arguments)

    monkeypatch.setattr(exact, "compare", watched)
    graph = neighbor_graph(x, 5)
    assert set(rows) == set(range(len(x)))
    np.testing.assert_array_equal(graph.indices, brute_force(x, 5)[0])


@pytest.mark.parametrize(
    "given_points",
    [
        np.arange(24).reshape(6, 4),
        np.arange(24, dtype=np.float16).reshape(6, 4),
        np.asfortranarray(np.arange(24.0).reshape(6, 4)),
        np.arange(48.0).reshape(12, 4)[::2],
        np.arange(24.0).reshape(6, 2, 2),
        torch.arange(24.0).reshape(6, 4),
        torch.arange(24.0).reshape(6, 4).requires_grad_(),
        torch.arange(24.0, dtype=torch.bfloat16).reshape(6, 4),
        np.arange(24).reshape(6, 4).tolist(),
        np.eye(5, dtype=bool),
    ],
    ids=str,
)
def test_kinds_of_input(given_points: object) -> None:
    graph = neighbor_graph(given_points, 3)  # pyright: ignore[reportArgumentType]
    plain = np.asarray(
        given_points.detach().float() if isinstance(given_points, torch.Tensor) else given_points,
        dtype=np.float64,
    )
    np.testing.assert_array_equal(graph.indices, brute_force(plain, 3)[0])
    assert graph.points.flags.c_contiguous


@pytest.mark.parametrize(
    ("bad", "k", "says"),
    [
        (np.zeros((5, 2)), 5, "k = 5"),
        (np.zeros((5, 2)), 0, "at least 1"),
        (np.zeros((1, 2)), 1, "there are 1"),
        (np.zeros(5), 1, r"\(5,\)"),
        (np.zeros((0, 2)), 1, r"\(0, 2\)"),
        (np.zeros((5, 0)), 1, r"\(5, 0\)"),
        (np.array([["a", "b"]] * 4), 1, "numbers"),
        (np.array([[1 + 2j]] * 4), 1, "complex"),
        ([[1.0], [1.0, 2.0]], 1, "rectangular"),
        (np.array([[0.0], [np.nan], [1.0]]), 1, r"points\[1\]"),
        (np.array([[0.0], [1.0], [np.inf]]), 1, r"points\[2\]"),
    ],
    ids=str,
)
def test_bad_input_is_one_clear_error(bad: object, k: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        neighbor_graph(bad, k)  # pyright: ignore[reportArgumentType]


def test_other_metrics_and_sparse_points_are_refused() -> None:
    from scipy.sparse import eye_array

    with pytest.raises(InputError, match="'manhattan'"):
        neighbor_graph(np.eye(4), 1, metric="manhattan")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="sparse"):
        neighbor_graph(eye_array(4), 1)  # pyright: ignore[reportArgumentType]


def test_a_graph_is_never_searched_again() -> None:
    graph = neighbor_graph(np.random.default_rng(0).normal(size=(50, 3)), 5)
    assert as_graph(graph, 5) is graph
    with pytest.raises(InputError, match="6 are needed"):
        as_graph(graph, 6)


def test_to_scipy_and_duplicates() -> None:
    x = np.array([[0.0], [0.0], [1.0], [5.0]])
    graph = neighbor_graph(x, 2)
    assert graph.duplicates == 2
    matrix = graph.to_scipy().toarray()
    assert matrix.shape == (4, 4)
    assert matrix[3, 2] == 4
    assert graph.recall == 1
    assert graph.search in (Exact("faiss"), Exact("torch"))
