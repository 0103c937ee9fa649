"""Matrices of one rank: against the plain decomposition, and where singular values repeat."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.known.fixed_rank import FixedRank

SIZES = [(4, 3, 2), (3, 4, 1), (30, 40, 3), (40, 25, 2), (3, 3, 3)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_decomposition(a: Tensor, rank: int) -> Tensor:
    U, S, V = torch.linalg.svd(a, full_matrices=False)
    return (U[..., :rank] * S[..., None, :rank]) @ V[..., :rank, :]


def with_values(m: int, n: int, values: list[float], seed: int = 0) -> Tensor:
    a, b = (
        torch.linalg.qr(torch.randn(k, k, generator=rng(seed + i), dtype=torch.float64))[0]
        for i, k in enumerate((m, n))
    )
    r = len(values)
    return (a[:, :r] * torch.tensor(values, dtype=torch.float64)) @ b[:, :r].T


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_projection_and_step_are_the_truncated_decomposition(
    size: tuple[int, int, int], dtype: torch.dtype
) -> None:
    M, tolerance = FixedRank(*size), 200 * torch.finfo(dtype).eps
    a = torch.randn(5, *size[:2], generator=rng(), dtype=dtype)
    x = M.proj(a)
    torch.testing.assert_close(x, by_decomposition(a, M.rank), rtol=0, atol=10 * tolerance)
    x = M.random(5, generator=rng(1), dtype=dtype)
    u = M.random_tangent(x, rng(2))
    for length in (1e-4, 1.0, 10.0):
        scale = 1 + float((x + length * u).abs().max())
        stepped = M.retract(x, length * u)
        torch.testing.assert_close(
            stepped, by_decomposition(x + length * u, M.rank), rtol=0, atol=tolerance * scale
        )
        assert M.violation(stepped).max() <= tolerance


def test_sketch_finds_small_singular_values_and_structured_spaces() -> None:
    """Rank 3 in 60 x 50 goes through the sketch; axes, constants and waves are its bad cases."""
    M, n = FixedRank(60, 50, 3), 50
    t = torch.arange(n, dtype=torch.float64)
    waves = torch.stack([torch.cos(math.pi * k * (t + 0.5) / n) for k in range(3)])
    axes = torch.eye(n, dtype=torch.float64)[[0, 20, 49]]
    left = torch.linalg.qr(torch.randn(60, 3, generator=rng(), dtype=torch.float64))[0]
    for rows in (waves / waves.norm(dim=-1, keepdim=True), axes):
        for values in ([1.0, 1.0, 1.0], [1.0, 1e-4, 1e-8]):
            x = left @ (torch.tensor(values, dtype=torch.float64)[:, None] * rows)
            torch.testing.assert_close(M.retract(x, torch.zeros_like(x)), x, rtol=0, atol=1e-14)
            basis = torch.linalg.svd(x)[2][:3]
            a = torch.randn(60, n, generator=rng(1), dtype=torch.float64)
            outside = a - left @ (left.T @ a)
            expected = a - outside @ (torch.eye(n).double() - basis.T @ basis)
            torch.testing.assert_close(
                M.to_tangent(x, a), expected, rtol=0, atol=1e-14 / min(values)
            )


@pytest.mark.parametrize(
    "values", [[2.0, 2.0, 0.5], [2.0, 1.0, 1.0 - 1e-3], [3.0, 3.0, 0.0]], ids=str
)
def test_derivatives_where_singular_values_repeat(values: list[float]) -> None:
    """Among those kept they may; what matters is the gap to those dropped."""
    M = FixedRank(4, 3, 2)
    a = with_values(4, 3, values).requires_grad_()
    assert torch.autograd.gradcheck(M.proj, (a,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(M.proj, (a,), atol=1e-4)
    x = with_values(4, 3, [2.0, 2.0])
    u = M.random_tangent(x, rng(3)).requires_grad_()
    assert torch.autograd.gradcheck(M.retract, (x, u), fast_mode=True)
    g = torch.randn(4, 3, generator=rng(4), dtype=torch.float64)
    x = x.requires_grad_()
    # x moves within the rank only: of another matrix the two spaces are not defined.
    assert torch.autograd.gradcheck(lambda x: M.to_tangent(M.proj(x), g), (x,), fast_mode=True)


def test_derivative_of_the_projection_at_a_point_is_the_tangent_projection() -> None:
    M = FixedRank(5, 4, 2)
    x, a = with_values(5, 4, [3.0, 3.0]), torch.randn(5, 4, generator=rng(5)).double()
    _, rate = torch.func.jvp(M.proj, (x,), (a,))
    torch.testing.assert_close(rate, M.to_tangent(x, a))


def test_no_unique_projection_is_finite() -> None:
    M = FixedRank(3, 3, 2)
    cases = [torch.eye(3), torch.zeros(3, 3), torch.ones(3, 3), -2 * torch.eye(3)]
    a = torch.stack(cases).double().requires_grad_()
    x = M.proj(a)
    assert (M.violation(x) <= 1e-15).all()
    (gradient,) = torch.autograd.grad(x.square().sum(), a)
    assert torch.isfinite(gradient).all()


def test_violation_says_what_is_wrong_with_the_rank() -> None:
    M = FixedRank(3, 4, 2)
    examples = {
        0.0: with_values(3, 4, [5.0, 1e-6]),
        0.25: with_values(3, 4, [4.0, 2.0, 1.0]),
        1.0: with_values(3, 4, [4.0]),
    }
    for expected, x in examples.items():
        torch.testing.assert_close(M.violation(x), torch.tensor(expected).double())
        torch.testing.assert_close(M.violation(1e-12 * x), torch.tensor(expected).double())
    assert M.violation(torch.zeros(3, 4)) == 1
    with pytest.raises(InputError, match=r"shape \(3, 4\) .* violation 0\.25"):
        M.check(examples[0.25])


def test_transport_is_an_isometry_at_right_angles_too() -> None:
    M = FixedRank(6, 5, 2)
    e, f = torch.eye(6).double(), torch.eye(5).double()
    x = e[:, :2] @ f[:2]
    y = 2 * e[:, 2:4] @ f[2:4]
    v = M.random_tangent(x.expand(10, 6, 5), rng())
    w = M.transport(x, y, v)
    torch.testing.assert_close(M.to_tangent(y, w), w)
    torch.testing.assert_close(M.norm(y, w), M.norm(x, v))


def test_completion_of_a_matrix_from_some_of_its_entries() -> None:
    """Gradient descent by `carry` with momentum finds the matrix to rounding."""
    M = FixedRank(20, 15, 2)
    truth = M.random(generator=rng(6), dtype=torch.float64)
    seen = torch.rand(20, 15, generator=rng(7)) < 0.6
    x = M.proj(torch.where(seen, truth, 0))
    v = torch.zeros_like(x)
    for _ in range(400):
        u = M.egrad2rgrad(x, torch.where(seen, x - truth, 0))
        x, v = M.carry(x, 0.7 * v - 0.5 * u, 0.7 * v - 0.5 * u)
    assert (x - truth).norm() < 1e-9 * truth.norm()
    assert M.violation(x) < 1e-14


def test_bad_parameters() -> None:
    for size in ((3, 4, 0), (3, 4, 4), (0, 4, 1)):
        with pytest.raises(InputError, match="rank from 1 to min"):
            FixedRank(*size)
