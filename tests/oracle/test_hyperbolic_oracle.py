"""Hyperbolic space against mpmath, on the hyperboloid, whose formulas the library does not use."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from immersion.known.hyperbolic.conversion import convert
from immersion.known.hyperbolic.log_hyperbolic import LogHyperbolic
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall

Model = PoincareBall | Lorentz | LogHyperbolic
Vector = np.ndarray  # of mpf

ULP = 8
MODELS: list[type[Model]] = [PoincareBall, Lorentz, LogHyperbolic]


def numbers(x: Tensor) -> Vector:
    return np.array([mpmath.mpf(c) for c in x.tolist()], dtype=object)


def root_of(M: Model) -> mpmath.mpf:
    return mpmath.sqrt(mpmath.mpf(-float(M.curvature)))


def norm(v: Vector) -> mpmath.mpf:
    return mpmath.sqrt((v * v).sum())


def timed(t: mpmath.mpf, s: Vector) -> Vector:
    return np.concatenate([np.array([t], dtype=object), s])


def sheet(x: Tensor, M: Model) -> Vector:
    """The point of the unit hyperboloid, time first, that the stored x stands for."""
    v = numbers(x) * root_of(M)
    if isinstance(M, PoincareBall):
        square = (v * v).sum()
        return timed((1 + square) / (1 - square), 2 * v / (1 - square))
    if isinstance(M, Lorentz):
        return timed(mpmath.sqrt(1 + (v[1:] * v[1:]).sum()), v[1:])
    r = norm(v)
    return timed(mpmath.cosh(r), mpmath.sinh(r) / r * v if r else v)


def product(p: Vector, q: Vector) -> mpmath.mpf:
    return (p[1:] * q[1:]).sum() - p[0] * q[0]


def exact_dist(x: Tensor, y: Tensor, M: Model) -> mpmath.mpf:
    return mpmath.acosh(-product(sheet(x, M), sheet(y, M))) / root_of(M)


def exact_sheet_log(p: Vector, q: Vector) -> Vector:
    d = mpmath.acosh(-product(p, q))
    return d / mpmath.sinh(d) * (q - mpmath.cosh(d) * p)


def lifted(x: Tensor, u: Tensor, M: Model) -> Vector:
    """The tangent vector of the hyperboloid that the stored u at the stored x stands for."""
    v, w = numbers(x) * root_of(M), numbers(u) * root_of(M)
    if isinstance(M, PoincareBall):  # the derivative of `sheet`
        change, g = (v * w).sum(), 1 - (v * v).sum()
        return timed(4 * change / g**2, 2 / g * w + 4 * change / g**2 * v)
    if isinstance(M, Lorentz):
        p = sheet(x, M)
        return timed((p[1:] * w[1:]).sum() / p[0], w[1:])
    r = norm(v)
    outward = (v * w).sum() / r
    across = w - outward / r * v
    space = mpmath.sinh(r) / r * across + mpmath.cosh(r) * outward / r * v
    return timed(mpmath.sinh(r) * outward, space)


def size(u: Vector) -> mpmath.mpf:
    return mpmath.sqrt(abs(product(u, u)))


def unit(n: int, generator: torch.Generator) -> Tensor:
    a = torch.randn(n, generator=generator, dtype=torch.float64)
    return a / a.norm()


def ball_pairs(
    length: float, n: int, dtype: torch.dtype, radius: float
) -> list[tuple[Tensor, Tensor]]:
    """A point of that norm with others: far, across, on its ray, opposite, next to it."""
    generator = torch.Generator().manual_seed(n)
    x = unit(n, generator) * length
    step = (1 - length * length) * unit(n, generator)
    ends = [unit(n, generator) * length, -x, x * 0.9, x - 1e-2 * step, x - 1e-5 * step]
    scaled = [(radius * y).to(dtype) for y in (x, *ends)]
    scaled.append(torch.nextafter(scaled[0], torch.zeros_like(scaled[0])))
    return [(scaled[0], y) for y in scaled[1:] if not torch.equal(scaled[0], y)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("curvature", [-1.0, -0.37])
@pytest.mark.parametrize("length", [1e-9, 0.1, 0.7, 0.99, 1 - 1e-4, 1 - 1e-6])
def test_poincare_dist_and_log_to_8_ulp_of_what_is_stored(
    length: float, curvature: float, dtype: torch.dtype
) -> None:
    eps = torch.finfo(dtype).eps
    for n in (1, 2, 5, 40):
        ball = PoincareBall(n, curvature)
        for x, y in ball_pairs(length, n, dtype, (-curvature) ** -0.5):
            with mpmath.workdps(80):
                exact = exact_dist(x, y, ball)
                error = abs(mpmath.mpf(float(ball.dist(x, y))) - exact)
                assert error <= ULP * eps * exact, (n, y)
                p, q = sheet(x, ball), sheet(y, ball)
                u = exact_sheet_log(p, q)
                # stereographic projection of the tangent vector
                u = (u[1:] / (1 + p[0]) - u[0] / (1 + p[0]) ** 2 * p[1:]) / root_of(ball)
                error = norm(numbers(ball.log(x, y)) - u)
                assert error <= ULP * eps * norm(u), (n, y)


def polar_pairs(radius: float, n: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(n)
    v = unit(n, generator) * radius
    w = unit(n, generator)
    ends = [w * radius, w * radius / 3, v * 0.75, -v / 2, v + 1e-3 * w, v + 1e-6 * radius * w]
    pairs = [(v.to(dtype), y.to(dtype)) for y in ends]
    # exactly on one ray: multiples of a vector of few bits
    short = torch.round(v / radius * 2**9).to(dtype) * 2.0 ** (math.floor(math.log2(radius)) - 11)
    pairs += [(3 * short, short), (3 * short, 2.5 * short)]
    return [(x, y) for x, y in pairs if not torch.equal(x, y)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("radius", [1e-6, 9e-4, 1.1e-3, 0.3, 5.0, 15.0, 40.0])
def test_log_hyperbolic_dist_far_out(radius: float, dtype: torch.dtype) -> None:
    """The bound asked for is 1e-6 to radius 5 and 1e-4 to radius 40, in float32."""
    for n, curvature in ((1, -1.0), (2, -1.0), (5, -0.37), (20, -1.0)):
        M = LogHyperbolic(n, curvature)
        for x, y in polar_pairs(radius, n, dtype):
            with mpmath.workdps(90):
                exact = exact_dist(x, y, M)
                error = abs(mpmath.mpf(float(M.dist(x, y))) - exact)
                assert error <= ULP * torch.finfo(dtype).eps * exact, (n, x, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("radius", [1e-6, 0.3, 5.0, 15.0, 40.0])
def test_lorentz_dist_far_out(radius: float, dtype: torch.dtype) -> None:
    for n, curvature in ((1, -1.0), (2, -1.0), (5, -0.37), (20, -1.0)):
        M = Lorentz(n, curvature)
        stored = LogHyperbolic(n, curvature)
        for v, w in polar_pairs(radius, n, dtype):
            x, y = convert(v, stored, M), convert(w, stored, M)
            with mpmath.workdps(90):
                exact = exact_dist(x, y, M)
                error = abs(mpmath.mpf(float(M.dist(x, y))) - exact)
                assert error <= ULP * torch.finfo(dtype).eps * exact, (n, x, y)


@pytest.mark.parametrize("radius", [1e-5, 9e-4, 1.1e-3, 0.3, 3.0, 8.0])
@pytest.mark.parametrize("kind", MODELS)
def test_log_exp_and_transport_are_those_of_the_hyperboloid(
    kind: type[Model], radius: float
) -> None:
    """In float64; relative to lengths of tangent vectors, whose rounding far out is amplified."""
    eps = torch.finfo(torch.float64).eps
    for n, curvature in ((1, -1.0), (2, -1.0), (5, -0.37)):
        M, stored = kind(n, curvature), LogHyperbolic(n, curvature)
        amplified = 20 * eps * math.cosh(radius)
        for v, w in polar_pairs(radius, n, torch.float64):
            x, y = convert(v, stored, M), convert(w, stored, M)
            u = M.log(x, y)
            with mpmath.workdps(80):
                p, q = sheet(x, M), sheet(y, M)
                expected = exact_sheet_log(p, q)
                d = size(expected)
                assert size(lifted(x, u, M) - expected) <= amplified * d
                stepped = lifted(x, u, M)
                length = size(stepped)
                end = mpmath.cosh(length) * p + mpmath.sinh(length) / length * stepped
                z = sheet(M.exp(x, u), M)
                # as well as directions can be stored
                spread = math.cosh(radius) + mpmath.sinh(d)
                assert norm(z - end) <= 20 * eps * spread * mpmath.cosh(radius) * max(1, d)
                b = M.random_tangent(x, torch.Generator().manual_seed(1))
                before = lifted(x, b, M)
                after = before + product(q, before) / (1 - product(p, q)) * (p + q)
                moved = lifted(y, M.transport(x, y, b), M)
                assert size(moved - after) <= 10 * amplified * size(before)


@pytest.mark.parametrize("source", MODELS)
@pytest.mark.parametrize("target", MODELS)
def test_conversion_is_an_isometry_onto_what_can_be_stored(
    source: type[Model], target: type[Model]
) -> None:
    generator = torch.Generator().manual_seed(0)
    for n, curvature in ((1, -1.0), (4, -0.37)):
        A, B = source(n, curvature), target(n, curvature)
        for x in 2 * A.random(6, generator=generator, dtype=torch.float64):
            x = A.proj(x)
            y = convert(x, A, B)
            with mpmath.workdps(80):
                p, q = sheet(x, A), sheet(y, B)
                assert norm(p - q) <= 1e-14 * p[0] ** 2
            assert (convert(y, B, A) - x).abs().max() <= 1e-13 * (1 + x.abs().max() ** 2)
