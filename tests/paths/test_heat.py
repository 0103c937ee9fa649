"""Heat distances on manifolds whose geodesics are known."""

from __future__ import annotations

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.known.sphere import Sphere
from immersion.sampled.graph import NeighborGraph, neighbor_graph
from immersion.sampled.paths.components import connect
from immersion.sampled.paths.edges import as_edges
from immersion.sampled.paths.heat import heat_geodesics
from immersion.sampled.paths.shortcuts import prune_shortcuts
from immersion.sampled.paths.shortest import shortest_paths


def sphere(n: int, width: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, width))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    far = truth > 0.2 * truth.max()
    return float(np.sqrt(np.square(found[far] / truth[far] - 1).mean()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("width", "k", "bound"), [(3, 12, 0.025), (4, 15, 0.045)])
def test_spheres(width: int, k: int, bound: float, dtype: type) -> None:
    """Closer than paths, whose zigzag costs 3% on the 2-sphere and 10% on the 3-sphere."""
    x = sphere(3000, width)
    sources = np.arange(6)
    truth = np.arccos(np.clip(x[sources] @ x.T, -1, 1))
    graph = neighbor_graph(x.astype(dtype), k)
    found = heat_geodesics(graph, sources, width - 1)
    error = relative_error(found.distances, truth)
    assert error < bound
    assert error < 0.75 * relative_error(shortest_paths(graph, sources), truth)
    assert found.residual <= 1e-5
    assert (found.distances[np.arange(6), sources] == 0).all() and (found.distances >= 0).all()


def test_the_error_falls_as_the_sample_grows() -> None:
    errors: list[float] = []
    for n in (500, 8000):
        x = sphere(n, 3)
        truth = np.arccos(np.clip(x[:4] @ x.T, -1, 1))
        errors.append(
            relative_error(heat_geodesics(neighbor_graph(x, 12), range(4), 2).distances, truth)
        )
    # spacing falls by four; at least half of that must arrive
    assert errors[1] < errors[0] / 2


def test_a_line_is_exact() -> None:
    x = np.cumsum(0.5 + np.random.default_rng(0).random(300))[:, None]
    found = heat_geodesics(neighbor_graph(x, 4), [0, 150], 1)
    truth = np.abs(x[[0, 150]] - x.T)
    np.testing.assert_allclose(found.distances[0], truth[0], atol=1e-3)
    # Around a source inside, directions turn within one edge: the constant is off by less than one.
    np.testing.assert_allclose(found.distances[1], truth[1], atol=0.75)
    slopes = np.diff(found.distances[1]) / np.diff(truth[1])
    np.testing.assert_allclose(np.delete(slopes, np.arange(140, 161)), 1, atol=1e-3)


def test_isometric_embeddings_and_units() -> None:
    """Padded into many dimensions, turned and scaled, distances scale and nothing else changes."""
    x = sphere(800, 3)
    frame, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 3)))
    plain = heat_geodesics(neighbor_graph(x, 10), [0, 5], 2)
    turned = heat_geodesics(neighbor_graph(1e3 * x @ frame.T, 10), [0, 5], 2)
    np.testing.assert_allclose(turned.distances, 1e3 * plain.distances, rtol=1e-3, atol=2)
    assert turned.time == pytest.approx(1e6 * plain.time, rel=1e-4)


def test_blocks_of_sources_and_memory_change_little() -> None:
    """Only the stopping of the solvers depends on the company of a source."""
    graph = neighbor_graph(sphere(600, 3), 10)
    together = heat_geodesics(graph, range(20), 2).distances
    alone = heat_geodesics(graph, [17, 3, 17], 2, memory="100kB").distances
    np.testing.assert_allclose(alone, together[[17, 3, 17]], atol=2e-4)


def test_out_of_reach_is_infinite() -> None:
    x = np.concatenate([sphere(200, 3), 50 + sphere(150, 3)])
    graph = neighbor_graph(x, 8)
    found = heat_geodesics(graph, [0, 300], 2).distances
    np.testing.assert_array_equal(np.isinf(found), np.isinf(shortest_paths(graph, [0, 300])))
    joined = connect(graph)
    across = heat_geodesics(joined.graph, [0], 2).distances[0]
    i, j = joined.added[0]
    assert np.isfinite(across).all()
    assert across[j] - across[i] == pytest.approx(joined.lengths[0], rel=1e-2)


def test_heat_far_away_does_not_underflow() -> None:
    """Thousands of edges: exp(-distance / sqrt(t)) leaves float64, so t grows, and says so."""
    x = np.arange(3001.0)[:, None]
    graph = neighbor_graph(x, 2)
    found = heat_geodesics(graph, [0], 1)
    np.testing.assert_allclose(found.distances[0], x[:, 0], rtol=1e-3, atol=1e-3)
    assert found.time > 0.25


def test_pruned_edges_carry_nothing() -> None:
    rng = np.random.default_rng(0)
    n = 3000
    t = 1.5 * np.pi * (1 + 2 * rng.random(n))
    roll = np.column_stack([t * np.cos(t), 20 * rng.random(n), t * np.sin(t)])
    graph = neighbor_graph(roll + 0.7 * rng.normal(size=(n, 3)), 20)
    pruned = prune_shortcuts(graph)
    assert pruned.removed.any()
    source = [int(t.argmin())]
    end = t > np.quantile(t, 0.98)
    arc = (t * np.sqrt(1 + t**2) + np.arcsinh(t)) / 2
    truth = (arc - arc[source])[end].mean()
    short = heat_geodesics(graph, source, 2).distances[0, end].mean()
    cured = heat_geodesics(pruned.graph, source, 2).distances[0, end].mean()
    assert short < 0.75 * truth < cured


def test_duplicates() -> None:
    x = np.repeat(sphere(300, 3), 2, axis=0)
    found = heat_geodesics(neighbor_graph(x, 16), [0], 2).distances[0]
    assert np.isfinite(found).all()
    truth = np.arccos(np.clip(x[0] @ x.T, -1, 1))
    assert relative_error(found, truth) < 0.12
    equal = heat_geodesics(neighbor_graph(np.ones((20, 3)), 19), [0], 1).distances
    np.testing.assert_array_equal(equal, 0)


def test_bad_input_is_one_clear_error() -> None:
    x = sphere(30, 3)
    graph = neighbor_graph(x, 4)
    for dim in (0, 4, 5):
        with pytest.raises(InputError, match=f"dimension {dim}"):
            heat_geodesics(graph, [0], dim)
    with pytest.raises(InputError, match="smoothing"):
        heat_geodesics(graph, [0], 2, smoothing=0)
    with pytest.raises(InputError, match="0 to 29"):
        heat_geodesics(graph, [30], 2)
    with pytest.raises(InputError, match="Euclidean"):
        heat_geodesics(neighbor_graph(x, 4, metric=Sphere(2)), [0], 2)
    bare = NeighborGraph.from_neighbors(graph.indices, graph.distances)
    with pytest.raises(InputError, match="0 coordinates"):
        heat_geodesics(as_edges(bare), [0], 2)
