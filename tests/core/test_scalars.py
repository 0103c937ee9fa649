"""The stable scalar functions against mpmath, and their derivatives where the plain forms break."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import pytest
import torch
from torch import Tensor

from immersion.core.scalars import safe_length, safe_sqrt, sinc, sinhc, versinc

CASES: list[tuple[Callable[[Tensor], Tensor], Callable[[mpmath.mpf], mpmath.mpf]]] = [
    (sinc, lambda t: mpmath.sin(t) / t if t else mpmath.mpf(1)),
    (sinhc, lambda t: mpmath.sinh(t) / t if t else mpmath.mpf(1)),
    (versinc, lambda t: (1 - mpmath.cos(t)) / t**2 if t else mpmath.mpf("0.5")),
]
ARGUMENTS = [0.0, 1e-30, 1e-8, 1e-3, 0.1, 0.4999, 0.5, 0.5001, 1.0, 3.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize(("ours", "exact"), CASES, ids=["sinc", "sinhc", "versinc"])
def test_values_and_derivatives(
    ours: Callable[[Tensor], Tensor], exact: Callable[[mpmath.mpf], mpmath.mpf], dtype: torch.dtype
) -> None:
    t = torch.tensor(ARGUMENTS + [-a for a in ARGUMENTS], dtype=dtype, requires_grad=True)
    value = ours(t)
    (slope,) = torch.autograd.grad(value.sum(), t, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), t)
    eps = torch.finfo(dtype).eps
    with mpmath.workdps(120):  # 1 - cos(1e-30) has to be seen
        for at, seen, first, second in zip(t.tolist(), value.tolist(), slope.tolist(),
                                           bend.tolist(), strict=True):  # fmt: skip
            point = mpmath.mpf(at)
            assert abs(seen - exact(point)) <= 4 * eps * abs(exact(point))
            if abs(at) >= 1e-3:  # mpmath's own differences need a step
                assert abs(first - mpmath.diff(exact, point)) <= 30 * eps * (1 + abs(first))
                assert abs(second - mpmath.diff(exact, point, 2)) <= 200 * eps * (1 + abs(second))
            else:
                assert abs(first) <= abs(at)


def test_safe_sqrt_has_no_slope_at_zero_and_keeps_nan() -> None:
    a = torch.tensor([4.0, 0.0, -1e-9], requires_grad=True)
    root = safe_sqrt(a)
    assert root.tolist() == [2.0, 0.0, 0.0]
    assert torch.autograd.grad(root.sum(), a)[0].tolist() == [0.25, 0.0, 0.0]
    assert safe_sqrt(torch.tensor(torch.nan)).isnan()


def test_safe_length_at_every_size() -> None:
    a = torch.tensor([[3.0, 4.0], [3e-30, 4e-30], [3e30, 4e30], [0.0, 0.0]], requires_grad=True)
    length = safe_length(a)
    torch.testing.assert_close(length, torch.tensor([5.0, 5e-30, 5e30, 0.0]), rtol=3e-7, atol=0)
    (slope,) = torch.autograd.grad(length.sum(), a)
    expected = torch.tensor([[0.6, 0.8]] * 3 + [[0.0, 0.0]])
    torch.testing.assert_close(slope, expected)
    assert safe_length(torch.tensor([[torch.nan, 1.0]])).isnan().all()
    assert safe_length(torch.zeros(0, 3)).shape == (0,)
    assert torch.autograd.gradgradcheck(
        safe_length, torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    )
