"""What every manifold promises of its points and tangent spaces."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch

from immersion.core.errors import InputError
from laws.case import Case
from laws.every import every, precisions


@every
@precisions
def test_random_points_lie_on_the_manifold(case: Case, dtype: torch.dtype) -> None:
    M = case.manifold
    x = case.points(3, 4, dtype=dtype)
    assert x.shape == (3, 4, *M.point_shape) and x.dtype == dtype
    assert M.random().shape == M.point_shape and M.random().dtype == torch.get_default_dtype()
    assert M.violation(x).shape == (3, 4)
    assert M.violation(x).max() <= case.tolerance(dtype)
    assert M.check(x) is x
    torch.testing.assert_close(x, case.points(3, 4, dtype=dtype), rtol=0, atol=0)
    assert not torch.equal(x, case.points(3, 4, seed=5, dtype=dtype))


@every
@precisions
def test_proj_is_idempotent_and_lands_on_the_manifold(case: Case, dtype: torch.dtype) -> None:
    M, x = case.manifold, case.points(6, dtype=dtype)
    near = M.proj(x + 0.1 * torch.randn(x.shape, generator=case.generator(3), dtype=dtype))
    assert M.violation(near).max() <= case.tolerance(dtype)
    torch.testing.assert_close(M.proj(near), near, rtol=0, atol=case.tolerance(dtype))
    torch.testing.assert_close(
        M.proj(x), x, rtol=0, atol=case.tolerance(dtype) * (1 + x.abs().max())
    )


@every
@precisions
def test_to_tangent_is_a_projection(case: Case, dtype: torch.dtype) -> None:
    M, x = case.manifold, case.points(6, dtype=dtype)
    a, b = torch.randn(2, *x.shape, generator=case.generator(2), dtype=dtype)
    tolerance = case.tolerance(dtype) * (1 + float(x.abs().max()) ** 2)
    u, v = M.to_tangent(x, a), M.to_tangent(x, b)
    torch.testing.assert_close(M.to_tangent(x, u), u, rtol=0, atol=tolerance)
    torch.testing.assert_close(M.to_tangent(x, 2 * a - b), 2 * u - v, rtol=0, atol=tolerance)
    w = M.random_tangent(x, case.generator(4))
    torch.testing.assert_close(M.to_tangent(x, w), w, rtol=0, atol=tolerance * (1 + w.abs().max()))


@every
def test_inner_is_a_positive_symmetric_form(case: Case) -> None:
    M, x = case.manifold, case.points(6)
    u, v, w = (case.tangent(x, 1.0, seed) for seed in (1, 2, 3))
    tolerance = case.tolerance(x.dtype)
    torch.testing.assert_close(M.inner(x, u, v), M.inner(x, v, u), rtol=0, atol=tolerance)
    torch.testing.assert_close(
        M.inner(x, 2 * u - w, v), 2 * M.inner(x, u, v) - M.inner(x, w, v), rtol=0, atol=tolerance
    )
    torch.testing.assert_close(M.norm(x, u), torch.ones(6, dtype=x.dtype), rtol=0, atol=tolerance)
    assert (M.inner(x, u, v).abs() <= 1 + tolerance).all()
    assert (M.norm(x, torch.zeros_like(u)) == 0).all()


@every
@precisions
def test_egrad2rgrad_is_dual_to_the_metric(case: Case, dtype: torch.dtype) -> None:
    M, x = case.manifold, case.points(6, dtype=dtype)
    g = torch.randn(x.shape, generator=case.generator(2), dtype=dtype)
    r = M.egrad2rgrad(x, g)
    axes = tuple(range(1, x.ndim))
    for seed in range(3, 7):
        u = case.tangent(x, 1.0, seed)
        expected = (g * u).sum(axes)
        size = 1 + float((g.abs() * u.abs()).sum(axes).max())
        torch.testing.assert_close(
            M.inner(x, r, u), expected, rtol=0, atol=case.tolerance(dtype) * size
        )
    size = 1 + float(r.abs().max()) * (1 + float(x.abs().max()) ** 2)
    torch.testing.assert_close(M.to_tangent(x, r), r, rtol=0, atol=case.tolerance(dtype) * size)


@every
def test_random_tangent_is_standard_normal(case: Case) -> None:
    """Squared norms have mean dim and variance 2 dim, components mean 0 and variance 1."""
    M, n = case.manifold, 4000
    x = case.points()
    u = M.random_tangent(x.expand(n, *x.shape), case.generator(7))
    v = case.tangent(x, 1.0, seed=8)
    square, along = M.inner(x, u, u), M.inner(x, u, v)
    assert abs(square.mean() - M.dim) < 5 * math.sqrt(2 * M.dim / n)
    assert abs(along.mean()) < 5 / math.sqrt(n)
    assert abs(along.square().mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs(square.var() / (2 * M.dim) - 1) < 0.5


@every
def test_leading_dimensions_broadcast(case: Case) -> None:
    M = case.manifold
    x, y = case.points(3, 1), case.points(2, seed=4)
    u = case.tangent(x, case.within(x, 0.3))
    v = case.tangent(y, 1.0)
    both = (3, 2)
    assert M.inner(x, u, M.to_tangent(x, v)).shape == both
    assert M.transport(x, y, u).shape == (*both, *M.point_shape)
    assert M.to_tangent(x, v).shape == M.egrad2rgrad(x, v).shape == (*both, *M.point_shape)
    pairwise = M.transport(x, y, u)
    torch.testing.assert_close(pairwise[1, 0], M.transport(x[1, 0], y[0], u[1, 0]))
    wide = u.expand(3, 2, *M.point_shape)
    stepped, carried = M.carry(x, wide, wide)
    assert stepped.shape == carried.shape == (*both, *M.point_shape)
    torch.testing.assert_close(stepped[:, 1:], M.retract(x, u))


@every
def test_no_points_are_no_trouble(case: Case) -> None:
    M = case.manifold
    x = case.points(0)
    u = M.random_tangent(x)
    for result in (M.proj(x), M.to_tangent(x, u), M.egrad2rgrad(x, u), M.retract(x, u),
                   M.transport(x, x, u), *M.carry(x, u, u), M.christoffel(x, u, u)):  # fmt: skip
        assert result.shape == (0, *M.point_shape)
    for result in (M.inner(x, u, u), M.norm(x, u), M.violation(x)):
        assert result.shape == (0,)
    assert M.check(x) is x


@every
def test_memory_layout_changes_nothing(case: Case) -> None:
    M, x = case.manifold, case.points(4)
    u = case.tangent(x, case.within(x, 0.3))
    spread = torch.stack([x, x], -1)[..., 0]
    assert M.dim == 0 or not spread.is_contiguous()
    steps = torch.stack([u, u], -1)[..., 0]
    for name in ("retract", "to_tangent", "egrad2rgrad"):
        torch.testing.assert_close(getattr(M, name)(spread, steps), getattr(M, name)(x, u))
    torch.testing.assert_close(M.proj(spread), M.proj(x))


@every
def test_bad_input_is_one_clear_error(case: Case) -> None:
    M, x = case.manifold, case.points(2)
    wrong = torch.zeros(2, *(size + 3 for size in M.point_shape), dtype=x.dtype)
    shown = ", ".join(map(str, wrong.shape))
    with pytest.raises(InputError, match=rf"shape \({shown}\)") as caught:
        M.proj(wrong)
    assert "\n" not in str(caught.value) and repr(M) in str(caught.value)
    with pytest.raises(InputError, match="argument 2 has shape"):
        M.retract(x, wrong)
    with pytest.raises(InputError, match=r"torch\.int64"):
        M.violation(torch.zeros(2, *M.point_shape, dtype=torch.int64))
    with pytest.raises(InputError, match=r"torch\.float16"):
        M.proj(x.half())
    with pytest.raises(InputError, match="is a list"):
        M.proj(x.tolist())
    with pytest.raises(InputError, match=r"argument 2 is torch\.float32"):
        M.to_tangent(x, x.float())
    with pytest.raises(InputError, match=r"2 of 2 points .* violation inf"):
        M.check(torch.full_like(x, torch.nan))


@every
def test_a_manifold_is_a_value(case: Case) -> None:
    for twin in (copy.deepcopy(case.manifold), pickle.loads(pickle.dumps(case.manifold))):
        assert twin == case.manifold and hash(twin) == hash(case.manifold)
    assert "\n" not in repr(case.manifold)
