"""The noise level against the noise that was added."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from immersion.core.errors import InputError
from immersion.datasets import synthetic
from immersion.datasets.synthetic import SyntheticManifold
from immersion.measure.singular import noise_level
from immersion.sampled.graph import neighbor_graph

Maker = Callable[[float, int], SyntheticManifold]
CASES: dict[str, tuple[Maker, int, float]] = {
    "circle": (lambda s, r: synthetic.sphere(1000, 1, noise=s, random_state=r), 1, 0.002),
    "sphere": (lambda s, r: synthetic.sphere(1500, 2, noise=s, random_state=r), 2, 0.01),
    "sphere in 20 dimensions": (
        lambda s, r: synthetic.sphere(1000, 2, noise=s, ambient_dim=20, random_state=r), 2, 0.01,
    ),
    "torus": (lambda s, r: synthetic.torus(1500, noise=s, random_state=r), 2, 0.03),
    "swiss roll": (lambda s, r: synthetic.swiss_roll(1500, noise=s, random_state=r), 2, 0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_truth_lies_in_the_interval(name: str) -> None:
    """Two of three 95% intervals hold the truth with a probability of .993; errors are small."""
    maker, dim, sigma = CASES[name]
    found = [noise_level(maker(sigma, seed).points, dim) for seed in range(3)]
    assert sum(abs(f.value - sigma) <= 1.96 * f.stderr for f in found) >= 2
    assert all(f.stderr < 0.15 * sigma for f in found)
    assert all(abs(f.value - sigma) < 0.15 * sigma for f in found)


@pytest.mark.parametrize("name", CASES)
def test_no_noise_gives_about_zero(name: str) -> None:
    maker, dim, sigma = CASES[name]
    clean = noise_level(maker(0.0, 0).points, dim)
    assert clean.value + 2 * clean.stderr < 0.3 * sigma


def test_noise_as_wide_as_small_patches_takes_larger_ones() -> None:
    m = synthetic.sphere(2000, 1, noise=0.01)
    found = noise_level(m.points, 1)
    assert int(found.settings["k"] or 0) > 8
    assert abs(found.value - 0.01) < 0.05 * 0.01 + 2 * found.stderr
    fixed = noise_level(m.points, 1, k=8)
    assert any("lower bound" in text for text in fixed.caveats)


def test_scale_and_rotation() -> None:
    m = synthetic.torus(1000, noise=0.03)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    one, other = noise_level(m.points, 2), noise_level(100 * m.points @ turn, 2)
    assert other.value == pytest.approx(100 * one.value, rel=1e-3)
    assert other.stderr == pytest.approx(100 * one.stderr, rel=1e-2)


def test_singular_places_are_left_out() -> None:
    m = synthetic.crossing_planes(2000, noise=0.003)
    found = noise_level(m.points, 2)
    assert abs(found.value - 0.003) < 0.1 * 0.003 + 2 * found.stderr
    assert found.n < 2000


def test_a_graph_is_used_as_far_as_it_goes() -> None:
    m = synthetic.sphere(1000, 2, noise=0.01)
    graph = neighbor_graph(m.points, 24)
    found = noise_level(graph, 2)
    assert found.settings["k"] == 12
    assert abs(found.value - 0.01) < 3 * found.stderr
    with pytest.raises(InputError, match="24"):
        noise_level(neighbor_graph(m.points, 20), 2)


def test_what_cannot_be_decided() -> None:
    rng = np.random.default_rng(0)
    assert not noise_level(rng.normal(size=(20, 3))).decidable
    full = noise_level(rng.uniform(size=(500, 2)))
    assert not full.decidable and "no direction off" in full.caveats[0]
    same = noise_level(np.ones((200, 3)), 2)
    assert math.isnan(same.value) and "patches are smooth" in same.caveats[0]


def test_bad_arguments() -> None:
    points = synthetic.sphere(200, 2).points
    with pytest.raises(InputError, match="D - 1"):
        noise_level(points, 3)
    with pytest.raises(InputError, match="dim"):
        noise_level(points, 0)
    with pytest.raises(InputError, match="k >= 12"):
        noise_level(points, 2, k=6)
    with pytest.raises(InputError, match="k must"):
        noise_level(points, 2, k=0)
