"""Derivatives, vmap and compilation of every method of every manifold."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from immersion.core.metric import GeodesicManifold
from laws.case import Case
from laws.every import every, geodesic, precisions
from laws.methods import Method, arguments, methods


@every
def test_gradients_are_those_of_finite_differences(case: Case) -> None:
    """Along the manifold: points move by a retraction and vectors stay tangent."""
    M = case.manifold
    given = arguments(case, 1)
    origin, other = given["x"], given["y"]

    def at(a: Tensor, base: Tensor) -> Tensor:
        return M.retract(base, M.to_tangent(base, a))

    for name, (method, takes) in methods(M).items():
        if name == "violation":
            continue  # zero on the manifold, with a corner there

        def run(*moves: Tensor, takes: str = takes, method: Method = method) -> Tensor:
            x = at(moves[0], origin)
            values: dict[str, Tensor] = {"x": x}
            for kind, move in zip(takes[1:], moves[1:], strict=True):
                values[kind] = (
                    at(move, other) if kind == "y" else M.to_tangent(x, given[kind] + move)
                )
            return method(*(values[kind] for kind in takes))

        moves = tuple(torch.zeros_like(origin, requires_grad=True) for _ in takes)
        assert torch.autograd.gradcheck(
            run, moves, eps=1e-6, atol=2e-5 * case.conditioning, rtol=1e-3, fast_mode=True
        ), name


@every
@precisions
def test_gradients_are_finite_where_points_coincide(case: Case, dtype: torch.dtype) -> None:
    M = case.manifold
    x = case.points(4, dtype=dtype)
    zero, v = torch.zeros_like(x), case.tangent(x, 1.0, 3)
    for name, (method, takes) in methods(M).items():
        given = {"x": x, "y": x.clone(), "u": zero, "v": v}
        leaves = [given[kind].detach().clone().requires_grad_() for kind in takes]
        value = method(*leaves)
        assert torch.isfinite(value).all(), name
        if not value.requires_grad:
            continue  # a constant, as the christoffel of a flat embedding
        gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        for gradient in gradients:
            assert gradient is None or torch.isfinite(gradient).all(), name
    assert torch.isfinite(M.norm(x, zero)).all()


@every
def test_vmap_is_a_loop(case: Case) -> None:
    M = case.manifold
    given = arguments(case, 3)
    for name, (method, takes) in methods(M).items():
        values = [given[kind] for kind in takes]
        together = torch.func.vmap(method)(*values)
        loop = torch.stack([method(*(value[i] for value in values)) for i in range(3)])
        atol = case.tolerance(torch.float64) * (1 + float(loop.abs().max()))
        torch.testing.assert_close(
            together, loop, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )
        gradient = torch.func.vmap(torch.func.grad(lambda *a, f=method: f(*a).sum()))(*values)
        assert torch.isfinite(gradient).all(), name


@every
def test_compiled_is_eager(case: Case) -> None:
    """The whole of a manifold in one graph, without breaks; its derivatives are the next test's."""
    M = case.manifold
    given = arguments(case, 3)

    def everything(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> dict[str, Tensor]:
        values = {"x": x, "y": y, "u": u, "v": v}
        return {
            name: method(*(values[kind] for kind in takes))
            for name, (method, takes) in methods(M).items()
        }

    torch.compiler.reset()
    compiled = torch.compile(everything, fullgraph=True, backend="eager")(**given)
    for name, value in everything(**given).items():
        atol = case.tolerance(torch.float64) * (1 + float(value.abs().max()))
        torch.testing.assert_close(compiled[name], value, rtol=0, atol=atol)


@geodesic
def test_compiled_gradients_are_eager_gradients(case: Case) -> None:
    M = case.manifold
    assert isinstance(M, GeodesicManifold)
    given = arguments(case, 3)

    def loss(x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        return M.dist(M.exp(x, u), y).sum() + M.log(x, y).square().sum()

    def gradients(f: Callable[..., Tensor]) -> list[Tensor]:
        leaves = [given[kind].clone().requires_grad_() for kind in "xyu"]
        return list(torch.autograd.grad(f(*leaves), leaves))

    torch.compiler.reset()
    compiled = gradients(torch.compile(loss, fullgraph=True, backend="aot_eager"))
    for ours, eager in zip(compiled, gradients(loss), strict=True):
        atol = 10 * case.tolerance(torch.float64) * (1 + float(eager.abs().max()))
        torch.testing.assert_close(ours, eager, rtol=0, atol=atol)


@every
def test_float32_is_float64_to_rounding(case: Case) -> None:
    M = case.manifold
    single = arguments(case, 4, torch.float32)
    for name, (method, takes) in methods(M).items():
        if name == "violation":
            continue  # what it measures is the rounding itself
        low = method(*(single[kind] for kind in takes))
        high = method(*(single[kind].double() for kind in takes))
        assert low.dtype == torch.float32, name
        size = (1 + float(high.abs().max())) * (1 + float(single["x"].abs().max()) ** 2)
        atol = case.tolerance(torch.float32) * size
        torch.testing.assert_close(
            low.double(), high, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )
