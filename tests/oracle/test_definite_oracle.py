"""Positive definite matrices against 50 digits, by square roots and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import mpmath as mp
import pytest
import torch
from torch import Tensor

from immersion.core.metric import GeodesicManifold
from immersion.known.definite.bures_wasserstein import BuresWassersteinSPD
from immersion.known.definite.log_euclidean import LogEuclideanSPD
from immersion.known.definite.spd import SPD

STEP = mp.mpf(10) ** -20
ROUNDING = 20  # units of eps times the condition number


@pytest.fixture(autouse=True)
def fifty_digits() -> Iterator[None]:
    with mp.workdps(50):
        yield


def exact(a: Tensor) -> mp.matrix:
    return mp.matrix([[mp.mpf(entry) for entry in row] for row in a.tolist()])


def function(a: mp.matrix, f: Callable[[mp.mpf], mp.mpf]) -> mp.matrix:
    values, vectors = mp.eigsy((a + a.T) / 2)
    return vectors * mp.diag([f(value) for value in values]) * vectors.T


def trace(a: mp.matrix) -> mp.mpf:
    return mp.fsum(a[i, i] for i in range(a.rows))


def slope(f: Callable[[mp.mpf], mp.matrix]) -> mp.matrix:
    """Central difference: 40 digits of the derivative remain."""
    return (f(STEP) - f(-STEP)) / (2 * STEP)


class AffineInvariant:
    kind = SPD

    @staticmethod
    def dist(x: mp.matrix, y: mp.matrix) -> mp.mpf:
        values, _ = mp.eig(x**-1 * y)
        return mp.sqrt(mp.fsum(mp.log(mp.re(value)) ** 2 for value in values))

    @staticmethod
    def exp(x: mp.matrix, u: mp.matrix) -> mp.matrix:
        root = function(x, mp.sqrt)
        return root * function(root**-1 * u * root**-1, mp.exp) * root

    @staticmethod
    def log(x: mp.matrix, y: mp.matrix) -> mp.matrix:
        root = function(x, mp.sqrt)
        return root * function(root**-1 * y * root**-1, mp.log) * root


class LogEuclidean:
    kind = LogEuclideanSPD

    @staticmethod
    def dist(x: mp.matrix, y: mp.matrix) -> mp.mpf:
        return mp.mnorm(function(x, mp.log) - function(y, mp.log), "f")

    @staticmethod
    def exp(x: mp.matrix, u: mp.matrix) -> mp.matrix:
        move = slope(lambda h: function(x + h * u, mp.log))
        return function(function(x, mp.log) + move, mp.exp)

    @staticmethod
    def log(x: mp.matrix, y: mp.matrix) -> mp.matrix:
        start = function(x, mp.log)
        return slope(lambda h: function(start + h * (function(y, mp.log) - start), mp.exp))


class BuresWasserstein:
    kind = BuresWassersteinSPD

    @staticmethod
    def dist(x: mp.matrix, y: mp.matrix) -> mp.mpf:
        root = function(x, mp.sqrt)
        return mp.sqrt(trace(x) + trace(y) - 2 * trace(function(root * y * root, mp.sqrt)))

    @staticmethod
    def exp(x: mp.matrix, u: mp.matrix) -> mp.matrix:
        n = x.rows
        lyapunov = mp.matrix(n * n)
        for i in range(n):
            for j in range(n):
                for k in range(n):
                    lyapunov[i * n + j, k * n + j] += x[i, k]
                    lyapunov[i * n + j, i * n + k] += x[k, j]
        solution = mp.lu_solve(lyapunov, mp.matrix([u[i, j] for i in range(n) for j in range(n)]))
        S = mp.eye(n) + mp.matrix(n, n)
        for i in range(n):
            for j in range(n):
                S[i, j] += solution[i * n + j]
        return S * x * S.T

    @staticmethod
    def log(x: mp.matrix, y: mp.matrix) -> mp.matrix:
        root = function(x, mp.sqrt)
        T = root**-1 * function(root * y * root, mp.sqrt) * root**-1
        return T * x + x * T - 2 * x


METRICS = [AffineInvariant, LogEuclidean, BuresWasserstein]
metrics = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])


def point(n: int, condition: float, seed: int, dtype: torch.dtype) -> Tensor:
    """A stored matrix of about that condition number, in random axes."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    values = torch.logspace(0, -1, n, base=condition, dtype=torch.float64)
    x = (axes * values) @ axes.T
    return ((x + x.T) / 2).to(dtype)


def near(space: GeodesicManifold, x: Tensor, length: float, seed: int) -> Tensor:
    """A stored point at about that distance from x, or that part of the way to the boundary."""
    wide = x.double()
    u = space.random_tangent(wide, torch.Generator().manual_seed(seed))
    length *= min(1.0, float(space.injectivity_radius(wide)))
    return space.exp(wide, length / space.norm(wide, u) * u).to(x.dtype)


def condition_number(a: Tensor) -> float:
    return float(torch.linalg.cond(a.double()))


def rounding(metric: type, x: Tensor, y: Tensor) -> float:
    """Relative error allowed: eps times the worst condition number of the problem."""
    worst = max(condition_number(x), condition_number(y))
    if metric is AffineInvariant:
        values, _ = mp.eig(exact(x) ** -1 * exact(y))
        values = [mp.re(value) for value in values]
        worst = max(worst, float(max(values) / min(values)))
    return ROUNDING * torch.finfo(x.dtype).eps * worst


