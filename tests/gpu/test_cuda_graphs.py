"""The same graph and the same distances from a CUDA device. Run by `make gpu-test`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import immersion as im


@pytest.fixture(autouse=True, scope="module")
def cuda() -> None:
    assert torch.cuda.is_available(), "these tests need a CUDA device"


def test_cosine_neighbours_bit_for_bit() -> None:
    x = np.random.default_rng(0).normal(size=(4000, 40))
    here = im.neighbor_graph(x, 15, metric="cosine")
    there = im.neighbor_graph(x, 15, metric="cosine", device="cuda")
    np.testing.assert_array_equal(there.indices, here.indices)
    np.testing.assert_array_equal(there.distances, here.distances)


def test_geodesic_neighbours() -> None:
    """Device and processor round arcs differently in the last digits of float64."""
    x = im.datasets.sphere(3000, 2, random_state=0).points
    here = im.neighbor_graph(x, 10, metric=im.Sphere(2))
    there = im.neighbor_graph(x, 10, metric=im.Sphere(2), device="cuda")
    np.testing.assert_allclose(there.distances, here.distances, rtol=2e-7)


@pytest.mark.parametrize("data", ["roll", "pieces"])
def test_shortest_paths(data: str) -> None:
    x = im.datasets.swiss_roll(3000, random_state=0).points
    if data == "pieces":
        x[1500:] += 1000
    graph = im.neighbor_graph(x, 10)
    here = im.shortest_paths(graph)
    there = im.shortest_paths(graph, device="cuda")
    np.testing.assert_array_equal(np.isinf(there), np.isinf(here))
    np.testing.assert_allclose(there, here, rtol=1e-6)
    if data == "pieces":
        assert np.isinf(here).any()
