"""Steps along the manifold: retractions, transports, and derivatives of functions along them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from immersion.core.metric import GeodesicManifold
from immersion.optim.hessian import hessian_operator
from laws.case import Case
from laws.every import every, precisions, second_order


def slope(times: list[float], errors: list[float], floor: float) -> float:
    """Order with which the errors fall, from those above rounding; infinite if none is."""
    seen = [(t, e) for t, e in zip(times, errors, strict=True) if e > floor]
    if len(seen) < 2:
        return math.inf
    orders = [math.log(b / d) / math.log(a / c) for (a, b), (c, d) in itertools.pairwise(seen)]
    return orders[-1]


def cost(case: Case, dtype: torch.dtype = torch.float64) -> Callable[[Tensor], Tensor]:
    """A function of the manifold that is neither linear nor symmetric in its entries."""
    shape = case.manifold.point_shape
    if case.quotient:  # a function of the class: of the projector x x^T
        shape = (shape[-2], shape[-2])
    A = torch.randn(3, *shape, generator=case.generator(11), dtype=dtype)
    shift = torch.randn(3, generator=case.generator(12), dtype=dtype)

    def f(x: Tensor) -> Tensor:
        y = x @ x.mT if case.quotient else x
        axes = tuple(range(-len(shape), 0))
        return torch.sin((y.unsqueeze(-len(shape) - 1) * A).sum(axes) / 2 + shift).sum(-1)

    return f


@every
@precisions
def test_a_retraction_starts_at_the_point_with_the_velocity_given(
    case: Case, dtype: torch.dtype
) -> None:
    M, x = case.manifold, case.points(4, dtype=dtype)
    u = case.tangent(x, 1.0)
    zero = torch.zeros_like(x)
    tolerance = case.tolerance(dtype) * (1 + float(x.abs().max()))
    torch.testing.assert_close(M.retract(x, zero), x, rtol=0, atol=tolerance)
    _, velocity = torch.func.jvp(lambda u: M.retract(x, u), (zero,), (u,))
    torch.testing.assert_close(velocity, u, rtol=0, atol=tolerance * (1 + float(u.abs().max())))


@every
@precisions
def test_a_step_stays_on_the_manifold(case: Case, dtype: torch.dtype) -> None:
    M, x = case.manifold, case.points(20, dtype=dtype)
    for fraction in (1e-3, 0.3, 0.9):
        y = M.retract(x, case.tangent(x, case.within(x, fraction)))
        assert M.violation(y).max() <= case.tolerance(dtype) * (1 + float(y.abs().max()))


@every
def test_error_of_a_retraction_falls_with_its_order(case: Case) -> None:
    """Against exp where there is one; elsewhere against x + u, and by the Taylor slopes below."""
    M, x = case.manifold, case.points()
    u = case.tangent(x, case.within(x, 1.0))
    times = [2.0**-k for k in range(2, 8)]
    errors = []
    for t in times:
        y = M.retract(x, t * u)
        if isinstance(M, GeodesicManifold):
            errors.append(float(M.dist(y, M.exp(x, t * u))))
        else:
            errors.append(float((y - x - t * u).norm()))
    order = case.order + 1 if isinstance(M, GeodesicManifold) else 2
    assert slope(times, errors, 1e-11 * case.conditioning) > order - 0.25, errors


@every
def test_taylor_slope_along_the_retraction(case: Case) -> None:
    M, x = case.manifold, case.points()
    u = case.tangent(x, case.within(x, 0.8))
    f = cost(case)
    value, gradient, _ = hessian_operator(f, M, x)
    times = [2.0**-k for k in range(3, 10)]
    errors = [
        float((f(M.retract(x, t * u)) - value - t * M.inner(x, gradient, u)).abs()) for t in times
    ]
    assert slope(times, errors, 1e-11 * case.conditioning) > 1.75, errors


@second_order
def test_taylor_slope_with_the_hessian(case: Case) -> None:
    M, x = case.manifold, case.points()
    u = case.tangent(x, case.within(x, 0.8))
    f = cost(case)
    value, gradient, hessian = hessian_operator(f, M, x)
    first, second = M.inner(x, gradient, u), M.inner(x, hessian(u), u) / 2
    times = [2.0**-k for k in range(3, 9)]
    errors = [
        float((f(M.retract(x, t * u)) - value - t * first - t * t * second).abs()) for t in times
    ]
    assert slope(times, errors, 1e-11 * case.conditioning) > 2.7, errors


@every
def test_hessian_is_symmetric_and_linear(case: Case) -> None:
    M, x = case.manifold, case.points()
    f = cost(case)
    _, _, hessian = hessian_operator(f, M, x)
    u, v = case.tangent(x, 1.0, 1), case.tangent(x, 1.0, 2)
    left, right = M.inner(x, hessian(u), v), M.inner(x, u, hessian(v))
    size = 1 + float(M.norm(x, hessian(u)))
    torch.testing.assert_close(left, right, rtol=0, atol=10 * case.tolerance(x.dtype) * size)
    torch.testing.assert_close(
        hessian(2 * u - v), 2 * hessian(u) - hessian(v), rtol=0,
        atol=10 * case.tolerance(x.dtype) * size * (1 + float(x.abs().max())),
    )  # fmt: skip
    torch.testing.assert_close(
        M.to_tangent(x, hessian(u)), hessian(u), rtol=0,
        atol=10 * case.tolerance(x.dtype) * size * (1 + float(x.abs().max()) ** 2),
    )  # fmt: skip


@second_order
def test_christoffel_is_the_acceleration_of_a_second_order_step(case: Case) -> None:
    M, x = case.manifold, case.points()
    u, v = case.tangent(x, case.within(x, 0.5), 1), case.tangent(x, case.within(x, 0.5), 2)
    step = 1e-3
    for w in (u, v, u + v):
        ahead, behind = M.retract(x, step * w), M.retract(x, -step * w)
        acceleration = M.to_tangent(x, (ahead + behind - 2 * x) / step**2)
        expected = -M.to_tangent(x, M.christoffel(x, w, w))
        size = 1 + float(acceleration.abs().max()) + float(x.abs().max())
        torch.testing.assert_close(acceleration, expected, rtol=0, atol=1e-5 * size)


@every
def test_christoffel_is_symmetric_and_bilinear(case: Case) -> None:
    M, x = case.manifold, case.points(3)
    u, v, w = (case.tangent(x, 1.0, seed) for seed in (1, 2, 3))
    both = M.christoffel(x, u, v)
    tolerance = case.tolerance(x.dtype) * (1 + float(both.abs().max()))
    torch.testing.assert_close(both, M.christoffel(x, v, u), rtol=0, atol=tolerance)
    torch.testing.assert_close(
        M.christoffel(x, 2 * u - w, v),
        2 * both - M.christoffel(x, w, v),
        rtol=0,
        atol=4 * tolerance,
    )


@every
@precisions
def test_transport_is_an_isometry_of_tangent_spaces(case: Case, dtype: torch.dtype) -> None:
    M, x = case.manifold, case.points(5, dtype=dtype)
    u, v = case.tangent(x, 1.0, 1), case.tangent(x, 1.0, 2)
    near = M.retract(x, case.tangent(x, case.within(x, 1e-3), 3))
    for y in (
        near,
        M.retract(x, case.tangent(x, case.within(x, 0.6), 4)),
        case.points(5, seed=9, dtype=dtype),
    ):
        p, q = M.transport(x, y, u), M.transport(x, y, v)
        size = (1 + float(p.abs().max())) * (1 + float(y.abs().max()) ** 2)
        tolerance = case.tolerance(dtype) * size
        torch.testing.assert_close(M.to_tangent(y, p), p, rtol=0, atol=tolerance)
        for a, b, c, d in ((u, u, p, p), (u, v, p, q), (v, v, q, q)):
            torch.testing.assert_close(
                M.inner(y, c, d), M.inner(x, a, b), rtol=0, atol=10 * tolerance
            )
        torch.testing.assert_close(
            M.transport(x, y, 2 * u - v), 2 * p - q, rtol=0, atol=4 * tolerance
        )
    torch.testing.assert_close(
        M.transport(x, x, u), u, rtol=0, atol=case.tolerance(dtype) * (1 + float(u.abs().max()))
    )


@every
@precisions
def test_carry_steps_and_brings_the_momentum(case: Case, dtype: torch.dtype) -> None:
    M, x = case.manifold, case.points(5, dtype=dtype)
    u, v = case.tangent(x, case.within(x, 0.4), 1), case.tangent(x, 1.0, 2)
    y, w = M.carry(x, u, v)
    size = 1 + float(y.abs().max())
    torch.testing.assert_close(y, M.retract(x, u), rtol=0, atol=case.tolerance(dtype) * size)
    size = (1 + float(w.abs().max())) * (1 + float(y.abs().max()) ** 2)
    torch.testing.assert_close(M.to_tangent(y, w), w, rtol=0, atol=case.tolerance(dtype) * size)
    _, unmoved = M.carry(x, torch.zeros_like(u), v)
    torch.testing.assert_close(
        unmoved, v, rtol=0, atol=case.tolerance(dtype) * (1 + float(v.abs().max()))
    )


@every
def test_carry_agrees_with_transport_to_zeroth_order(case: Case) -> None:
    M, x = case.manifold, case.points(5)
    u, v = case.tangent(x, case.within(x, 1.0), 1), case.tangent(x, 1.0, 2)
    errors = []
    for t in (1e-2, 1e-3):
        y, w = M.carry(x, t * u, v)
        errors.append(float((w - M.transport(x, y, v)).abs().max()))
    assert errors[1] <= max(0.2 * errors[0], 1e-9 * case.conditioning), errors


@every
def test_a_step_that_is_not_a_number_spoils_its_own_point_only(case: Case) -> None:
    """One bad gradient must not reach the other rows of a table."""
    M, x = case.manifold, case.points(4)
    u, v = case.tangent(x, case.within(x, 0.3), 1), case.tangent(x, 1.0, 2)
    y, w = M.carry(x, u, v)
    u[1], u[2] = torch.nan, torch.inf
    spoiled_y, spoiled_w = M.carry(x, u, v)
    tolerance = case.tolerance(x.dtype) * (1 + float(y.abs().max())) * (1 + float(w.abs().max()))
    for ours, theirs in ((spoiled_y, y), (spoiled_w, w)):
        torch.testing.assert_close(ours[[0, 3]], theirs[[0, 3]], rtol=0, atol=tolerance)
