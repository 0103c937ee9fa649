"""Orthonormal matrices where the laws do not look: cut loci, repeated values, rank, many steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.known.orthonormal.canonical_stiefel import CanonicalStiefel
from immersion.known.orthonormal.grassmann import Grassmann
from immersion.known.orthonormal.polar import polar, polar_rotation
from immersion.known.orthonormal.rotations import Rotations
from immersion.known.orthonormal.stiefel import Stiefel

Orthonormal = Stiefel | CanonicalStiefel | Grassmann | Rotations
Frame = type[Stiefel | CanonicalStiefel]
F64 = torch.float64

SMALL: list[Orthonormal] = [
    Stiefel(6, 3), Stiefel(4, 4), Stiefel(5, 1), CanonicalStiefel(6, 3), CanonicalStiefel(5, 4),
    Grassmann(6, 3), Grassmann(5, 1), Grassmann(5, 4), Rotations(2), Rotations(5),
]  # fmt: skip
STEPS: list[Orthonormal] = [
    *(Stiefel(6, 3, how) for how in ("qr", "cayley", "exp")), CanonicalStiefel(6, 3, "exp"),
    *(Grassmann(6, 3, how) for how in ("polar", "exp")), Stiefel(5, 5), Stiefel(5, 1, "qr"),
    *(Rotations(4, how) for how in ("qr", "cayley", "exp")),
]  # fmt: skip
SIZES: list[tuple[Orthonormal, int]] = [
    *((kind(n, p), count)
      for kind in (Stiefel, CanonicalStiefel)
      for n, p, count in ((4, 2, 200), (7, 1, 200), (8, 8, 100), (9, 8, 30), (12, 10, 20),
                          (20, 18, 5), (64, 32, 2), (200, 10, 10))),
    (Grassmann(50, 8), 100), (Grassmann(6, 5), 200), (Grassmann(9, 1), 200), (Rotations(10), 100),
    (Rotations(2), 200), (Rotations(3), 200), (Rotations(31), 10),
]  # fmt: skip
small = pytest.mark.parametrize("M", SMALL, ids=repr)
steps = pytest.mark.parametrize("M", STEPS, ids=repr)
frames = pytest.mark.parametrize("kind", [Stiefel, CanonicalStiefel])
precisions = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["f32", "f64"])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=dtype)


def points(M: Orthonormal, *batch: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return M.random(*batch, generator=rng(seed), dtype=dtype)


def tangent(M: Orthonormal, x: Tensor, length: float | Tensor, seed: int = 1) -> Tensor:
    u = M.random_tangent(x, rng(seed))
    return u * (length / M.norm(x, u))[..., None, None]


def apart(M: Orthonormal, x: Tensor, y: Tensor) -> Tensor:
    """Largest difference of two points: of subspaces, not of the bases that give them."""
    return (M.dist(x, y) if isinstance(M, Grassmann) else (x - y).abs()).detach().max()


@small
@precisions
def test_log_and_dist_where_points_coincide(M: Orthonormal, dtype: torch.dtype) -> None:
    """Zero, with the right derivatives; that of dist^2, next to them also, is -2 log."""
    x = points(M, 30, dtype=dtype)
    a, b, v = x.clone().requires_grad_(), x.clone().requires_grad_(), tangent(M, x, 1.0)
    assert (M.log(a, b) == 0).all() and (M.dist(a, b) == 0).all()
    for cost in (M.dist(a, b), M.dist(a, b).square()):
        for gradient in torch.autograd.grad(cost.sum(), (a, b)):
            assert (gradient == 0).all()
    gradients = torch.autograd.grad((M.log(a, b) * v).sum(), (a, b))
    for gradient, expected in zip(gradients, (-v, v), strict=True):
        # The derivative of log is the identity: products of matrices of entries at most 1.
        error = M.to_tangent(x, gradient) - expected
        assert error.abs().max() < 20 * torch.finfo(dtype).eps
    for distance in (1e-6, 1e-3, 1.0):
        y = M.exp(x, distance * v).requires_grad_()
        (gradient,) = torch.autograd.grad(M.dist(x, y).square().sum(), y)
        error = M.egrad2rgrad(y, gradient) + 2 * M.log(y, x)
        assert error.abs().max() < 40 * torch.finfo(dtype).eps * distance


@pytest.mark.parametrize(("M", "count"), SIZES, ids=repr)
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.9])
def test_log_inverts_exp(M: Orthonormal, count: int, fraction: float) -> None:
    x = points(M, count)
    length = fraction * float(M.injectivity_radius(x[0]))
    u = tangent(M, x, length)
    y = M.exp(x, u)
    back = M.log(x, y)
    # y is rounded to 1e-16, which is 1e-14 of the shortest vectors and grows to the cut locus.
    assert M.norm(x, back - u).max() <= 1e-12 * length
    assert apart(M, M.exp(x, back), y) <= 1e-12
    assert (M.dist(x, y) - length).abs().max() <= 1e-13
    # Stored in float32 each entry is off by up to eps / 2; at 0.9 log stretches that by 20 at most.
    noise = torch.finfo(torch.float32).eps * math.sqrt(math.prod(M.point_shape))
    x, y = x.float(), y.float()
    assert (M.log(x, y) - u).flatten(1).norm(dim=-1).max() <= 20 * noise
    assert (M.dist(x, y) - length).abs().max() <= 2 * noise


@frames
@pytest.mark.parametrize(("n", "p"), [(4, 2), (6, 3), (9, 8), (12, 10), (20, 18), (30, 4)])
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_gradient_of_log_inverts_that_of_exp(kind: Frame, n: int, p: int, fraction: float) -> None:
    M = kind(n, p)
    x = points(M, 5)
    u = tangent(M, x, fraction * M.injectivity_radius(x))
    z, w = tangent(M, x, 1.0, 2), tangent(M, x, 1.0, 3)
    y, moved = torch.func.jvp(lambda v: M.exp(x, v), (u,), (z,))
    y.requires_grad_()
    (gradient,) = torch.autograd.grad((M.log(x, y) * w).sum(), y)
    # A linear system solved to 1e-14, whose condition is below 1e3 here.
    assert ((gradient * moved).sum((-2, -1)) - (w * z).sum((-2, -1))).abs().max() < 1e-11


@frames
@pytest.mark.parametrize(("n", "p"), [(5, 2), (6, 3), (8, 6), (12, 10), (7, 1), (40, 5), (5, 5)])
def test_log_up_to_the_injectivity_radius_and_beyond(kind: Frame, n: int, p: int) -> None:
    M = kind(n, p)
    # Many columns take seconds a point.
    count = 50 if p < 6 else 12
    x = points(M, count)
    for part in (0.97, 0.98, 0.99):
        length = part * M.injectivity_radius(x)
        y = M.exp(x, tangent(M, x, length, 2))
        u = M.log(x, y)
        assert (M.exp(x, u) - y).abs().max() <= 1e-12
        assert (M.norm(x, u) - length).abs().max() <= 1e-12
    far = points(M, count, seed=2)
    u = M.log(x, far)
    assert torch.equal(u, M.log(x, far)) and (M.norm(x, u) - M.dist(x, far)).abs().max() <= 1e-13


@frames
@precisions
@pytest.mark.parametrize(("n", "p"), [(2, 1), (5, 1), (3, 2), (6, 4)])
def test_one_column_reversed(kind: Frame, n: int, p: int, dtype: torch.dtype) -> None:
    """Half a turn away: half circles through any vector across are shortest; one is chosen."""
    M, bound = kind(n, p), max(40 * torch.finfo(dtype).eps, 1e-7)  # half of the digits
    for x in (torch.eye(n, p, dtype=dtype), points(M, seed=3, dtype=dtype)):
        across = torch.linalg.qr(x, mode="complete")[0][:, -1]
        for short in (1e-6, 1e-8, 1e-12, 0.0):
            y = x.clone()
            y[:, 0] = -math.cos(short) * x[:, 0] + math.sin(short) * across
            u = M.log(x, y)
            assert torch.equal(u, M.log(x, y))
            assert abs(float(M.dist(x, y)) - (math.pi - short)) < bound
            assert abs(float(M.norm(x, u)) - (math.pi - short)) < bound
            assert (M.exp(x, u) - y).abs().max() < bound


@precisions
@pytest.mark.parametrize(("n", "planes"), [(2, 1), (4, 1), (4, 2), (6, 3), (7, 3)])
def test_rotations_by_pi(n: int, planes: int, dtype: torch.dtype) -> None:
    """Also of bases as `random` lays them out in memory: the products of these round otherwise."""
    M, length = Rotations(n), math.pi * math.sqrt(2 * planes)
    bound = 10 * torch.finfo(dtype).eps * length
    signs = torch.tensor([-1.0] * 2 * planes + [1.0] * (n - 2 * planes), dtype=dtype)
    drawn = [points(M, seed=seed, dtype=dtype) for seed in range(60)]
    for x in (torch.eye(n, dtype=dtype), *drawn):
        y = (x * signs).requires_grad_()
        u, d = M.log(x, y), M.dist(x, y)
        assert torch.equal(u, M.log(x, y))
        assert (d - length).abs() < bound and (M.norm(x, u) - length).abs() < bound
        assert apart(M, M.exp(x, u), y) < bound
        for value in (d, u * normal(n, n, dtype=dtype)):
            assert torch.isfinite(torch.autograd.grad(value.sum(), y)[0]).all()


@precisions
@pytest.mark.parametrize(("n", "p", "right"), [(2, 1, 1), (5, 2, 1), (5, 2, 2), (8, 4, 3)])
def test_subspaces_at_a_right_angle(n: int, p: int, right: int, dtype: torch.dtype) -> None:
    M, length = Grassmann(n, p), math.pi / 2 * math.sqrt(right)
    axes = torch.cat([torch.eye(n, dtype=dtype)[None], points(Rotations(n), 50, dtype=dtype)])
    x, y = axes[..., :p], axes[..., right : right + p].clone().requires_grad_()
    u, v = M.log(x, y), tangent(M, x, 1.0)
    bound = 20 * torch.finfo(dtype).eps * length
    assert torch.equal(u, M.log(x, y))
    assert (M.dist(x, y) - length).abs().max() < bound
    assert (M.norm(x, u) - length).abs().max() < bound
    assert apart(M, M.exp(x, u), y) < bound
    assert (M.norm(y, M.transport(x, y, v)) - 1).abs().max() < bound
    for value in (M.dist(x, y), u * v):
        assert torch.isfinite(torch.autograd.grad(value.sum(), y)[0]).all()


@pytest.mark.parametrize("values", [(1, 1, 1), (2, 2, 2), (5, 2, 2), (1, 0.1, 0.1)])
def test_polar_factor_at_repeated_singular_values(values: tuple[float, ...]) -> None:
    a = torch.diag(torch.tensor(values, dtype=F64))
    tall, mirrored = torch.cat([a, 0 * a]), a * torch.tensor([1, 1, -0.5]).double()
    cases = ((polar, tall), (polar, a), (polar_rotation, a), (polar_rotation, mirrored))
    for function, matrix in cases:
        at = matrix.clone().requires_grad_()
        assert torch.autograd.gradcheck(function, (at,))
        assert torch.autograd.gradgradcheck(function, (at,))


@precisions
@pytest.mark.parametrize("M", [Stiefel(6, 3), Grassmann(6, 3), Rotations(3)], ids=repr)
def test_projection_of_any_matrix(M: Orthonormal, dtype: torch.dtype) -> None:
    n, eps = M.point_shape[0], torch.finfo(dtype).eps
    x, full = points(M, dtype=dtype), normal(n, 3, dtype=dtype)
    graded = full * torch.tensor([1, 1e-6, 1e-12], dtype=dtype)
    rank_2 = normal(n, 2, dtype=dtype) @ normal(2, 3, seed=1, dtype=dtype)
    a = torch.stack([x, torch.eye(n, 3, dtype=dtype), full, 1e-25 * full, 1e25 * full, graded,
                     -x, rank_2, torch.ones_like(x), 0 * x]).requires_grad_()  # fmt: skip
    q = M.proj(a)
    assert M.violation(q.detach()).max() < 4 * eps and torch.equal(q, M.proj(a))
    assert (q - a)[:2].abs().max() < 4 * eps
    assert (q[3:5] - q[2]).abs().max() < 20 * eps
    (gradient,) = torch.autograd.grad((q * normal(n, 3, seed=2, dtype=dtype)).sum(), a)
    assert torch.isfinite(gradient).all() and (gradient[-1] == 0).all()
    # At a point of the manifold the derivative is the tangent projection.
    assert M.to_tangent(x, gradient[0] - normal(n, 3, seed=2, dtype=dtype)).abs().max() < 20 * eps


def test_projection_of_a_large_matrix_in_float32() -> None:
    """The singular value decomposition alone leaves 3e-6; `polish` leaves one rounding."""
    M, a = Stiefel(1568, 64), normal(1568, 64, dtype=torch.float32)
    for given in (a, 1e3 * a, a * torch.logspace(0, -5, 64)):
        assert M.violation(M.proj(given).double()) <= 2e-7


@steps
@precisions
def test_steps_of_any_length_stay_on_the_manifold(M: Orthonormal, dtype: torch.dtype) -> None:
    x = points(M, 20, dtype=dtype)
    for length in (1e-8, 1e-4, 1e-2, 0.5, 1.0, 3.0, 10.0, 100.0):
        y = M.retract(x, tangent(M, x, length)).double()
        assert M.violation(y).max() < 2.5 * torch.finfo(dtype).eps, length


@precisions
@pytest.mark.parametrize("M", [Stiefel(8, 3), Stiefel(6, 6), Grassmann(8, 1), Rotations(5)])
def test_polar_steps_reach_the_nearest_point(M: Orthonormal, dtype: torch.dtype) -> None:
    """Alone, and in one batch, where the longest step sets the number of iterations."""
    x = points(M, 20, dtype=dtype)
    lengths = torch.logspace(-8, 2, 20, dtype=dtype)[:, None, None]
    u = lengths * tangent(M, x, 1.0)
    # x + u has singular values from 1 to |u|, so the polar factor loses a factor of |u|.
    bound = 20 * torch.finfo(dtype).eps * (1 + lengths)
    alone = torch.stack([M.retract(x[k], u[k]) for k in range(20)])
    for y in (M.retract(x, u), alone):
        assert ((y - M.proj(x + u)).abs() < bound).all()


@steps
def test_violation_after_ten_thousand_float32_steps(M: Orthonormal) -> None:
    x = points(M, 2, dtype=torch.float32)
    noise = 0.1 * normal(64, *x.shape, seed=1, dtype=torch.float32)
    for step in range(10_000):
        x = M.retract(x, M.to_tangent(x, noise[step % 64]))
        if step % 1000 == 999:
            assert M.violation(x).max() <= 4e-7


@small
@precisions
def test_transport_there_and_back_is_the_identity(M: Orthonormal, dtype: torch.dtype) -> None:
    x, y = points(M, 300, dtype=dtype), points(M, 300, seed=1, dtype=dtype)
    v = tangent(M, x, 1.0)
    w = M.transport(x, y, v)
    loss = torch.ones(300, dtype=dtype)
    if not isinstance(M, Rotations):
        # What is inverted: a system, or x^T y on the way to its polar factor.
        k = y.mT @ x if isinstance(M, Grassmann) else torch.eye(M.p, dtype=dtype) + y.mT @ x
        loss += 1 / torch.linalg.svdvals(k)[..., -1]
    bound = 40 * torch.finfo(dtype).eps * loss
    assert ((M.transport(y, x, w) - v).flatten(1).norm(dim=-1) < bound).all()
    assert ((M.norm(y, w) - 1).abs() < bound).all()
    assert ((w - M.to_tangent(y, w)).flatten(1).norm(dim=-1) < bound).all()


@frames
@precisions
@pytest.mark.parametrize(("n", "p"), [(2, 1), (5, 1), (6, 3), (4, 4)])
def test_transport_to_opposite_columns(kind: Frame, n: int, p: int, dtype: torch.dtype) -> None:
    M, eps = kind(n, p), torch.finfo(dtype).eps
    x = points(M, 50, dtype=dtype)
    v = tangent(M, x, 1.0)
    for y in (-x, x * torch.tensor([-1.0, *[1.0] * (p - 1)], dtype=dtype)):
        w = M.transport(x, y, v)
        assert (M.norm(y, w) - 1).abs().max() < 40 * eps
        assert (M.to_tangent(y, w) - w).abs().max() < 40 * eps


@precisions
def test_subspaces_do_not_depend_on_the_basis(dtype: torch.dtype) -> None:
    M, eps = Grassmann(7, 3), torch.finfo(dtype).eps
    x, y = points(M, 50, dtype=dtype), points(M, 50, seed=1, dtype=dtype)
    o, r = torch.linalg.qr(normal(2, 50, 3, 3, seed=2, dtype=dtype))[0]
    v, turned = tangent(M, x, 1.0), (x @ o, y @ r)
    assert (M.dist(*turned) - M.dist(x, y)).abs().max() < 40 * eps
    # The vectors turn by up to the inverse of the least cosine between x and y.
    bound = 40 * eps / torch.linalg.svdvals(x.mT @ y)[:, -1:, None]
    assert ((M.log(*turned) - M.log(x, y) @ o).abs() < bound).all()
    assert ((M.transport(*turned, v @ o) - M.transport(x, y, v) @ r).abs() < bound).all()
    for move in (M.exp, M.retract, Grassmann(7, 3, "qr").retract):
        assert M.dist(move(x @ o, v @ o), move(x, v)).max() < 40 * eps


@small
def test_pairs_by_broadcasting_are_the_single_pairs(M: Orthonormal) -> None:
    x, y = points(M, 3, 1), points(M, 2, seed=7).mT.contiguous().mT
    u, d = M.log(x, y), M.dist(x, y)
    assert d.shape == (3, 2) and M.dist(x[:0], y).shape == (0, 2)
    for i, j in ((0, 0), (1, 1), (2, 0)):
        assert (u[i, j] - M.log(x[i, 0], y[j].contiguous())).abs().max() < 1e-12
        assert (d[i, j] - M.dist(x[i, 0], y[j].contiguous())).abs() < 1e-13
    assert apart(M, M.exp(x, u), y.expand_as(u)) < 1e-12
    v, w = M.transport(x, y, u.mT.contiguous().mT), M.transport(x, y.contiguous(), u.contiguous())
    assert (v - w).abs().max() < 1e-12
    assert M.log(x[:0], y).shape == M.exp(x[:0], u[:0]).shape == (0, 2, *M.point_shape)


@small
@precisions
def test_check_shows_shape_and_residual(M: Orthonormal, dtype: torch.dtype) -> None:
    x = points(M, 3, dtype=dtype)
    assert M.check(x) is x
    x[1] *= 2
    with pytest.raises(InputError, match=r"1 of 3 points of shape \(3, .*\) .* violation 3, "):
        M.check(x)
    assert M.check(x, tolerance=3.001) is x
    x[2] = math.nan
    with pytest.raises(InputError, match=r"2 of 3 points .* violation inf"):
        M.check(x)
    with pytest.raises(InputError, match=r"check: argument 1 has shape \(3, 7\)"):
        M.check(torch.zeros(3, 7, dtype=dtype))
    with pytest.raises(InputError, match=r"check: argument 1 is torch\.int64"):
        M.check(torch.zeros(M.point_shape, dtype=torch.int64))


def test_bad_parameters_and_reflections() -> None:
    with pytest.raises(InputError, match="violation 2"):
        Rotations(3).check(torch.diag(torch.tensor([1.0, 1.0, -1.0])))
    with pytest.raises(InputError, match="at least 2"):
        Rotations(1)
    for kind in (Stiefel, CanonicalStiefel, Grassmann):
        for n, p in ((3, 4), (3, 0), (1, 1), (3, -1)):
            with pytest.raises(InputError, match=rf"{kind.__name__}\(n, p\).*n = {n}, p = {p}"):
                kind(n, p)
    for make in (Stiefel, CanonicalStiefel, Grassmann, lambda n, p, how: Rotations(n, how)):
        with pytest.raises(InputError, match=r"one of polar, qr.* exp; not 'newton'"):
            make(3, 2, "newton")
