"""Probability vectors: against 50 digits, on the boundary, and what the metric means."""

from __future__ import annotations

import math

import mpmath as mp
import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.known.simplex import Simplex
from immersion.known.sphere import Sphere

ULP = 8
precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def near(x: Tensor, distance: float, seed: int) -> Tensor:
    """A stored point at about that distance."""
    space, wide = Simplex(x.shape[-1] - 1), x.double()
    u = space.random_tangent(wide, rng(seed))
    return space.exp(wide, distance / space.norm(wide, u) * u).to(x.dtype)


def exact_roots(x: Tensor) -> mp.matrix:
    """Square roots of the stored numbers, as a unit vector."""
    roots = mp.matrix([mp.sqrt(mp.mpf(entry)) for entry in x.tolist()])
    return roots / mp.norm(roots)


@precisions
@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("distance", [1e-6, 1e-3, 0.1, 1.0])
def test_dist_and_log_to_8_ulp(distance: float, n: int, dtype: torch.dtype) -> None:
    space, eps = Simplex(n), torch.finfo(dtype).eps
    with mp.workdps(50):
        for seed in range(4):
            x = space.random(generator=rng(seed), dtype=dtype)
            y = near(x, distance, seed + 10)
            p, q = exact_roots(x), exact_roots(y)
            half = q - p
            angle = 2 * mp.asin(mp.norm(half) / 2)
            # Entries rounded to the dtype do not sum to one: across the simplex nothing is lost,
            # along it the unit vectors above differ from the roots by that much.
            allowed = ULP * eps * 2 * angle + 2 * abs(mp.fsum(x.tolist()) - 1) * angle
            assert abs(space.dist(x, y).item() - 2 * angle) <= allowed
            across = q - (p.T * q)[0] * p
            log = across / mp.norm(across) * 2 * angle
            ours = mp.matrix([mp.mpf(entry) for entry in space.log(x, y).tolist()])
            roots = [mp.sqrt(mp.mpf(entry)) for entry in x.tolist()]
            scaled = mp.matrix([a / b for a, b in zip(ours, roots, strict=True)])
            assert mp.norm(scaled - log) <= 2 * allowed


def test_it_is_the_sphere_of_radius_two() -> None:
    space, sphere = Simplex(4), Sphere(4)
    x, y = space.random(2, 20, generator=rng(), dtype=torch.float64)
    p, q = x.sqrt(), y.sqrt()
    torch.testing.assert_close(space.dist(x, y), 2 * sphere.dist(p, q))
    v = space.random_tangent(x, rng(1))
    moved = 2 * q * sphere.transport(p, q, v / (2 * p))
    torch.testing.assert_close(space.transport(x, y, v), moved)
    middle = space.geodesic(x, y, 0.5)
    torch.testing.assert_close(middle, sphere.proj(p + q).square())


def test_metric_is_the_fisher_information() -> None:
    """g_x(u, u) is twice the rate of the Kullback-Leibler divergence."""
    space = Simplex(3)
    x = space.random(generator=rng(2), dtype=torch.float64)
    u = space.random_tangent(x, rng(3))

    def divergence(t: Tensor) -> Tensor:
        return (x * (x / (x + t * u)).log()).sum()

    zero = torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(torch.func.hessian(divergence)(zero), space.inner(x, u, u))


@precisions
def test_boundary_points_have_distances_logs_and_gradients(dtype: torch.dtype) -> None:
    space = Simplex(2)
    hot = torch.eye(3, dtype=dtype)
    edge = torch.tensor([0.5, 0.5, 0.0], dtype=dtype)
    inner = torch.full((3,), 1 / 3, dtype=dtype)
    points = torch.stack([*hot, edge, inner])
    assert (space.violation(points) <= torch.finfo(dtype).eps).all()
    x = points[:, None].expand(5, 5, 3).clone().requires_grad_()
    y = points.expand(5, 5, 3).clone().requires_grad_()
    distances = space.dist(x, y)
    torch.testing.assert_close(distances[0, 1], torch.tensor(math.pi, dtype=dtype))
    torch.testing.assert_close(distances[0, 3], torch.tensor(math.pi / 2, dtype=dtype))
    v = space.to_tangent(x.detach(), torch.ones_like(x) * torch.tensor([1.0, -1.0, 0.5]).to(dtype))
    for value in (distances, space.log(x, y), space.transport(x, y, v), space.exp(x, v)):
        assert torch.isfinite(value).all()
        for gradient in torch.autograd.grad(value.sum(), (x, y), allow_unused=True):
            assert gradient is None or torch.isfinite(gradient).all()


def test_geodesics_are_reflected_at_the_boundary() -> None:
    space = Simplex(1)
    x = torch.tensor([0.25, 0.75], dtype=torch.float64)
    u = space.to_tangent(x, torch.tensor([-1.0, 0.0], dtype=torch.float64))
    u = u / space.norm(x, u)
    edge = float(space.injectivity_radius(x))
    assert abs(edge - math.pi / 3) < 1e-15
    assert 0 <= space.exp(x, edge * u)[0] < 1e-30 and space.retract(x, edge * u)[0] > 0
    before, after = space.exp(x, (edge - 0.2) * u), space.exp(x, (edge + 0.2) * u)
    torch.testing.assert_close(before, after)


@precisions
def test_many_steps_stay_on_the_simplex(dtype: torch.dtype) -> None:
    """Towards a corner, the minimum of a linear cost, in steps of fixed length past it."""
    space = Simplex(4)
    x = space.random(generator=rng(5), dtype=dtype)
    cost = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=dtype)
    for _ in range(2000):
        x, _ = space.carry(x, -0.05 * space.egrad2rgrad(x, cost), torch.zeros_like(x))
    assert space.violation(x) < 4 * torch.finfo(dtype).eps
    assert x.min() > 0 and x[0] > 1 - 1e-5


def test_projection_of_anything() -> None:
    space = Simplex(2)
    for dtype in (torch.float32, torch.float64):
        a = torch.tensor([[-1.0, -2.0, -3.0], [0.0, 0.0, 0.0], [2.0, 0.0, -1.0]], dtype=dtype)
        a.requires_grad_()
        x = space.proj(a)
        assert (x > 0).all() and (space.violation(x) < 1e-6).all()
        torch.testing.assert_close(x[:2], torch.full((2, 3), 1 / 3, dtype=dtype))
        (gradient,) = torch.autograd.grad(space.dist(x[0], x[2]) + x.square().sum(), a)
        assert torch.isfinite(gradient).all()


def test_violation_and_bad_parameters() -> None:
    space = Simplex(1)
    torch.testing.assert_close(space.violation(torch.tensor([1.5, -0.5])), torch.tensor(0.5))
    torch.testing.assert_close(space.violation(torch.tensor([0.5, 0.75])), torch.tensor(0.25))
    with pytest.raises(InputError, match=r"n of at least 1, not 0"):
        Simplex(0)
