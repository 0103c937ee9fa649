"""Hyperbolic space beyond the laws: curvature, boundary, far points, and the loops over rows."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold
from immersion.known.hyperbolic import rows
from immersion.known.hyperbolic.boundary import gap
from immersion.known.hyperbolic.conversion import convert
from immersion.known.hyperbolic.log_hyperbolic import LogHyperbolic
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall

Model = PoincareBall | Lorentz | LogHyperbolic
MODELS: list[type[Model]] = [PoincareBall, Lorentz, LogHyperbolic]

models = pytest.mark.parametrize("kind", MODELS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(M: Model, n: int, seed: int = 0) -> Tensor:
    return M.random(n, generator=generator(seed), dtype=torch.float64)


# curvature


@models
def test_curvature_of_the_wrong_sign_shows_its_value(kind: type[Model]) -> None:
    for wrong in (0.0, 1.5, -math.inf, math.nan):
        with pytest.raises(InputError, match=f"negative number, not {wrong}"):
            kind(3, wrong)
        with pytest.raises(InputError, match="negative number, not"):
            kind(3, torch.tensor(wrong))
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        kind(3, torch.tensor([-1.0, -2.0]))
    with pytest.raises(InputError, match=r"torch\.int64"):
        kind(3, torch.tensor(-1))
    with pytest.raises(InputError, match="at least 1, not 0"):
        kind(0)
    with pytest.raises(InputError, match="retraction"):
        PoincareBall(3, retraction="cayley")  # pyright: ignore[reportArgumentType]


@models
def test_a_manifold_with_a_parameter_is_one_line_and_a_value(kind: type[Model]) -> None:
    curvature = torch.nn.Parameter(torch.tensor(-2.0))
    M = kind(3, curvature)
    assert "curvature=Parameter" in repr(M) and "\n" not in repr(M)
    assert kind(3, curvature) == M and hash(M) == hash(kind(3, curvature))
    assert kind(3, -2) == kind(3, -2.0)
    assert pickle.loads(pickle.dumps(M)).curvature == curvature


@models
def test_gradients_reach_the_curvature(kind: type[Model]) -> None:
    """Points that stay points as the curvature changes: from log coordinates."""
    v, w, a, b = torch.randn(4, 2, 3, generator=generator(), dtype=torch.float64)

    def everything(curvature: Tensor) -> Tensor:
        M, stored = kind(3, curvature), LogHyperbolic(3, curvature)
        x, y = convert(v, stored, M), convert(w, stored, M)
        pad = torch.zeros(2, M.point_shape[0] - 3, dtype=torch.float64)
        u, z = (M.to_tangent(x, torch.cat([pad, c], -1)) for c in (a, b))
        parts = [M.exp(x, u), M.log(x, y), M.transport(x, y, u), *M.carry(x, u, z),
                 M.egrad2rgrad(x, z), M.christoffel(x, u, z)]  # fmt: skip
        scalars = [M.dist(x, y), M.inner(x, u, z), M.sectional_curvature(x, u, z)]
        return torch.cat([part.sum(-1) for part in parts] + scalars)

    curvature = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(everything, (curvature,), atol=1e-6)
    (gradient,) = torch.autograd.grad(everything(curvature).sum(), curvature)
    assert gradient != 0


@models
def test_a_tensor_curvature_is_the_number(kind: type[Model]) -> None:
    plain, tensor = kind(3, -0.37), kind(3, torch.tensor(-0.37, dtype=torch.float64))
    x, y = points(plain, 4, 1), points(plain, 4, 2)
    u = plain.random_tangent(x, generator())
    torch.testing.assert_close(tensor.dist(x, y), plain.dist(x, y), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(tensor.exp(x, u), plain.exp(x, u), rtol=1e-13, atol=1e-13)


@models
def test_curvature_under_transforms_compilation_and_meta(kind: type[Model]) -> None:
    curvatures = torch.tensor([-0.5, -2.0], dtype=torch.float64)
    v, w = torch.randn(2, 3, generator=generator(), dtype=torch.float64)

    def dist(curvature: Tensor) -> Tensor:
        M, stored = kind(3, curvature), LogHyperbolic(3, curvature)
        return M.dist(convert(v, stored, M), convert(w, stored, M))

    loop = torch.stack([dist(c) for c in curvatures])
    torch.testing.assert_close(torch.func.vmap(dist)(curvatures), loop)
    slope = torch.func.vmap(torch.func.grad(dist))(curvatures)
    assert torch.isfinite(slope).all() and (slope != 0).all()
    compiled = torch.compile(dist, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(curvatures[0]), loop[0])
    M = kind(3, torch.tensor(-1.0, device="meta"))
    x = M.random(2, device="meta")
    assert M.dist(x, x).shape == (2,)


# the boundary of the ball, and points far out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("curvature", [-1.0, -0.37, -7.0])
def test_points_stay_strictly_inside_whatever_the_step(
    curvature: float, dtype: torch.dtype
) -> None:
    for retraction in ("exp", "euclidean"):
        ball = PoincareBall(5, curvature, retraction)
        x = ball.random(50, generator=generator(), dtype=dtype)
        for size in (1.0, 1e2, 1e4, 1e8):
            u = size * torch.randn(50, 5, generator=generator(1), dtype=dtype)
            for y in (ball.retract(x, u), ball.proj(x + u), ball.carry(x, u, u)[0]):
                assert ((-curvature) ** 0.5 * y.double().norm(dim=-1) < 1).all()
                assert (ball.violation(y) == 0).all()
                assert torch.isfinite(ball.dist(x, y)).all()
                assert torch.equal(ball.proj(y), y) or (ball.proj(y) - y).abs().max() < 1e-6
    far = ball.proj(1e30 * torch.ones(5, dtype=dtype))
    assert ball.violation(far) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_on_the_boundary_and_outside_values_and_gradients_are_finite(dtype: torch.dtype) -> None:
    ball = PoincareBall(3)
    for length in (1 - 1e-6, 1 - 1e-7, 1.0, 1.0 + 1e-6, 2.0):
        x = torch.tensor([length, 0, 0], dtype=dtype, requires_grad=True)
        y = torch.tensor([0.1, length / 2, 0.2], dtype=dtype, requires_grad=True)
        u = torch.tensor([0.1, -0.2, 0.3], dtype=dtype, requires_grad=True)
        results: list[Tensor] = [
            ball.dist(x, y), ball.log(x, y), ball.log(y, x), ball.exp(x, u), ball.inner(x, u, u),
            ball.transport(x, y, u), ball.transport(y, x, u), ball.moebius_add(x, y),
            *ball.carry(x, u, u), ball.egrad2rgrad(x, u), ball.christoffel(x, u, u),
        ]  # fmt: skip
        for result in results:
            assert torch.isfinite(result).all()
            for gradient in torch.autograd.grad(
                result.sum(), (x, y, u), allow_unused=True, retain_graph=True
            ):
                assert gradient is None or torch.isfinite(gradient).all()
    assert ball.violation(torch.tensor([1.0, 0, 0], dtype=dtype)) > 0
    with pytest.raises(InputError, match="violation 1"):
        ball.check(torch.tensor([2.0, 0, 0], dtype=dtype))


def test_float32_near_the_boundary_is_what_is_stored() -> None:
    """A float32 sum of squares would be off by 10 % there."""
    x = torch.randn(1000, 16, generator=generator(), dtype=torch.float64)
    x = (x / x.norm(dim=-1, keepdim=True) * (1 - 1e-6)).float()
    exact = PoincareBall(16).dist(torch.zeros(16, dtype=torch.float64), x.double())
    close = PoincareBall(16).dist(torch.zeros(16), x)
    torch.testing.assert_close(close.double(), exact, rtol=1e-7, atol=0)


@models
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_far_points_and_long_steps_are_finite(kind: type[Model], dtype: torch.dtype) -> None:
    M = kind(3)
    stored = LogHyperbolic(3)
    for radius in (20.0, 44.0, 1e3, 1e30):
        v = stored.proj(torch.tensor([[radius, 0, 0], [-radius, 1e-3 * radius, 0]], dtype=dtype))
        x = convert(v, stored, M).requires_grad_()
        assert M.violation(x.detach()).max() <= 1e-6
        u = (1e3 * M.random_tangent(x.detach(), generator())).requires_grad_()
        results = [M.dist(x[0], x[1]), M.log(x[0], x[1]), M.exp(x, u), M.carry(x, u, u)[0],
                   M.log(x[0], x[0]), M.retract(x, -u)]  # fmt: skip
        for result in results:
            assert torch.isfinite(result).all()
        if radius == 20:
            for result in results:
                for gradient in torch.autograd.grad(result.sum(), (x, u), allow_unused=True):
                    assert gradient is None or torch.isfinite(gradient).all()


def test_a_ray_stays_a_ray_at_radius_40() -> None:
    """Rounding of 1e-16 in the direction would set these points 20 apart."""
    M = LogHyperbolic(2)
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([24.0, 32.0], dtype=dtype)
        y = x * (1 - 2.0**-15)
        assert abs(M.dist(x, y) / (40 * 2.0**-15) - 1) < 1e-5
        assert abs(M.norm(x, 2 * x) / 80 - 1) < 1e-6
        y = M.exp(x, -x / 2)
        torch.testing.assert_close(y, x / 2, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [Lorentz, LogHyperbolic])
def test_derivatives_at_the_origin_are_true(kind: type[Lorentz | LogHyperbolic]) -> None:
    """There polar coordinates have no direction; the models use polynomials."""
    M = kind(3)
    w, b = torch.randn(2, 3, generator=generator(), dtype=torch.float64)
    y = convert(w, LogHyperbolic(3), M)

    def lift(v: Tensor) -> Tensor:
        return convert(v, LogHyperbolic(3), M)

    def tangent(x: Tensor) -> Tensor:
        return M.to_tangent(x, torch.cat([torch.zeros(M.point_shape[0] - 3), b.float()]).double())

    functions: list[Callable[[Tensor], Tensor]] = [
        lambda v: M.dist(lift(v), y),
        lambda v: M.log(lift(v), y),
        lambda v: M.log(y, lift(v)),
        lambda v: M.exp(lift(v), tangent(lift(v))),
        lambda v: M.inner(lift(v), tangent(lift(v)), tangent(lift(v))),
        lambda v: M.christoffel(lift(v), tangent(lift(v)), tangent(lift(v))),
    ]
    for length in (0.0, 1e-8, 9.9e-4, 1.01e-3):
        v = length * torch.tensor([0.6, -0.64, 0.48], dtype=torch.float64)
        for function in functions:
            assert torch.autograd.gradcheck(function, (v.requires_grad_(),), eps=1e-6, atol=1e-7)


# the gyrogroup


def test_moebius_addition_is_a_gyrogroup_and_dist_its_norm() -> None:
    for curvature in (-1.0, -0.37):
        ball = PoincareBall(4, curvature)
        x, y = points(ball, 20, 1), points(ball, 20, 2)
        zero = torch.zeros(4, dtype=torch.float64)
        torch.testing.assert_close(ball.moebius_add(x, zero.expand(20, 4)), x)
        torch.testing.assert_close(ball.moebius_add(-x, ball.moebius_add(x, y)), y)
        moved = ball.moebius_add(-x, y)
        torch.testing.assert_close(ball.dist(zero, moved), ball.dist(x, y))
    with pytest.raises(InputError, match=r"moebius_add: argument 2 has shape \(3,\)"):
        ball.moebius_add(zero, zero[:3])


def test_conversion_refuses_different_spaces() -> None:
    x = torch.zeros(3)
    with pytest.raises(InputError, match="differ in dimension"):
        convert(x, PoincareBall(3), Lorentz(4))
    with pytest.raises(InputError, match="differ in curvature"):
        convert(x, PoincareBall(3), Lorentz(3, -2.0))
    with pytest.raises(InputError, match="no model of hyperbolic space"):
        convert(x, PoincareBall(3), "lorentz")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        convert(x[:2], PoincareBall(3), Lorentz(3))


@models
def test_models_agree_on_means_of_transport(kind: type[Model]) -> None:
    """Holonomy of a triangle: the angle is its area."""
    M, stored = kind(2), LogHyperbolic(2)
    corners = torch.tensor([[0.3, 0.1], [1.5, 0.2], [0.4, 1.9]], dtype=torch.float64)
    x, y, z = (convert(v, stored, M) for v in corners)

    def angle(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        u, v = M.log(x, y), M.log(x, z)
        return torch.acos(M.inner(x, u, v) / (M.norm(x, u) * M.norm(x, v)))

    area = math.pi - angle(x, y, z) - angle(y, z, x) - angle(z, x, y)
    u = M.log(x, y)
    turned = M.transport(z, x, M.transport(y, z, M.transport(x, y, u)))
    measured = torch.acos(M.inner(x, u, turned) / M.inner(x, u, u))
    torch.testing.assert_close(measured, area, rtol=1e-12, atol=1e-12)


# loops over rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("curvature", [-1.0, -0.37])
def test_loops_over_rows_are_the_torch_definition(
    curvature: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    ball, n = PoincareBall(7, curvature), 5000
    x = ball.random(n, generator=generator(), dtype=dtype)
    u, v = ball.random_tangent(x, generator(1)), ball.random_tangent(x, generator(2))
    u[::3] *= 1e-4
    u[::7] *= 30  # to the boundary
    x[5], u[7], v[9] = 0, 0, 0
    assert rows.as_rows(x, u, v) is not None
    fast = (*ball.carry(x, u, v), gap(x, -curvature), ball.inner(x, u, u))
    reached = gap(fast[0], -curvature).squeeze(-1)
    monkeypatch.setattr(rows, "FEWEST", 1 << 40)
    slow = (*ball.carry(x, u, v), gap(x, -curvature), ball.inner(x, u, u))
    # the length of the vector depends on how the point is rounded, at the edge by a factor
    bound = (50 + 10 / reached) * torch.finfo(dtype).eps
    assert 0 < (bound > 1).sum() < n // 5
    for a, b in zip(fast, slow, strict=True):
        off, size = ((c.reshape(n, -1)).norm(dim=-1) for c in (a - b, b))
        assert (off <= bound * size).all()
    assert (ball.violation(fast[0]) == 0).all()


def test_loops_over_rows_take_any_layout() -> None:
    ball = PoincareBall(8)
    x = ball.random(100, 64, generator=generator())
    u = ball.random_tangent(x, generator(1))
    y, w = ball.carry(x, u, u)
    z, t = ball.carry(x.transpose(0, 1), u.transpose(0, 1), u.transpose(0, 1))
    assert y.shape == x.shape and torch.equal(z.transpose(0, 1), y)
    assert torch.equal(t.transpose(0, 1), w)


def test_torch_does_the_work_where_it_must_be_seen() -> None:
    x = torch.zeros(1 << 13)[:, None]
    assert rows.as_rows(x) is not None
    assert rows.as_rows(x[1:]) is None
    assert rows.as_rows(x, x[:1]) is None
    leaf = x.clone().requires_grad_()
    assert rows.as_rows(leaf) is None
    with torch.no_grad():
        assert rows.as_rows(leaf) is not None
        with forward_ad.dual_level():
            assert rows.as_rows(x) is None
    assert rows.as_rows(x.to("meta")) is None
    seen: list[bool] = []

    def look(x: Tensor) -> Tensor:
        seen.append(rows.as_rows(x) is None)
        return x.sum()

    torch.func.vmap(look)(torch.zeros(2, 1 << 13, 1))
    torch.func.grad(look)(x)
    torch.func.jvp(look, (x,), (x,))
    assert seen == [True, True, True]


@models
def test_many_float32_steps_keep_points_on_the_manifold(kind: type[Model]) -> None:
    """A walk outwards, back and round; ten thousand steps run in `tests/optim`."""
    M: GeodesicManifold = kind(3)
    x = M.random(8, generator=generator())
    draw = generator(1)
    momentum = M.random_tangent(x, draw)
    for step in range(300):
        push = M.random_tangent(x, draw)
        momentum = 0.9 * momentum + (0.3 if step % 60 < 40 else -0.3) * push
        x, momentum = M.carry(x, 0.3 * momentum, momentum)
    assert torch.isfinite(x).all() and M.violation(x).max() <= 1e-6
    off = (momentum - M.to_tangent(x, momentum)).abs().max()
    assert off <= 1e-5 * (1 + momentum.abs().max()) * (1 + x.abs().max())