def assert_close(ours: Tensor, truth: mp.matrix, relative: float) -> None:
    assert mp.mnorm(exact(ours) - truth, "f") <= relative * mp.mnorm(truth, "f")


def compare(metric: type, x: Tensor, y: Tensor) -> None:
    space, relative = metric.kind(x.shape[-1]), rounding(metric, x, y)
    distance = metric.dist(exact(x), exact(y))
    assert abs(space.dist(x, y).item() - distance) <= relative * distance
    assert abs(space.dist(y, x).item() - distance) <= relative * distance
    u = space.log(x, y)
    assert_close(u, metric.log(exact(x), exact(y)), relative)
    assert_close(space.exp(x, u), metric.exp(exact(x), exact(u)), relative)


@metrics
@precisions
@pytest.mark.parametrize("length", [1e-8, 1e-4, 0.5])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e5, 1e8])
def test_close_points(metric: type, condition: float, length: float, dtype: torch.dtype) -> None:
    if dtype == torch.float32:
        condition, length = condition**0.5, length**0.5
    x = point(3, condition, 1, dtype)
    compare(metric, x, near(metric.kind(3), x, length, 2))


@metrics
@precisions
def test_points_far_apart(metric: type, dtype: torch.dtype) -> None:
    for condition in (3.0, 1e3):
        compare(metric, point(4, condition, 3, dtype), point(4, condition, 4, dtype))


@metrics
@precisions
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_scales(metric: type, scale: float, dtype: torch.dtype) -> None:
    x, y = point(3, 20.0, 5, dtype), point(3, 20.0, 6, dtype)
    compare(metric, scale * x, scale * y)
    space, distance = metric.kind(3), metric.dist(exact(x), exact(scale * y))
    relative = 5 * rounding(metric, x, y)
    assert abs(space.dist(x, scale * y).item() - distance) <= relative * distance
    assert_close(space.log(x, scale * y), metric.log(exact(x), exact(scale * y)), relative)


@metrics
@precisions
def test_single_numbers(metric: type, dtype: torch.dtype) -> None:
    for a, b in ((2.0, 3.0), (1.0, 1.0 + 2**-20), (1e-10, 1e10)):
        compare(metric, torch.tensor([[a]], dtype=dtype), torch.tensor([[b]], dtype=dtype))


@metrics
def test_nearly_singular(metric: type) -> None:
    """The least eigenvalue is 1e-12 of the largest, and known to four digits as it is stored."""
    x = point(3, 1e12, 7, torch.float64)
    compare(metric, x, near(metric.kind(3), x, 0.5, 8))


@metrics
@pytest.mark.parametrize(
    "values", [(1.0, 1.0, 1.0), (2.0, 2.0, 5.0), (1.0, 1.0 + 1e-9, 1.0 - 1e-9)]
)
def test_gradients_at_repeated_eigenvalues(metric: type, values: tuple[float, ...]) -> None:
    """First and second derivatives of dist(x, y), against finite differences at 50 digits."""
    space, generator = metric.kind(3), torch.Generator().manual_seed(0)
    x, y = torch.diag(torch.tensor(values, dtype=torch.float64)), 3 * torch.eye(3).double()
    v, w = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    p, q, V, W = exact(x), exact(y), exact(v + v.T), exact(w + w.T)
    h = mp.mpf(10) ** -12  # leaves 24 digits of both differences
    ahead, here, behind = (metric.dist(p + s * V, q + s * W) for s in (h, 0, -h))
    rates = [(ahead - behind) / (2 * h), (ahead - 2 * here + behind) / h**2]
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    distance = space.dist(x + t * (v + v.T), y + t * (w + w.T))
    (first,) = torch.autograd.grad(distance, t, create_graph=True)
    (second,) = torch.autograd.grad(first, t)
    assert abs(first.item() - rates[0]) <= 1e-13 * (1 + abs(rates[0]))
    assert abs(second.item() - rates[1]) <= 1e-10 * (1 + abs(rates[1]))


@metrics
@precisions
def test_equal_points(metric: type, dtype: torch.dtype) -> None:
    space = metric.kind(3)
    for x in (torch.eye(3, dtype=dtype), point(3, 1e3, 9, dtype)):
        leaves = [x.clone().requires_grad_(), x.clone().requires_grad_()]
        distance = space.dist(*leaves)
        assert distance == 0
        for gradient in torch.autograd.grad(distance, leaves):
            assert (gradient == 0).all()


def test_affine_invariance() -> None:
    """dist(A x A^T, A y A^T) = dist(x, y), which the log-Euclidean metric does not have."""
    x, y = point(4, 10.0, 10, torch.float64), point(4, 10.0, 11, torch.float64)
    A = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = [A @ p @ A.T for p in (x, y)]
    expected = SPD(4).dist(x, y)
    torch.testing.assert_close(SPD(4).dist(*moved), expected, rtol=1e-11, atol=0)
    assert abs(LogEuclideanSPD(4).dist(*moved) - LogEuclideanSPD(4).dist(x, y)) > 0.01


def test_wasserstein_distance_of_commuting_matrices() -> None:
    """That of normal distributions on the line, axis by axis: |sqrt(a) - sqrt(b)|."""
    a, b = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([16.0, 4.0, 1.0]).double()
    expected = math.sqrt(3**2 + 0 + 2**2)
    got = BuresWassersteinSPD(3).dist(torch.diag(a), torch.diag(b))
    assert abs(got.item() - expected) <= 1e-15 * expected
