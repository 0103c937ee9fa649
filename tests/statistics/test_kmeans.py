"""Clusters: fixed points of Lloyd's rounds, planted groups, and what happens at the edges."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold
from immersion.known.combined.product import Product
from immersion.known.definite.spd import SPD
from immersion.known.euclidean import Euclidean
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.sphere import Sphere
from immersion.known.torus import Torus
from immersion.statistics import kmeans as module
from immersion.statistics.frechet import frechet_mean
from immersion.statistics.kmeans import kmeans

MANIFOLDS: list[tuple[GeodesicManifold, float]] = [
    (Sphere(2), 0.1),
    (PoincareBall(2), 0.1),
    (SPD(2), 0.04),
    (Torus(2), 0.1),
    (Product(Sphere(2), Euclidean(1)), 0.1),
]
every = pytest.mark.parametrize(
    ("manifold", "scale"), MANIFOLDS, ids=[repr(m) for m, _ in MANIFOLDS]
)


def groups(
    manifold: GeodesicManifold, scale: float, k: int, n: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Points round k random centres, n each, in a mixed order, and the group of each."""
    generator = torch.Generator().manual_seed(3)
    centres = manifold.random(k, generator=generator, dtype=dtype)
    order = torch.randperm(k * n, generator=generator)
    points = manifold.wrapped_normal(centres.repeat_interleave(n, 0), scale, generator)
    return points[order], torch.arange(k).repeat_interleave(n)[order]


@every
def test_planted_groups_are_found(manifold: GeodesicManifold, scale: float) -> None:
    points, planted = groups(manifold, scale, 4, 30)
    found = kmeans(manifold, points, 4)
    assert found.converged
    for j in range(4):
        assert len(set(found.labels[planted == j].tolist())) == 1
    assert len(set(found.labels.tolist())) == 4


@every
def test_the_result_is_a_fixed_point(manifold: GeodesicManifold, scale: float) -> None:
    points, _ = groups(manifold, 5 * scale, 3, 40)
    found = kmeans(manifold, points, 6)
    squares = manifold.dist(points.unsqueeze(1), found.centres).square()
    assert found.converged and torch.equal(found.labels, squares.argmin(1))
    assert found.inertia == pytest.approx(float(squares.min(1).values.sum()))
    for j in range(6):
        mean = frechet_mean(manifold, points[found.labels == j])
        assert manifold.dist(mean, found.centres[j]) < 1e-9
    again = kmeans(manifold, points, 6)
    assert torch.equal(again.centres, found.centres) and torch.equal(again.labels, found.labels)


def test_inertia_is_the_least_of_all_partitions() -> None:
    points = torch.randn(7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    best = math.inf
    for partition in itertools.product(range(3), repeat=7):
        labels = torch.tensor(partition)
        inertia = 0.0
        for j in range(3):
            part = points[labels == j]
            if len(part):
                inertia += float((part - part.mean(0)).square().sum())
        best = min(best, inertia)
    assert kmeans(Euclidean(2), points, 3, n_init=10).inertia == pytest.approx(best)


def test_every_point_its_own_cluster() -> None:
    points = Sphere(2).random(7, generator=torch.Generator().manual_seed(0))
    found = kmeans(Sphere(2), points, 7)
    assert found.converged and found.inertia < 1e-10
    assert sorted(found.labels.tolist()) == list(range(7))
    one = kmeans(Euclidean(3), points, 1)
    torch.testing.assert_close(one.centres[0], points.mean(0))


def test_fewer_different_points_than_clusters() -> None:
    points = torch.eye(3)[[0, 1, 0, 1, 0]]
    found = kmeans(Sphere(2), points, 4)
    assert found.converged and found.inertia < 1e-10
    assert len(set(found.labels.tolist())) == 2
    assert found.centres.isfinite().all()


def test_a_cluster_without_points_takes_the_farthest() -> None:
    points = torch.tensor([[0.0], [0.1], [10.0], [10.1], [30.0]])
    labels = torch.zeros(5, dtype=torch.long)
    moved = module._fill_empty(labels, torch.tensor([0.0, 1.0, 3.0, 9.0, 4.0]), 3)
    assert moved.tolist() == [0, 0, 0, 1, 2]
    start = torch.tensor([[5.0], [100.0], [200.0]])
    found = module._lloyd(Euclidean(1), points, start, 50)
    assert found.converged and found.inertia == pytest.approx(0.01, abs=1e-5)


def test_ties_go_to_the_first_centre() -> None:
    points = torch.tensor([[-1.0], [0.0], [1.0]])
    labels, _ = module._nearest(Euclidean(1), points, torch.tensor([[1.0], [-1.0]]))
    assert labels.tolist() == [1, 0, 0]


def test_pieces_of_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _ = groups(Sphere(2), 0.5, 3, 40)
    whole = kmeans(Sphere(2), points, 5)
    monkeypatch.setattr(module, "row_chunks", functools.partial(row_chunks, budget=3000))
    pieces = kmeans(Sphere(2), points, 5)
    assert torch.equal(pieces.labels, whole.labels)
    torch.testing.assert_close(pieces.centres, whole.centres)


def test_seeds_start_better_than_chance() -> None:
    points, _ = groups(Torus(2), 0.05, 8, 20)
    seeded, drawn = 0.0, 0.0
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        chosen = module._seeds(Torus(2), points, 8, generator)
        seeded += float(module._nearest(Torus(2), points, chosen)[1].sum())
        chance = points[torch.randperm(len(points), generator=generator)[:8]]
        drawn += float(module._nearest(Torus(2), points, chance)[1].sum())
    assert seeded < drawn / 3


def test_float32_and_rounds_that_do_not_suffice() -> None:
    points, planted = groups(Sphere(2), 0.1, 4, 30, torch.float32)
    found = kmeans(Sphere(2), points, 4, random_state=5)
    assert found.converged and found.centres.dtype == torch.float32
    assert all(len(set(found.labels[planted == j].tolist())) == 1 for j in range(4))
    spread, _ = groups(Euclidean(2), 1.0, 1, 300)
    assert not kmeans(Euclidean(2), spread, 10, max_iterations=2).converged


BAD: list[tuple[Any, str]] = [
    (lambda: kmeans(Sphere(2), torch.eye(3), 4), "n_clusters = 4 needs at least 4 points, not 3"),
    (lambda: kmeans(Sphere(2), torch.eye(3), 0), "not 0, 3 and 100"),
    (lambda: kmeans(Sphere(2), torch.eye(3), 2, n_init=0), "not 2, 0 and 100"),
    (lambda: kmeans(Sphere(2), torch.eye(3).expand(2, 3, 3), 2), r"not \(2, 3, 3\)"),
    (lambda: kmeans(Sphere(2), torch.full((3, 3), math.nan), 2), "violation inf"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_one_clear_error(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
