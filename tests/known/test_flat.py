"""Euclidean, Torus and Oblique beyond the laws that all manifolds share."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.known.euclidean import Euclidean
from immersion.known.oblique import Oblique
from immersion.known.sphere import Sphere
from immersion.known.torus import Torus

both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def short_way(x: float, y: float) -> mpmath.mpf:
    """y - x less the nearest whole number of turns, to 50 digits: by the logarithm of a phase."""
    with mpmath.workdps(50):
        return mpmath.arg(mpmath.expj(mpmath.mpf(y) - mpmath.mpf(x)))


def ulps(value: Tensor, exact: list[mpmath.mpf]) -> float:
    eps = torch.finfo(value.dtype).eps
    return max(
        float(abs((mpmath.mpf(float(v)) - e) / e)) / eps
        for v, e in zip(value.flatten(), exact, strict=True)
    )


@both
def test_torus_differences_keep_their_digits_across_the_cut(dtype: torch.dtype) -> None:
    apart = torch.logspace(-6, math.log10(3.0), 40, dtype=dtype)
    torus = Torus(1)
    for lean in (0.5, 0.01, 0.9):
        x = math.pi - lean * apart
        y = -math.pi + (1 - lean) * apart
        for a, b in ((x, y), (y, x)):
            exact = [short_way(float(p), float(q)) for p, q in zip(a, b, strict=True)]
            assert ulps(torus.log(a.unsqueeze(-1), b.unsqueeze(-1)), exact) <= 2
            assert ulps(torus.dist(a.unsqueeze(-1), b.unsqueeze(-1)), [abs(e) for e in exact]) <= 2


@both
def test_torus_wraps_any_angle(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    turns = torch.randint(-1000, 1001, (500,), generator=generator).to(dtype)
    t = (2 * math.pi * turns + 6 * torch.rand(500, generator=generator, dtype=dtype) - 3).unsqueeze(
        -1
    )
    wrapped = Torus(1).proj(t)
    exact = [short_way(0.0, float(a)) for a in t]
    worst = max(abs(float(a) - float(e)) for a, e in zip(wrapped, exact, strict=True))
    assert worst <= 4 * torch.finfo(dtype).eps
    assert (Torus(1).violation(wrapped) == 0).all()


@both
def test_torus_leaves_angles_of_one_turn_as_they_are(dtype: torch.dtype) -> None:
    pi = torch.tensor([math.pi], dtype=dtype)
    ends = torch.stack([pi, -pi, torch.nextafter(pi, 0 * pi), 0 * pi])
    assert torch.equal(Torus(1).proj(ends), ends)
    beyond = torch.nextafter(pi, 4 * pi)
    assert Torus(1).violation(beyond) > 0
    assert Torus(1).dist(pi, -pi) <= 4 * torch.finfo(dtype).eps
    assert Torus(1).dist(beyond, Torus(1).proj(beyond)) <= 4 * torch.finfo(dtype).eps


def test_half_a_turn_is_the_longest_way_and_has_a_gradient() -> None:
    x = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([math.pi, 1.0 - math.pi], dtype=torch.float64)
    dist = Torus(2).dist(x, y)
    torch.testing.assert_close(dist, torch.tensor(math.sqrt(2) * math.pi, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(dist, x)
    torch.testing.assert_close(gradient.norm(), torch.tensor(1.0, dtype=torch.float64))


def test_wrapping_has_derivative_one() -> None:
    t = torch.tensor([0.3, 4.0, -50.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(Torus(3).proj(t).sum(), t)
    assert torch.equal(gradient, torch.ones_like(gradient))


def test_random_angles_are_uniform() -> None:
    x = Torus(2).random(20000, generator=torch.Generator().manual_seed(0))
    assert x.abs().max() <= math.pi
    assert abs(x.cos().mean()) < 0.02 and abs(x.sin().mean()) < 0.02


@both
def test_oblique_is_a_sphere_a_column(dtype: torch.dtype) -> None:
    oblique, sphere = Oblique(4, 3), Sphere(3)
    generator = torch.Generator().manual_seed(0)
    x, y = oblique.random(2, 5, generator=generator, dtype=dtype)
    u = oblique.log(x, y)
    angles = torch.stack([sphere.dist(x[..., j], y[..., j]) for j in range(3)], -1)
    torch.testing.assert_close(oblique.dist(x, y), angles.square().sum(-1).sqrt())
    for j in range(3):
        torch.testing.assert_close(u[..., j], sphere.log(x[..., j], y[..., j]))
    torch.testing.assert_close(oblique.exp(x, u), y)
    assert (oblique.injectivity_radius(x) == math.pi).all()


def test_curvature_of_oblique_planes() -> None:
    """1 within a column, 0 across two, 1/2 for the diagonal plane of two equal columns."""
    oblique = Oblique(3, 2)
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    e, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)

    def column(first: Tensor, second: Tensor) -> Tensor:
        return torch.stack([first, second], -1)

    planes = {
        1.0: (column(e[0], zero), column(e[1], zero)),
        0.0: (column(e[0], zero), column(zero, e[1])),
        0.5: (column(e[0], e[0]), column(e[1], e[1])),
    }
    for curvature, (u, v) in planes.items():
        assert float(oblique.sectional_curvature(x, u, v)) == pytest.approx(curvature, abs=1e-15)
        leaning = u + 1e-7 * v
        assert float(oblique.sectional_curvature(x, u, leaning)) == pytest.approx(
            curvature, abs=1e-7
        )
    u = planes[1.0][0]
    assert oblique.sectional_curvature(x, u, 2 * u) == 0
    assert oblique.sectional_curvature(x, u, 0 * u) == 0


def test_euclidean_distances_neither_overflow_nor_vanish() -> None:
    line = Euclidean(2)
    x = torch.zeros(2)
    for size in (1e-30, 1.0, 1e30):
        assert float(line.dist(x, torch.tensor([3 * size, 4 * size]))) == pytest.approx(5 * size)
    assert line.check(x) is x
    with pytest.raises(InputError, match="violation"):
        line.check(torch.tensor([0.0, torch.inf]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Euclidean(), r"not \(\)"),
        (lambda: Euclidean(3, 0), r"not \(3, 0\)"),
        (lambda: Torus(0), "not 0"),
        (lambda: Oblique(1, 4), "n = 1"),
        (lambda: Oblique(3, 0), "p = 0"),
        (lambda: Oblique(3, 2, "qr"), "'qr'"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_impossible_parameters_are_named(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=message):
        make()


def test_shapes_make_the_value() -> None:
    assert Euclidean(4, 2) == Euclidean(4, 2) != Euclidean(8)
    assert repr(Euclidean(4, 2)) == "Euclidean(4, 2)"
    assert Oblique(3, 2) != Oblique(3, 2, "exp")
