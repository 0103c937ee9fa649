"""Positive definite matrices where the laws do not look: repeated eigenvalues, the boundary."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold
from immersion.known.definite import matrix_functions as mf
from immersion.known.definite.bures_wasserstein import BuresWassersteinSPD
from immersion.known.definite.divided_differences import Kind, divided_difference
from immersion.known.definite.log_euclidean import LogEuclideanSPD
from immersion.known.definite.spd import SPD

METRICS = [SPD, LogEuclideanSPD, BuresWassersteinSPD]
metrics = pytest.mark.parametrize("kind", METRICS, ids=lambda kind: kind.__name__)
KINDS: list[Kind] = ["log", "log1p", "exp", "inverse", "root"]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def symmetric(*shape: int, seed: int = 0) -> Tensor:
    return mf.symmetric(torch.randn(*shape, generator=rng(seed), dtype=torch.float64))


def definite(n: int, seed: int = 0) -> Tensor:
    return SPD(n).random(generator=rng(seed), dtype=torch.float64)


@metrics
@pytest.mark.parametrize("values", [(1.0, 1.0, 1.0), (2.0, 2.0, 5.0)])
def test_every_method_has_derivatives_at_repeated_eigenvalues(
    kind: Callable[[int], CurvedManifold], values: tuple[float, ...]
) -> None:
    M = kind(3)
    x = torch.diag(torch.tensor(values, dtype=torch.float64)).requires_grad_()
    y, u = definite(3, 1).requires_grad_(), (0.1 * symmetric(3, 3, seed=2)).requires_grad_()
    v = symmetric(3, 3, seed=3).requires_grad_()
    twice = [
        (M.exp, (x, u)),
        (M.log, (x, y)),
        (M.dist, (x, y)),
        (M.inner, (x, u, v)),
        (M.egrad2rgrad, (x, u)),
    ]
    once = [(M.transport, (x, y, v)), (M.christoffel, (x, u, v)), (M.proj, (x,))]
    for method, arguments in (*twice, *once):
        assert torch.autograd.gradcheck(method, arguments, fast_mode=True)
    for method, arguments in twice:
        assert torch.autograd.gradgradcheck(method, arguments, fast_mode=True, atol=1e-4)


@metrics
def test_hessians_of_dist_by_either_mode(kind: Callable[[int], CurvedManifold]) -> None:
    """Forward over reverse and reverse over reverse agree; at x = y both are finite."""
    M = kind(2)
    y = torch.diag(torch.tensor([2.0, 2.0], dtype=torch.float64))

    def cost(x: Tensor) -> Tensor:
        return M.dist(mf.symmetric(x), y).square()

    x = definite(2)
    forward = torch.func.hessian(cost)(x)
    reverse = torch.func.jacrev(torch.func.jacrev(cost))(x)
    torch.testing.assert_close(forward, reverse)
    u = symmetric(2, 2, seed=5)
    at_minimum = torch.einsum("ijkl,ij,kl->", torch.func.hessian(cost)(y), u, u)
    torch.testing.assert_close(torch.isfinite(at_minimum), torch.tensor(True))


@metrics
def test_projection_to_the_cone(kind: Callable[[int], CurvedManifold]) -> None:
    M = kind(3)
    for dtype in (torch.float32, torch.float64):
        singular = torch.diag(torch.tensor([1.0, 0.0, 0.0], dtype=dtype))
        indefinite = torch.diag(torch.tensor([4.0, 1.0, -3.0], dtype=dtype))
        indefinite[0, 1] = 0.5
        tiny = 1e-12 * indefinite
        zero, negative = torch.zeros(3, 3, dtype=dtype), -torch.eye(3, dtype=dtype)
        ambient = torch.stack([singular, indefinite, tiny, zero, negative]).requires_grad_()
        x = M.proj(ambient)
        assert (M.violation(x) == 0).all()
        torch.testing.assert_close(M.proj(x), x, rtol=0, atol=0)
        torch.testing.assert_close(x[3], torch.eye(3, dtype=dtype))
        assert torch.isfinite(M.dist(x[:, None], x)).all()
        (gradient,) = torch.autograd.grad(x.square().sum(), ambient)
        assert torch.isfinite(gradient).all()


@metrics
def test_violation_says_how_far_from_definite(kind: Callable[[int], CurvedManifold]) -> None:
    M = kind(2)
    eye = torch.eye(2, dtype=torch.float64)
    skewed = torch.tensor([[2.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    examples = {
        0.0: 1e-12 * eye,
        1.0: torch.diag(torch.tensor([1.0, 0.0]).double()),
        1.25: torch.diag(torch.tensor([4.0, -1.0]).double()),
        2.0: -eye,
        0.5 / 2.25: skewed,
    }
    for expected, x in examples.items():
        torch.testing.assert_close(M.violation(x), torch.tensor(expected).double())
    assert M.violation(torch.zeros(2, 2)) == 1
    with pytest.raises(InputError, match=r"1 of 2 points of shape \(2, 2, 2\) .* violation 1\.25"):
        M.check(torch.stack([eye, examples[1.25]]))


def test_no_definite_matrix_no_number() -> None:
    """One bad matrix in a batch is NaN; it does not spoil or stop the others."""
    x = torch.stack([torch.eye(2), torch.diag(torch.tensor([1.0, -1.0])), torch.eye(2) * math.nan])
    y = 2 * torch.eye(2)
    for M in (SPD(2), BuresWassersteinSPD(2)):
        assert M.dist(x, y).isnan().tolist() == [False, True, True]
        assert M.log(x, y).isnan().all(-1).all(-1).tolist() == [False, True, True]
    assert LogEuclideanSPD(2).dist(x, y).isnan().tolist() == [False, False, True]
    assert SPD(2).exp(x, y).isnan().all(-1).all(-1).tolist() == [False, True, True]


def test_second_order_retraction_is_definite_for_every_step() -> None:
    M = SPD(4)
    x = M.random(50, generator=rng(), dtype=torch.float64)
    for length in (1.0, 10.0, 1e3):
        u = M.random_tangent(x, rng(1))
        assert (M.violation(M.retract(x, length * u / M.norm(x, u)[:, None, None])) == 0).all()


def test_carried_momentum_keeps_its_length_to_second_order() -> None:
    x, u, v = definite(4), symmetric(4, 4, seed=1), symmetric(4, 4, seed=2)
    exact, fast = SPD(4, "exp"), SPD(4)
    u = u / exact.norm(x, u)
    y, w = exact.carry(x, u, v)
    torch.testing.assert_close(w, exact.transport(x, y, v))
    errors = []
    for t in (1e-1, 1e-2):
        y, w = fast.carry(x, t * u, v)
        errors.append(float((w - fast.transport(x, y, v)).norm()))
    assert errors[1] < 0.02 * errors[0]


def test_wasserstein_exp_ends_at_the_singular_matrices() -> None:
    M, x = BuresWassersteinSPD(2), torch.diag(torch.tensor([4.0, 1.0])).double()
    assert M.injectivity_radius(x) == 1
    inward = torch.diag(torch.tensor([0.0, -2.0])).double()
    assert M.norm(x, inward) == 1
    assert torch.equal(M.exp(x, inward), torch.diag(torch.tensor([4.0, 0.0])).double())
    u = M.random_tangent(x.expand(200, 2, 2), rng())
    y = M.exp(x, 0.999 * u / M.norm(x, u)[:, None, None])
    torch.testing.assert_close(M.dist(x, y), torch.full((200,), 0.999).double())


def test_wasserstein_transport_commutes_with_rotations() -> None:
    M, x, y, v = BuresWassersteinSPD(3), definite(3), definite(3, 1), symmetric(3, 3, seed=2)
    R = torch.linalg.qr(symmetric(3, 3, seed=3))[0]
    moved = [R @ a @ R.T for a in (x, y, v)]
    torch.testing.assert_close(M.transport(*moved), R @ M.transport(x, y, v) @ R.T)
    diagonal = [torch.diag(torch.tensor(a).double()) for a in ((1.0, 4.0), (9.0, 1.0), (1.0, 1.0))]
    # On the line a standard deviation moves at the same rate all along: v / sqrt(x) is kept.
    expected = torch.diag(torch.tensor([3.0, 0.5]).double())
    torch.testing.assert_close(BuresWassersteinSPD(2).transport(*diagonal), expected)


def test_random_matrices_are_a_wrapped_normal() -> None:
    M, n = SPD(3), 4000
    x = M.random(n, generator=rng(), dtype=torch.float64)
    squares = M.dist(torch.eye(3, dtype=torch.float64), x).square()
    assert abs(squares.mean() - M.dim) < 5 * math.sqrt(2 * M.dim / n)


@pytest.mark.parametrize("kind", KINDS)
def test_matrix_functions_against_a_block_matrix(kind: Kind) -> None:
    """exp([[x, e], [0, x]]) has Dexp(x)[e] in its corner; the others are compared by inverses."""
    x, e = definite(3), symmetric(3, 3, seed=4)
    s = mf.spectrum(x)
    inverse: dict[Kind, Callable[[Tensor], Tensor]] = {
        "log": torch.linalg.matrix_exp,
        "log1p": lambda a: torch.linalg.matrix_exp(a) - torch.eye(3).double(),
        "inverse": torch.linalg.inv,
        "root": lambda a: a @ a,
    }
    if kind == "exp":
        block = torch.cat([torch.cat([x, e], 1), torch.cat([torch.zeros_like(x), x], 1)])
        corner = torch.linalg.matrix_exp(block)[:3, 3:]
        torch.testing.assert_close(mf.matrix_derivative("exp", s, e), corner)
        return
    back = inverse[kind]
    value, derivative = mf.matrix_function(kind, s), mf.matrix_derivative(kind, s, e)
    torch.testing.assert_close(back(value), x)
    torch.testing.assert_close(torch.func.jvp(back, (value,), (derivative,))[1], e)


@pytest.mark.parametrize("kind", KINDS)
def test_third_derivatives(kind: Kind) -> None:
    x = (definite(3) / 5).requires_grad_()

    def second(x: Tensor) -> Tensor:
        e = symmetric(3, 3, seed=1)
        return mf.second_derivative(kind, mf.spectrum(mf.symmetric(x)), e, e)

    assert torch.autograd.gradcheck(second, (x,), fast_mode=True)
    equal = torch.eye(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(second, (equal,), fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-5, 1e-3, 0.019, 0.021, 1.0])
def test_second_differences_of_close_nodes(kind: Kind, gap: float) -> None:
    """f[a, b, c] is between the extremes of f'' / 2 on the interval that the nodes span."""
    a = torch.tensor(1.5, dtype=torch.float64)
    nodes = [a, a * (1 + 0.6 * gap), a * (1 + gap)]
    second = {
        "log": lambda x: -1 / x**2,
        "log1p": lambda x: -1 / (1 + x) ** 2,
        "exp": math.exp,
        "inverse": lambda x: 2 / x**3,
        "root": lambda x: -1 / (4 * x**1.5),
    }[kind]
    ends = sorted(second(float(node)) / 2 for node in (nodes[0], nodes[2]))
    value = float(divided_difference(kind, nodes))
    slack = 1e-12 * abs(value)
    assert ends[0] - slack <= value <= ends[1] + slack


@pytest.mark.parametrize("M", [SPD(4), SPD(4, "exp"), LogEuclideanSPD(4), BuresWassersteinSPD(4)])
def test_many_noisy_steps_stay_definite_and_arrive(M: CurvedManifold) -> None:
    """Descent on |x - y|^2 / 2 with momentum in float32."""
    generator = rng()
    x, y = M.random(2, generator=generator)
    v = torch.zeros_like(x)
    for _ in range(500):
        noise = 0.1 * torch.randn(x.shape, generator=generator)
        u = M.egrad2rgrad(x, x - y + noise)
        v = 0.9 * v - 0.02 / (1 + M.norm(x, u)) * u
        x, v = M.carry(x, v, v)
        assert M.violation(x) == 0
    assert (x - y).norm() < 0.15 * y.norm()


def test_bad_parameters() -> None:
    for kind in METRICS:
        with pytest.raises(InputError, match=rf"{kind.__name__}\(n\) needs .* not 0"):
            kind(0)
    with pytest.raises(InputError, match='"second-order" or "exp", not \'polar\''):
        SPD(3, "polar")
