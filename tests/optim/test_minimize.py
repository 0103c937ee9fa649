"""`minimize`: the rates the theory promises, hard functions, what it tells, and bad input."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.core.progress import Advance, Progress
from immersion.known.combined.power import Power
from immersion.known.definite.spd import SPD
from immersion.known.euclidean import Euclidean
from immersion.known.sphere import Sphere
from immersion.optim import minimize as module
from immersion.optim.conjugate_gradient import ConjugateGradient
from immersion.optim.lbfgs import LBFGS
from immersion.optim.minimize import Minimum, State, minimize
from immersion.optim.trust_region import TrustRegion
from optim.minimisers import (
    F64,
    Method,
    both_precisions,
    each_kind,
    every_method,
    generator,
    rosenbrock,
    symmetric,
)

# Rates


def test_the_trust_region_is_quadratic_at_the_end() -> None:
    """Each gradient is below a constant times the square of the one before."""
    A, sphere = symmetric(30), Sphere(29)
    x0 = sphere.random(generator=generator(1), dtype=F64)
    found = minimize(lambda x: torch.exp(x @ A @ x / 9), x0, sphere, tolerance=1e-13)
    assert found.converged
    tail = [norm for norm in found.history.gradient_norms if norm < 1e-2]
    assert len(tail) >= 3
    for before, after in itertools.pairwise(tail[:-1]):
        assert after < 10 * before**2
    assert found.evaluations.products < 150


def test_a_newton_step_ends_a_quadratic() -> None:
    """Conjugate gradients need as many products as the Hessian has different eigenvalues."""
    w = torch.tensor([1.0, 2, 4], dtype=F64).repeat(7)[:20]
    start = torch.full((20,), 3.0, dtype=F64)
    settings = TrustRegion(radius=1e6, kappa=1e-12)
    found = minimize(lambda x: (w * (x - 1) ** 2).sum(), start, Euclidean(20), settings)
    assert found.converged and found.iterations == 1 and found.evaluations.products == 3
    torch.testing.assert_close(found.x, torch.ones_like(start))


def test_a_preconditioner_saves_products() -> None:
    w = torch.logspace(0, 6, 40, dtype=F64)
    start = torch.linspace(-1, 1, 40, dtype=F64)

    def f(x: Tensor) -> Tensor:
        return (w * (x - 1) ** 2).sum() + (x - 1).pow(4).sum()

    plain = minimize(f, start, Euclidean(40))
    settings = TrustRegion(preconditioner=lambda x, u: u / (2 * w))
    found = minimize(f, start, Euclidean(40), settings)
    assert found.converged and plain.converged
    torch.testing.assert_close(found.x, torch.ones_like(start))
    assert found.evaluations.products < plain.evaluations.products / 4


def test_a_preconditioner_in_a_metric_that_is_not_ambient() -> None:
    """Twice the identity is one, and changes no step of the solver but the shape of the region."""
    spd = SPD(3)
    points = spd.random(6, generator=generator(5), dtype=F64)

    def f(x: Tensor) -> Tensor:
        return spd.dist(x, points).square().mean()

    plain = minimize(f, points[0], spd, TrustRegion(radius=100.0))
    settings = TrustRegion(radius=100.0, preconditioner=lambda x, u: 2 * u)
    found = minimize(f, points[0], spd, settings)
    torch.testing.assert_close(found.x, plain.x, rtol=1e-9, atol=1e-9)
    assert found.evaluations == plain.evaluations


def test_memory_helps() -> None:
    A, sphere = symmetric(60), Sphere(59)
    x0 = sphere.random(generator=generator(1), dtype=F64)
    runs = [minimize(lambda x: x @ A @ x, x0, sphere, LBFGS(memory=m)) for m in (1, 30)]
    assert all(run.converged for run in runs)
    assert runs[1].iterations < runs[0].iterations


# Hard functions


@every_method
@both_precisions
def test_the_banana_valley(method: Method, dtype: torch.dtype) -> None:
    start = torch.tensor([-1.2, 1], dtype=dtype)
    found = minimize(rosenbrock, start, Euclidean(2), method)
    assert found.converged
    atol = 1e-6 if dtype == F64 else 0.05
    torch.testing.assert_close(found.x, torch.ones_like(start), rtol=0, atol=atol)


@every_method
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_neither_scale_nor_offset_matters(method: Method, scale: float, offset: float) -> None:
    """Down to where f cannot be told from its own rounding: the slopes decide there."""
    A, sphere = symmetric(8), Sphere(7)
    x0 = sphere.random(generator=generator(1), dtype=F64)
    tolerance = 1e-9 * scale
    found = minimize(
        lambda x: scale * (x @ A @ x + offset), x0, sphere, method, tolerance=tolerance
    )
    assert found.converged, found.reason
    value = float(torch.linalg.eigvalsh(A)[0])
    assert found.value == pytest.approx(scale * (value + offset), rel=1e-12)


@every_method
def test_linear_functions(method: Method) -> None:
    c, sphere = torch.arange(1.0, 6, dtype=F64), Sphere(4)
    found = minimize(
        lambda x: c @ x, sphere.random(generator=generator(), dtype=F64), sphere, method
    )
    assert found.converged
    torch.testing.assert_close(found.x, -c / c.norm(), rtol=0, atol=1e-10)


@every_method
def test_it_leaves_a_saddle(method: Method) -> None:
    c, sphere = torch.arange(1.0, 6, dtype=F64), Sphere(4)
    x0 = sphere.proj(torch.tensor([1e-4, 1, 0, 0, 0], dtype=F64))
    found = minimize(lambda x: x @ (c * x), x0, sphere, method)
    assert found.converged and found.value == pytest.approx(1)


@every_method
def test_nan_and_inf_on_the_way_shorten_the_step(method: Method) -> None:
    start = torch.tensor([1e-3, 5, 100], dtype=F64)
    found = minimize(lambda x: x.sum() - x.log().sum(), start, Euclidean(3), method)
    assert found.converged
    torch.testing.assert_close(found.x, torch.ones_like(start), rtol=0, atol=1e-6)


@every_method
def test_a_function_without_minimum(method: Method) -> None:
    found = minimize(lambda x: -x.exp().sum(), torch.ones(3, dtype=F64), Euclidean(3), method)
    assert found.reason == "unbounded" and not found.converged and math.isfinite(found.value)


@pytest.mark.parametrize("method", ["trust-region", "lbfgs"])
def test_a_kink_stops_it(method: Any) -> None:
    start = torch.tensor([1.0, 2, 0.3], dtype=F64)
    found = minimize(lambda x: x.abs().sum(), start, Euclidean(3), method)
    assert found.reason == "stagnation" and not found.converged
    assert found.value < 1e-8 and found.gradient_norm >= 1


@every_method
def test_a_start_that_is_the_solution(method: Method) -> None:
    found = minimize(lambda x: x @ x, torch.zeros(3), Euclidean(3), method)
    assert found.converged and found.iterations == 0 and found.gradient_norm == 0


def test_points_with_more_batches_are_a_power() -> None:
    sphere = Sphere(2)
    y = sphere.random(4, generator=generator(), dtype=F64)
    many = Power(sphere, 4)
    found = minimize(lambda x: -(x * y).sum(), many.random(generator=generator(1), dtype=F64), many)
    torch.testing.assert_close(found.x, y)


# What is told


@each_kind
def test_limits_and_callbacks_end_a_run(method: Any) -> None:
    start, flat = torch.tensor([-1.2, 1], dtype=F64), Euclidean(2)
    found = minimize(rosenbrock, start, flat, method, max_iterations=3)
    assert (found.reason, found.iterations, found.converged) == ("iterations", 3, False)
    assert found.value == float(rosenbrock(found.x)) < float(rosenbrock(start))
    assert minimize(rosenbrock, start, flat, method, max_iterations=0).iterations == 0
    found = minimize(rosenbrock, start, flat, method, max_time=1e-9)
    assert (found.reason, found.iterations) == ("time", 0)
    seen: list[State] = []

    def callback(state: State) -> bool:
        seen.append(state)
        return state.iterations == 2

    found = minimize(rosenbrock, start, flat, method, callback=callback)
    assert (found.reason, found.iterations) == ("callback", 2)
    assert [state.iterations for state in seen] == [0, 1, 2]
    assert tuple(state.value for state in seen) == found.history.values
    assert tuple(state.gradient_norm for state in seen) == found.history.gradient_norms
    assert seen[-1].x is found.x
    assert list(found.history.seconds) == sorted(found.history.seconds)


@each_kind
def test_ctrl_c_gives_what_was_reached(method: Any) -> None:
    calls = 0

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 12:
            raise KeyboardInterrupt
        return rosenbrock(x)

    found = minimize(f, torch.tensor([-1.2, 1], dtype=F64), Euclidean(2), method)
    assert found.reason == "interrupt" and not found.converged
    assert found.value == found.history.values[-1] == float(rosenbrock(found.x))


def test_ctrl_c_before_anything_was_reached_is_raised() -> None:
    def f(x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimize(f, torch.zeros(2), Euclidean(2))


@each_kind
def test_all_calls_are_counted_and_runs_repeat_to_the_bit(method: Any) -> None:
    def run() -> tuple[Minimum, int]:
        calls = 0

        def f(x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return rosenbrock(x)

        return minimize(f, torch.tensor([-1.2, 1]), Euclidean(2), method), calls

    (found, calls), (again, _) = run(), run()
    assert found.evaluations.values == calls >= found.evaluations.gradients > found.iterations
    assert (found.evaluations.products > 0) == (method == "trust-region")
    assert torch.equal(found.x, again.x) and found.history.values == again.history.values
    frozen: Any = found
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.value = 0.0


class Recorded(Progress):
    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.steps: list[int] = []
        self.closed = False

    @contextlib.contextmanager
    def stage(self, label: str, total: int | None = None) -> Generator[Advance]:
        self.stages.append((label, total))
        yield self.steps.append
        self.closed = True


def test_progress_appears_in_long_runs_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start, flat = torch.tensor([-1.2, 1], dtype=F64), Euclidean(2)
    short, long = Recorded(), Recorded()
    minimize(rosenbrock, start, flat, progress=short)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    minimize(rosenbrock, start, flat, progress=long)
    minimize(rosenbrock, start, flat)
    assert not short.stages and long.stages == [("minimize", 1000)] and long.closed
    assert min(long.steps) >= 0 and 0 < sum(long.steps) <= 1000
    assert capsys.readouterr() == ("", "")


@each_kind
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(method: Any, mode: Callable[[], Any]) -> None:
    with mode():
        start = torch.tensor([-1.2, 1], dtype=F64)
        found = minimize(rosenbrock, start, Euclidean(2), method)
    assert found.converged
    parameter = torch.nn.Parameter(torch.tensor([-1.2, 1], dtype=F64))
    again = minimize(rosenbrock, parameter, Euclidean(2), method)
    assert torch.equal(again.x, found.x) and parameter.grad is None


# Bad input


def nan_gradient(x: Tensor) -> Tensor:
    return (x - x.detach()).abs().sum().sqrt()


SPHERE = Sphere(2)
NORTH = torch.tensor([0.0, 0, 1])


@pytest.mark.parametrize(
    ("f", "x0", "named", "message"),
    [
        (torch.sum, NORTH.expand(4, 3), {}, r"\(4, 3\).*\(3\); .*Power\(manifold, n\)"),
        (torch.sum, 1.1 * NORTH, {}, "not on the manifold: violation 0.1"),
        (torch.sum, NORTH[:2], {}, r"shape \(2,\)"),
        (torch.sum, [0, 0, 1], {}, "is a list"),
        (torch.sum, torch.tensor([0, 0, 1]), {}, "torch.int64"),
        (lambda x: x.sum() / 0, NORTH, {}, r"f\(x0\) is inf"),
        (lambda x: x.sum() * math.nan, NORTH, {}, r"f\(x0\) is nan"),
        (nan_gradient, NORTH, {}, "gradient of f at x0 is not finite"),
        (lambda x: x, NORTH, {}, r"scalar tensor.*shape \(3,\)"),
        (lambda x: x.sum().item(), NORTH, {}, "scalar tensor, not a float"),
        (lambda x: x.detach().sum(), NORTH, {}, "without a graph"),
        (lambda x: torch.ones((), requires_grad=True) * 1, NORTH, {}, "does not depend on x"),
        (torch.sum, NORTH, {"method": "newton"}, "'trust-region'.*'lbfgs'.*not 'newton'"),
        (torch.sum, NORTH, {"method": ["lbfgs"]}, "'lbfgs' or the settings of one"),
        (torch.sum, NORTH, {"tolerance": 0.0}, "tolerance is positive"),
        (torch.sum, NORTH, {"tolerance": math.nan}, "tolerance is positive"),
        (torch.sum, NORTH, {"max_iterations": -1}, "max_iterations"),
        (torch.sum, NORTH, {"max_time": 0}, "max_time is positive"),
        (
            torch.sum,
            NORTH,
            {"method": TrustRegion(preconditioner=lambda x, u: -u)},
            "preconditioner is not positive",
        ),
    ],
)
def test_one_error_that_says_what_to_do(f: Any, x0: Any, named: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        minimize(f, x0, SPHERE, **named)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrustRegion(radius=0),
        lambda: TrustRegion(kappa=1),
        lambda: TrustRegion(order=3),
        lambda: LBFGS(memory=0),
        lambda: ConjugateGradient("fletcher"),
    ],
)
def test_settings_out_of_range(make: Callable[[], Method]) -> None:
    with pytest.raises(InputError):
        make()
