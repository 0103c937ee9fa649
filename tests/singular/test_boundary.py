"""Boundaries: who is near, how far, which way; and none where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.datasets import synthetic
from immersion.datasets.synthetic import SyntheticManifold
from immersion.measure.singular import boundary
from immersion.sampled.graph import neighbor_graph


def half_sphere(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The half z >= 0 of the unit sphere, and the distance of its points to the equator."""
    x = np.random.default_rng(seed).normal(size=(n, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[:, 2] = np.abs(x[:, 2])
    return x, np.arcsin(x[:, 2])


def truth_of(m: SyntheticManifold) -> tuple[np.ndarray, np.ndarray]:
    return m.points, m.boundary_distance


BOUNDED: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "disc": lambda: truth_of(synthetic.hyperball(2000, 2, ambient_dim=5)),
    "interval": lambda: truth_of(synthetic.hypercube(1000, 1, ambient_dim=3)),
    "cube": lambda: truth_of(synthetic.hypercube(5000, 3)),
    "half sphere": lambda: half_sphere(2000, 0),
    "Mobius band": lambda: truth_of(synthetic.mobius_band(3000)),
    "swiss roll": lambda: truth_of(synthetic.swiss_roll(3000)),
    "noisy disc": lambda: truth_of(synthetic.hyperball(2000, 2, noise=0.005, ambient_dim=5)),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_boundaries_are_found(name: str) -> None:
    points, distance = BOUNDED[name]()
    found = boundary(points)
    radius = float(np.median(found.radii))
    own = found.flagged
    # In three dimensions a slope of the density passes for more of the void.
    assert own[distance < 0.4 * radius].mean() > (0.8 if found.dim == 3 else 0.95)
    assert not own[distance > 1.2 * radius].any()
    error = found.distance[own] - distance[own]
    assert math.sqrt(float((error**2).mean())) < 0.1 * radius
    # Corners of the cube have three boundaries, and bent ones are no planes: 1 becomes 1.5.
    assert math.sqrt(float(((error / found.stderr[own]) ** 2).mean())) < 1.5
    assert np.isinf(found.distance[~own]).all()
    assert found.share.value == pytest.approx(own.mean())


def test_the_way_out_of_a_disc() -> None:
    points = synthetic.hyperball(3000, 2).points
    found = boundary(points)
    near = found.flagged & (np.linalg.norm(points, axis=1) > 0.95)
    radial = points[near] / np.linalg.norm(points[near], axis=1, keepdims=True)
    cosine = (found.outward[near] * radial).sum(axis=1)
    # The emptiest direction of 64 neighbours is within some 20 degrees of the normal.
    assert np.mean(cosine > math.cos(math.radians(20))) > 0.9
    assert np.allclose(np.linalg.norm(found.outward, axis=1), 1)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "maker",
    [
        lambda s: synthetic.sphere(2000, 1, random_state=s),
        lambda s: synthetic.sphere(2000, 2, random_state=s),
        lambda s: synthetic.torus(2000, random_state=s),
        lambda s: synthetic.klein_bottle(2000, random_state=s),
    ],
    ids=["circle", "sphere", "torus", "Klein bottle"],
)
def test_closed_manifolds_have_none(maker: Callable[[int], SyntheticManifold], seed: int) -> None:
    found = boundary(maker(seed).points)
    # Uniform p-values of dependent points: 65 share a patch, so 30 count, and 3 errors are .12.
    assert np.mean(found.p_values <= 0.05) < 0.12
    assert found.flagged.sum() == 0
    assert found.share.value == 0 and found.share.stderr > 0


@pytest.mark.parametrize("dim", [2, 3])
def test_a_density_that_varies_is_no_boundary(dim: int) -> None:
    """The sphere with density exp(1.5 z), twenty times from pole to pole."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60_000, dim + 1))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    uneven = x[rng.uniform(size=len(x)) < np.exp(1.5 * (x[:, -1] - 1))][:3000]
    found = boundary(uneven, dim=dim)
    assert found.flagged.sum() == 0
    assert np.mean(found.p_values <= 0.05) < 0.05


def test_points_come_in_order() -> None:
    found = boundary(synthetic.hyperball(1000, 2).points)
    assert (np.diff(found.distance[found.points]) >= 0).all()
    assert len(found.points) == found.flagged.sum()


def test_rotation_scale_and_order_change_nothing() -> None:
    points = synthetic.hyperball(1000, 2, ambient_dim=4).points
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    order = rng.permutation(1000)
    one = boundary(points, dim=2)
    other = boundary((50 * points @ turn + 3)[order], dim=2)
    assert np.allclose(one.p_values[order], other.p_values, rtol=1e-3)
    own = other.flagged
    assert np.array_equal(one.flagged[order], own)
    assert np.allclose(50 * one.distance[order][own], other.distance[own], rtol=1e-3)
    assert np.allclose((one.outward @ turn)[order], other.outward, atol=1e-3)


def test_a_graph_and_its_points_agree() -> None:
    points = synthetic.hyperball(1000, 2).points
    graph = neighbor_graph(points, 64)
    assert np.array_equal(boundary(graph, dim=2).p_values, boundary(points, dim=2).p_values)


def test_what_cannot_be_decided() -> None:
    few = boundary(np.random.default_rng(0).normal(size=(20, 2)))
    assert not few.share.decidable and "few" in few.caveats[0]
    high = boundary(np.random.default_rng(0).normal(size=(500, 10)))
    assert not high.share.decidable and "resolve" in high.caveats[0]
    same = boundary(np.ones((100, 2)), dim=1)
    assert not same.share.decidable
    assert not same.flagged.any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"alpha": 1.0}, "alpha"),
        ({"dim": 3}, "dim"),
        ({"k": 5, "dim": 2}, "12"),
        ({"k": 200}, "199"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], said: str) -> None:
    points = synthetic.hyperball(200, 2).points
    with pytest.raises(InputError, match=said):
        boundary(points, **arguments)  # pyright: ignore
