"""Hessians by cached graphs against their definition, closed forms and second differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.core.metric import Manifold
from immersion.known.euclidean import Euclidean
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.sphere import Sphere
from immersion.optim.hessian import hessian_operator
from laws.case import Case
from laws.every import every

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wave(case: Case) -> tuple[Tensor, Tensor]:
    """Weights of a function without symmetries but those a quotient asks for."""
    D = math.prod(case.manifold.point_shape)
    D = case.manifold.point_shape[0] ** 2 if case.quotient else D
    B = torch.randn(D, D, generator=generator(5), dtype=F64) / D
    return B, torch.randn(D, generator=generator(6), dtype=F64)


def height(case: Case, x: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
    B, c = weights
    v = (x @ x.mT if case.quotient else x).reshape(-1)
    return torch.sin(v @ B @ v) + torch.cos(c @ v)


@every
def test_it_is_the_derivative_of_the_gradient(case: Case) -> None:
    """nabla_u grad f = P(D(E g)[u] + Gamma(u, r)), with the derivative taken entry by entry."""
    M, x, weights = case.manifold, case.points(), wave(case)

    def gradient(x: Tensor) -> Tensor:
        (g,) = torch.autograd.grad(height(case, x, weights), x, create_graph=True)
        return M.egrad2rgrad(x, g)

    value, rgrad, hessian = hessian_operator(lambda x: height(case, x, weights), M, x)
    torch.testing.assert_close(value, height(case, x, weights))
    D = x.numel()
    J = torch.autograd.functional.jacobian(gradient, x.clone()).reshape(D, D)
    for seed in (1, 2):
        u = case.tangent(x, 1.0, seed)
        moved = (J @ u.reshape(D)).reshape(x.shape)
        expected = M.to_tangent(x, moved + M.christoffel(x, u, rgrad))
        size = 1 + float(expected.abs().max()) + float(rgrad.abs().max())
        atol = 10 * case.tolerance(F64) * size * (1 + float(x.abs().max())) ** 2
        torch.testing.assert_close(hessian(u), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_rayleigh_quotient_in_closed_form(dtype: torch.dtype) -> None:
    sphere = Sphere(7)
    A = torch.randn(8, 8, generator=generator(), dtype=dtype)
    A = A + A.mT
    x = sphere.random(generator=generator(1), dtype=dtype)
    u = sphere.random_tangent(x, generator(2))
    value, rgrad, hessian = hessian_operator(lambda x: x @ A @ x, sphere, x)
    torch.testing.assert_close(value, x @ A @ x)
    torch.testing.assert_close(rgrad, 2 * (A @ x - value * x))
    torch.testing.assert_close(hessian(u), sphere.to_tangent(x, 2 * (A @ u - value * u)))
    assert hessian(u).dtype == dtype and not hessian(u).requires_grad


@pytest.mark.parametrize("manifold", [Sphere(3, "exp"), PoincareBall(3), Sphere(3)], ids=str)
def test_second_differences_along_geodesics(manifold: Sphere | PoincareBall) -> None:
    c = torch.randn(manifold.point_shape, generator=generator(3), dtype=F64)
    x = manifold.random(generator=generator(1), dtype=F64)
    u = manifold.random_tangent(x, generator(2))

    def f(x: Tensor) -> Tensor:
        return torch.exp(c @ x)

    h = 1e-4
    second = (f(manifold.exp(x, h * u)) - 2 * f(x) + f(manifold.exp(x, -h * u))) / h**2
    _, _, hessian = hessian_operator(f, manifold, x)
    torch.testing.assert_close(manifold.inner(x, hessian(u), u), second, rtol=1e-5, atol=1e-6)


def test_half_the_squared_distance_has_the_known_eigenvalues() -> None:
    """On the sphere they are 1 along the geodesic and d cot d across it (Karcher)."""
    sphere = Sphere(2)
    y, x = torch.eye(3, dtype=F64)[0], torch.tensor([math.cos(0.7), math.sin(0.7), 0], dtype=F64)
    _, _, hessian = hessian_operator(lambda x: sphere.dist(x, y).square() / 2, sphere, x)
    along = torch.tensor([-math.sin(0.7), math.cos(0.7), 0], dtype=F64)
    across = torch.tensor([0.0, 0, 1], dtype=F64)
    torch.testing.assert_close(hessian(along), along)
    torch.testing.assert_close(hessian(across), 0.7 / math.tan(0.7) * across)


def test_functions_whose_gradient_has_no_graph() -> None:
    c = torch.arange(1.0, 5, dtype=F64)
    x, u = torch.eye(4, dtype=F64)[1], torch.eye(4, dtype=F64)[0]
    _, rgrad, hessian = hessian_operator(lambda x: c @ x, Euclidean(4), x)
    torch.testing.assert_close((rgrad, hessian(u)), (c, torch.zeros_like(c)))
    # On the sphere the constraint still bends them: Hess <c, x> = -<c, x> u.
    _, _, hessian = hessian_operator(lambda x: c @ x, Sphere(3), x)
    torch.testing.assert_close(hessian(u), -2 * u)


def test_the_graph_is_built_once_and_used_as_often_as_wanted() -> None:
    calls = 0

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return (x**4).sum()

    sphere = Sphere(5)
    x = sphere.random(generator=generator(), dtype=F64)
    _, _, hessian = hessian_operator(f, sphere, x)
    u = sphere.random_tangent(x, generator(1))
    before = u.clone()
    first = hessian(u)
    assert calls == 1
    torch.testing.assert_close(hessian(u), first, rtol=0, atol=0)
    torch.testing.assert_close(u, before, rtol=0, atol=0)
    assert calls == 1 and not x.requires_grad


def test_a_batch_of_points_for_a_sum() -> None:
    sphere = Sphere(3)
    c = torch.randn(4, generator=generator(), dtype=F64)
    x = sphere.random(5, generator=generator(1), dtype=F64)
    u = sphere.random_tangent(x, generator(2))
    _, rgrad, hessian = hessian_operator(lambda x: torch.exp(x @ c).sum(), sphere, x)
    for i in range(5):
        _, one, of_one = hessian_operator(lambda x: torch.exp(x @ c), sphere, x[i])
        torch.testing.assert_close((rgrad[i], hessian(u)[i]), (one, of_one(u[i])))


@pytest.mark.parametrize("under", [torch.no_grad, torch.enable_grad])
def test_it_does_not_matter_whether_gradients_are_on(under: type[torch.no_grad]) -> None:
    x = torch.eye(3, dtype=F64)[0]
    with under():
        _, _, hessian = hessian_operator(lambda x: (x**3).sum(), Euclidean(3), x)
        torch.testing.assert_close(hessian(x), 6 * x)


class OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square().sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * grad * x


@pytest.mark.parametrize("manifold", [Euclidean(2), Sphere(1)], ids=str)
@pytest.mark.parametrize(
    "f",
    [
        OnceOnly.apply,
        lambda x: OnceOnly.apply(x) + (x**4).sum(),
        lambda x: torch.sin(OnceOnly.apply(3 * x)),
    ],
)
def test_a_function_that_is_once_differentiable_says_so(
    manifold: Manifold, f: Callable[[Tensor], Tensor]
) -> None:
    """torch passes over such functions in silence where a gradient does not lead to x."""
    x = torch.tensor([0.6, 0.8])
    with pytest.raises(InputError, match=r'twice.*method="lbfgs".*once_diff'):
        hessian_operator(f, manifold, x)


def test_torch_functions_without_a_second_derivative_say_so() -> None:
    c = torch.randn(5, 3, generator=generator())
    x = torch.eye(3)[0]
    _, _, hessian = hessian_operator(lambda x: torch.cdist(x[None], c).sum(), Sphere(2), x)
    with pytest.raises(InputError, match=r"twice.*_cdist_backward"):
        hessian(torch.eye(3)[1])


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x, r"scalar.*shape \(3,\).*\.sum\(\)"),
        (lambda x: 1.0, "not a float"),
        (lambda x: x.sum().detach(), r"without a graph.*\.detach\(\)"),
        (lambda x: (x > 0).sum(), "torch.int64"),
        (lambda x: torch.ones((), requires_grad=True) * 2, "does not depend on x"),
    ],
)
def test_one_error_for_what_cannot_be_differentiated(f: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        hessian_operator(f, Sphere(2), torch.eye(3)[0])
