"""The measure of the example agrees with a count by hand, ties included."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/wordnet_mammals.py"
spec = importlib.util.spec_from_file_location("wordnet_example", EXAMPLE)
assert spec is not None
assert spec.loader is not None
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)


def counted(away: Tensor, edges: Tensor) -> tuple[float, float]:
    """Mean rank and MAP noun by noun: every threshold adds its precision times the recall won."""
    n = len(away)
    ranks, averages = [], []
    for u in range(n):
        right = {v for node, v in edges.tolist() if node == u}
        wrong = set(range(n)) - right - {u}
        ranks += [1 + sum(bool(away[u, w] <= away[u, v]) for w in wrong) for v in right]
        recall = average = 0.0
        for limit in sorted({float(away[u, v]) for v in range(n) if v != u}):
            hits = sum(bool(away[u, v] <= limit) for v in right)
            misses = sum(bool(away[u, w] <= limit) for w in wrong)
            if right:
                average += hits / (hits + misses) * (hits / len(right) - recall)
                recall = hits / len(right)
        averages += [average] if right else []
    return sum(ranks) / len(ranks), sum(averages) / len(averages)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_mean_rank_and_map_are_those_of_a_count(seed: int, ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    n = 20
    points = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    points = (3 * points).round() if ties else points
    edges = torch.argwhere(torch.rand(n, n, generator=generator) < 0.15)
    edges = edges[(edges[:, 0] != edges[:, 1]) & (edges[:, 0] != 0)]
    away = torch.cdist(points, points)
    assert example.reconstruction(away, edges) == pytest.approx(counted(away, edges), rel=1e-12)


def test_all_points_at_one_place_rank_last() -> None:
    edges = torch.tensor([[1, 0], [2, 0], [2, 1]])
    rank, precision = example.reconstruction(torch.zeros(10, 10, dtype=torch.float64), edges)
    assert rank == pytest.approx((9 + 8 + 8) / 3)
    assert precision == pytest.approx((1 / 9 + 2 / 9) / 2)


def test_perfect_distances_are_perfect() -> None:
    edges = torch.tensor([[1, 0], [2, 0], [2, 1]])
    away = torch.full((10, 10), 2.0, dtype=torch.float64)
    away[edges[:, 0], edges[:, 1]] = 1
    assert example.reconstruction(away, edges) == (1, 1)


def test_permuted_edges_keep_the_general_nouns() -> None:
    edges = torch.tensor([[node, above] for node in range(10, 60) for above in range(node % 5 + 1)])
    mixed = example.permuted(edges, 0)
    assert not torch.equal(mixed, edges)
    assert set(mixed[:, 1].tolist()) == set(edges[:, 1].tolist())
    assert len(mixed.unique(dim=0)) == len(mixed) <= len(edges)
