"""Cosine and manifold distances against independent formulas in extended or double precision."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch

from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold
from immersion.known.definite.spd import SPD
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.sphere import Sphere
from immersion.known.torus import Torus
from immersion.sampled.graph import HNSW, IVF, Exact, NeighborGraph, neighbor_graph


def first(distances: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of a matrix of distances, by (distance, index)."""
    held = distances.copy()
    np.fill_diagonal(held, np.inf)
    order = np.argsort(held, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(held, order, axis=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("engine", ["faiss", "torch"])
def test_cosine_against_long_doubles(dtype: type, engine: str) -> None:
    x = (np.random.default_rng(0).normal(size=(300, 11)) + 0.5).astype(dtype)
    long = x.astype(np.longdouble)
    unit = long / np.sqrt((long**2).sum(axis=1, keepdims=True))
    indices, distances = first(1 - unit @ unit.T, 9)
    graph = neighbor_graph(x, 9, metric="cosine", search=Exact(engine))  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(graph.indices, indices)
    # Long doubles cancel to 1e-19 here; float32 rounds to 6e-8.
    np.testing.assert_allclose(graph.distances, distances.astype(np.float64), rtol=7e-8)
    assert graph.metric == "cosine"


def test_cosine_keeps_its_digits_where_directions_nearly_agree() -> None:
    angles = np.array([0.0, 1e-9, 3e-9, 1e-8])
    graph = neighbor_graph(np.stack([np.cos(angles), np.sin(angles)], 1), 3, metric="cosine")
    # 1 - cos(a) = a^2 / 2; angles of float64 directions are good to 2e-16.
    np.testing.assert_allclose(graph.distances[0], angles[1:] ** 2 / 2, rtol=1e-6)


def test_parallel_vectors_are_duplicates_under_the_cosine() -> None:
    x = np.random.default_rng(0).normal(size=(40, 7))
    lengths = np.array([1.0, 3.0, 1e-200, 7e150])
    graph = neighbor_graph((x[:, None] * lengths[:, None]).reshape(-1, 7), 4, metric="cosine")
    assert (graph.distances[:, :3] == 0).all() and (graph.distances[:, 3] > 0).all()
    assert (graph.indices[:, :3] // 4 == np.arange(160)[:, None] // 4).all()
    assert graph.duplicates == 160
    with pytest.raises(InputError, match=r"points\[2\] is zero"):
        neighbor_graph([[1.0], [2.0], [0.0]], 1, metric="cosine")


MANIFOLDS = [Sphere(4), PoincareBall(3), Lorentz(3), SPD(3), Torus(2)]


def drawn(manifold: GeodesicManifold, n: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return manifold.random(n, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
def test_manifolds_against_all_pairs_at_once(
    manifold: GeodesicManifold, dtype: torch.dtype
) -> None:
    x = drawn(manifold, 230, dtype)
    graph = neighbor_graph(x, 7, metric=manifold)
    wide = x.double()
    distances = manifold.dist(wide[:, None], wide[None]).numpy()
    indices, near = first(distances, 7)
    np.testing.assert_allclose(graph.distances, near, rtol=1e-6, atol=1e-9)
    # Two distances may differ by rounding between shapes of batches, never by more.
    at = np.take_along_axis(distances, graph.indices, axis=1)
    np.testing.assert_allclose(at, near, rtol=1e-12, atol=1e-12)
    assert (graph.indices == indices).mean() > 0.999
    assert graph.manifold == manifold and graph.metric == str(manifold)
    assert graph.points.shape == (230, np.prod(manifold.point_shape))
    assert graph.recall == 1


def test_hyperbolic_distances_by_their_formula() -> None:
    x = drawn(PoincareBall(2), 150, torch.float64).numpy()
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    gap = 1 - (x**2).sum(-1)
    distances = np.arccosh(1 + 2 * squared / (gap[:, None] * gap[None]))
    indices, near = first(distances, 5)
    graph = neighbor_graph(x, 5, metric=PoincareBall(2))
    np.testing.assert_array_equal(graph.indices, indices)
    np.testing.assert_allclose(graph.distances, near, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equal_points_of_a_manifold_are_duplicates(dtype: torch.dtype) -> None:
    x = drawn(Sphere(3), 60, dtype).repeat_interleave(4, dim=0)
    graph = neighbor_graph(x, 4, metric=Sphere(3))
    assert graph.duplicates == 240
    assert (graph.distances[:, :3] == 0).all() and (graph.distances[:, 3] > 0).all()
    assert (graph.indices[:, :3] // 4 == np.arange(240)[:, None] // 4).all()


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
def test_threads_change_no_bit_under_a_manifold(manifold: GeodesicManifold) -> None:
    x = drawn(manifold, 500, torch.float64)
    threads = torch.get_num_threads()
    graphs: list[NeighborGraph] = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
            graphs.append(neighbor_graph(x, 6, metric=manifold))
    finally:
        torch.set_num_threads(threads)
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    np.testing.assert_array_equal(graphs[0].indices, graphs[1].indices)
    np.testing.assert_array_equal(graphs[0].distances, graphs[1].distances)


def test_points_that_do_not_belong_to_the_metric_are_refused() -> None:
    x = drawn(Sphere(3), 20, torch.float64).numpy()
    with pytest.raises(InputError, match="not on the manifold"):
        neighbor_graph(2 * x, 3, metric=Sphere(3))
    with pytest.raises(InputError, match="4 numbers a point"):
        neighbor_graph(x, 3, metric=Sphere(2))
    with pytest.raises(InputError, match="'manhattan'"):
        neighbor_graph(x, 3, metric="manhattan")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="by torch"):
        neighbor_graph(x, 3, metric=Sphere(3), search=Exact("faiss"))


@pytest.mark.parametrize("scale", [1e-310, 1e-300, 1e-45])
def test_points_closer_than_float32_can_say_are_refused(scale: float) -> None:
    x = np.random.default_rng(0).normal(size=(50, 5)) * scale
    with pytest.raises(InputError, match="below float32's range; multiply them"):
        neighbor_graph(x, 6)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("search", [None, IVF(), HNSW()], ids=str)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30, 1e120])
def test_scale_by_a_power_of_two_changes_nothing_else(
    metric: str, search: IVF | HNSW | None, scale: float
) -> None:
    x = np.random.default_rng(0).normal(size=(400, 5))
    plain = neighbor_graph(x, 6, metric=metric, search=search)  # pyright: ignore[reportArgumentType]
    factor = 2.0 ** round(np.log2(scale))
    if scale == 1e120 and metric == "euclidean":
        with pytest.raises(InputError, match="float32's range"):
            neighbor_graph(x * factor, 6, search=search)
        return
    scaled = neighbor_graph(x * factor, 6, metric=metric, search=search)  # pyright: ignore[reportArgumentType]
    np.testing.assert_array_equal(scaled.indices, plain.indices)
    unit = factor if metric == "euclidean" else 1.0
    np.testing.assert_array_equal(scaled.distances, plain.distances * np.float32(unit))
