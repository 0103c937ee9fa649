"""Curves through points, against linear interpolation, Bernstein polynomials and their speeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold
from immersion.known.definite.spd import SPD
from immersion.known.euclidean import Euclidean
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.sphere import Sphere
from immersion.known.torus import Torus
from immersion.statistics.interpolation import bezier, geodesic_interpolation

MANIFOLDS: list[GeodesicManifold] = [Sphere(2), PoincareBall(2), SPD(2), Torus(2)]
every = pytest.mark.parametrize("manifold", MANIFOLDS, ids=map(repr, MANIFOLDS))


def knots(manifold: GeodesicManifold, *batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    centre = manifold.random(generator=generator, dtype=torch.float64)
    return manifold.wrapped_normal(centre.expand(*batch, *centre.shape), 0.4, generator)


def test_in_flat_space_it_is_linear_interpolation() -> None:
    generator = torch.Generator().manual_seed(0)
    heights = torch.randn(5, generator=generator, dtype=torch.float64)
    times = torch.tensor([-1.0, 0.0, 0.1, 2.0, 5.0], dtype=torch.float64)
    t = 6 * torch.rand(3, 4, generator=generator, dtype=torch.float64) - 1
    path = geodesic_interpolation(Euclidean(1), heights.unsqueeze(-1), t, times)
    expected = np.interp(t.numpy(), times.numpy(), heights.numpy())
    torch.testing.assert_close(path.squeeze(-1), torch.from_numpy(expected))


@every
def test_path_passes_each_knot_at_constant_speeds(manifold: GeodesicManifold) -> None:
    points = knots(manifold, 2, 4)
    times = torch.tensor([0.0, 1.0, 1.5, 4.0], dtype=torch.float64)
    there = geodesic_interpolation(manifold, points, times, times)
    torch.testing.assert_close(there, points)
    for j in range(3):
        span = float(times[j + 1] - times[j])
        t = times[j] + span * torch.linspace(0, 1, 5, dtype=torch.float64)
        path = geodesic_interpolation(manifold, points, t, times)
        assert path.shape == (2, 5, *manifold.point_shape)
        steps = manifold.dist(path[:, :-1], path[:, 1:])
        whole = manifold.dist(points[:, j], points[:, j + 1])
        torch.testing.assert_close(steps, (whole / 4).unsqueeze(-1).expand(2, 4))


def test_path_has_gradients_in_knots_and_times() -> None:
    points = knots(Sphere(2), 4).requires_grad_()
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    for curve in (geodesic_interpolation, bezier):
        assert torch.autograd.gradcheck(
            lambda a, t, curve=curve: curve(Sphere(2), Sphere(2).proj(a), t), (points, t)
        )


@every
def test_bezier_leaves_and_arrives_along_its_ends(manifold: GeodesicManifold) -> None:
    points = knots(manifold, 3, 4)
    ends = bezier(manifold, points, torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(ends, points[:, [0, 3]])
    h = 1e-6
    near = bezier(manifold, points, torch.tensor([h, 1 - h], dtype=torch.float64))
    velocity = manifold.log(points[:, 0], near[:, 0]) / h
    torch.testing.assert_close(
        velocity, 3 * manifold.log(points[:, 0], points[:, 1]), rtol=0, atol=1e-4
    )
    velocity = manifold.log(points[:, 3], near[:, 1]) / h
    torch.testing.assert_close(
        velocity, 3 * manifold.log(points[:, 3], points[:, 2]), rtol=0, atol=1e-4
    )


def test_bezier_in_flat_space_is_bernsteins_polynomial() -> None:
    generator = torch.Generator().manual_seed(0)
    control = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    t = torch.rand(3, 2, generator=generator, dtype=torch.float64)
    basis = torch.stack([math.comb(4, i) * t**i * (1 - t) ** (4 - i) for i in range(5)], -1)
    expected = torch.einsum("stk,bkd->bstd", basis, control)
    torch.testing.assert_close(bezier(Euclidean(3), control, t), expected)
    assert bezier(Euclidean(3), control, t[0, 0]).shape == (2, 3)


T = torch.tensor([0.5])
BAD: list[tuple[Any, str]] = [
    (lambda: geodesic_interpolation(Sphere(2), torch.eye(3)[:1], T), "at least 2 points, not 1"),
    (lambda: bezier(Sphere(2), torch.eye(3)[:1], T), "at least 2 points, not 1"),
    (lambda: geodesic_interpolation(Sphere(2), torch.eye(3), T + 1), r"time 1\.5 is outside"),
    (lambda: geodesic_interpolation(Sphere(2), torch.eye(3), T * math.nan), "time nan"),
    (
        lambda: geodesic_interpolation(Sphere(2), torch.eye(3), T, torch.tensor([0.0, 2.0, 1.0])),
        r"3 increasing numbers.*\[0.0, 2.0, 1.0\]",
    ),
    (
        lambda: geodesic_interpolation(Sphere(2), torch.eye(3), T, torch.tensor([0.0, 1.0])),
        r"shape \(2,\)",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_one_clear_error(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
