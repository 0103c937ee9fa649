"""Sensitivity on and off the data against maps whose Jacobian is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from immersion.core.errors import InputError
from immersion.measure.sensitivity import Sensitivity, off_manifold_sensitivity
from immersion.sampled.graph import neighbor_graph

D, WIDTH = 2, 10


def plane(n: int = 400, dtype: type = np.float64) -> np.ndarray:
    """Points of the first two coordinates of ten."""
    rng = np.random.default_rng(0)
    return np.pad(rng.uniform(-1, 1, size=(n, D)), ((0, 0), (0, WIDTH - D))).astype(dtype)


def probe(weight: np.ndarray, x: np.ndarray | None = None, **options: float) -> Sensitivity:
    x = plane() if x is None else x
    matrix = torch.from_numpy(weight).to(torch.float64 if x.dtype == np.float64 else torch.float32)
    graph = neighbor_graph(x, 20)
    return off_manifold_sensitivity(
        lambda z: z @ matrix.T, graph, (WIDTH,), np.arange(100), D, **options
    )  # pyright: ignore[reportArgumentType]


def two_logits(on: float, off: float) -> np.ndarray:
    """Logit 0 grows by `on` along the plane, by `off` off it; logit 1 is a small constant zero."""
    weight = np.zeros((2, WIDTH))
    weight[0, 0], weight[0, D] = on, off
    return weight


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ratio_is_that_of_the_jacobian(dtype: type) -> None:
    found = probe(two_logits(2.0, 6.0), plane(dtype=dtype))
    assert found.ratio.value == pytest.approx(3, rel=1e-4)
    assert found.tangent_energy.value == pytest.approx(4 / 40, rel=1e-3)
    assert found.tangent_fit.value == pytest.approx(1, rel=1e-4)
    assert found.tangent_energy.null is not None
    assert found.tangent_energy.null.value == D / WIDTH


def test_the_null_of_an_isotropic_jacobian() -> None:
    """A Jacobian without preference has the ratio of a random subspace."""
    weight = np.random.default_rng(0).normal(size=(8, WIDTH))
    found = probe(weight)
    assert found.ratio.null is not None
    assert found.ratio.value == pytest.approx(found.ratio.null.value, rel=0.3)


def test_flips_happen_where_the_boundary_is() -> None:
    """Logit difference x_0 + 5 z with z the first normal coordinate: the boundary lies at
    |z| = |x_0| / 5 off the data, at |x_0| along it."""
    x = plane()
    found = probe(two_logits(1.0, 5.0), x, reach=1.0, steps=200)
    unit = neighbor_graph(x, 20).distances[:100, 0]
    distance = np.abs(x[:100, 0]) / 5 / unit
    expected = np.ceil(distance * 200) / 200
    reached = distance < 0.99
    np.testing.assert_allclose(found.fragility[reached], expected[reached], atol=1 / 200 + 1e-9)
    assert np.isinf(found.fragility[distance > 1.01]).all()
    share_on = np.mean(np.abs(x[:100, 0]) / unit <= 1)
    assert found.flipped_on.value == pytest.approx(share_on, abs=0.011)
    assert found.flipped_off.value == pytest.approx(np.mean(distance <= 1), abs=0.011)


def test_a_map_that_ignores_the_normal_space() -> None:
    found = probe(two_logits(1.0, 0.0))
    assert found.flipped_off.value == 0
    assert found.flipped_off.stderr > 0
    assert not found.step_off.decidable
    assert found.tangent_energy.value == pytest.approx(1, abs=1e-6)


def test_a_constant_map_is_not_decidable() -> None:
    found = probe(np.zeros((3, WIDTH)))
    assert not found.ratio.decidable
    assert found.flipped_off.value == 0


def test_the_median_has_an_error() -> None:
    found = probe(two_logits(1.0, 50.0), reach=1.0, steps=100)
    assert found.step_off.decidable
    assert 0 < found.step_off.stderr < found.step_off.value
    assert math.isclose(found.step_off.value, float(np.sort(found.fragility)[50]))


def test_the_same_seed_gives_the_same_numbers() -> None:
    weight = np.random.default_rng(1).normal(size=(4, WIDTH))
    first, second, other = (probe(weight, seed=seed) for seed in (3, 3, 4))
    assert first.ratio == second.ratio
    assert first.ratio.null != other.ratio.null


def test_bad_input() -> None:
    graph = neighbor_graph(plane(), 20)
    with pytest.raises(InputError, match="at least 2 points"):
        off_manifold_sensitivity(lambda z: z, graph, (WIDTH,), np.arange(1), D)
    with pytest.raises(InputError, match="C >= 2"):
        off_manifold_sensitivity(lambda z: z.sum(1), graph, (WIDTH,), np.arange(9), D)
