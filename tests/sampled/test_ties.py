"""Data whose distances tie in masses: codes, counts, grids, lines, points that are all equal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from immersion.sampled import exact
from immersion.sampled.graph import IVF, Engine, Exact, neighbor_graph
from immersion.sampled.search.cloud import cloud_of

Draw = Callable[[np.random.Generator], np.ndarray]

WHOLE: dict[str, Draw] = {
    "codes": lambda rng: rng.integers(0, 2, (2300, 24)),
    "counts": lambda rng: rng.poisson(0.4, (2300, 9)),
    "one-hot": lambda rng: np.eye(2100),
    "classes": lambda rng: np.eye(7)[rng.integers(0, 7, 2300)],
    "grid": lambda rng: np.stack(np.meshgrid(*[np.arange(48)] * 2), -1).reshape(-1, 2),
    "far grid": lambda rng: 1990 + np.stack(np.meshgrid(*[np.arange(48)] * 2), -1).reshape(-1, 2),
    "all equal": lambda rng: np.full((2300, 5), 3),
}
"""Whole numbers, whose squared distances int64 holds exactly."""


def first_by_distance_and_index(squared: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    held = squared.astype(np.float64)
    np.fill_diagonal(held, np.inf)
    order = np.argsort(held, axis=1, kind="stable")[:, :k]
    return order, np.sqrt(np.take_along_axis(held, order, axis=1)).astype(np.float32)


@pytest.mark.parametrize("engine", ["faiss", "torch"])
@pytest.mark.parametrize("data", WHOLE)
def test_whole_numbers_against_integers(data: str, engine: Engine) -> None:
    x = WHOLE[data](np.random.default_rng(0)).astype(np.int64)
    lengths = (x**2).sum(1)
    squared = lengths[:, None] + lengths[None] - 2 * (x.astype(float) @ x.T).astype(np.int64)
    indices, distances = first_by_distance_and_index(squared, 11)
    graph = neighbor_graph(x, 11, search=Exact(engine))
    np.testing.assert_array_equal(graph.indices, indices)
    np.testing.assert_array_equal(graph.distances, distances)
    assert cloud_of(graph.points, "euclidean").rounding.whole


@pytest.mark.parametrize("step", [1.0, 1 / 3])
@pytest.mark.parametrize("search", [None, Exact("torch"), IVF(8, 8)], ids=str)
def test_an_ordered_line(search: Exact | IVF | None, step: float) -> None:
    """Its length is 4,000 times its spacing: float32 products cannot tell neighbours apart."""
    x = (step * np.arange(4000.0))[:, None]
    graph = neighbor_graph(x, 2, search=search)
    middle = np.arange(1, 3999)
    np.testing.assert_array_equal(np.sort(graph.indices[1:-1], axis=1).T, [middle - 1, middle + 1])
    assert graph.indices[[0, -1]].tolist() == [[1, 2], [3998, 3997]]
    np.testing.assert_allclose(graph.distances[1:-1], step, rtol=1e-6)


def test_equal_distances_that_are_no_whole_numbers() -> None:
    x = 0.37 * np.eye(2100, 300)[np.random.default_rng(0).permutation(2100) % 300]
    squared = 2 * 0.37**2 * (x.argmax(1)[:, None] != x.argmax(1)[None])
    indices, distances = first_by_distance_and_index(squared, 9)
    graph = neighbor_graph(x, 9)
    np.testing.assert_array_equal(graph.indices, indices)
    np.testing.assert_allclose(graph.distances, distances, rtol=1e-6)
    assert not cloud_of(x, "euclidean").rounding.whole


@pytest.mark.parametrize(
    ("x", "whole"),
    [
        (np.array([[0.0], [2**11]]), True),  # from the mean, 2 (2^10)^2 fits in 24 bits
        (np.array([[0.0], [2**13]]), False),  # from the mean, 4 (2^12)^2 is beyond them
        (np.array([[0.0], [0.5]]), False),
        (np.array([[2.0**40], [2.0**40 + 1]]), False),
    ],
    ids=str,
)
def test_when_float32_distances_have_no_error(x: np.ndarray, whole: bool) -> None:
    rounding = cloud_of(x, "euclidean").rounding
    assert rounding.whole is whole
    norms = np.ones(2, np.float32)
    assert (rounding.error(norms, norms, 1) > 0).all() != whole
    assert not cloud_of(x + 1, "cosine").rounding.whole


def test_tiles_of_any_size_give_the_same_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).integers(0, 3, (2400, 5)) * 0.1
    whole = neighbor_graph(x, 6)
    monkeypatch.setattr(exact, "_ACROSS", 29)
    monkeypatch.setattr(exact, "_PRODUCTS", 4 * 29 * 31)
    monkeypatch.setattr(exact, "_BASE", 12 * 5 * 301)
    tiled = neighbor_graph(x, 6)
    np.testing.assert_array_equal(tiled.indices, whole.indices)
    np.testing.assert_array_equal(tiled.distances, whole.distances)
    wide = (x[:, None] - x[None]).round(1)
    indices, _ = first_by_distance_and_index((wide**2).sum(-1).round(4), 6)
    # Ties of sums of tenths are decided by their last bit; sets of distances are the same.
    near = np.take_along_axis((wide**2).sum(-1), indices, 1)
    np.testing.assert_allclose(whole.distances, np.sqrt(near), atol=1e-6)
