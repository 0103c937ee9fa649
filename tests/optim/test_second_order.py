"""The parts of `minimize`, one by one: the model's solver, the pairs of L-BFGS, the line search."""

from __future__ import annotations

import itertools

import pytest
import torch

from immersion.known.euclidean import Euclidean
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.sphere import Sphere
from immersion.optim.hessian import Objective
from immersion.optim.lbfgs import Pairs
from immersion.optim.line_search import DECREASE, LineSearch
from immersion.optim.trust_region import truncated_newton
from optim.minimisers import F64, generator, symmetric


def test_a_region_too_large_costs_values_and_no_products() -> None:
    """All radii of a solve lie on one path."""
    sphere, A = Sphere(29), symmetric(30)
    objective = Objective(lambda x: x @ A @ x, sphere, 1e-8)
    at, graph = objective.second_order(
        objective.trial(sphere.random(generator=generator(1), dtype=F64))
    )
    steps = truncated_newton(objective, graph, at, 64.0, 1e-6)
    spent = objective.evaluations.products
    assert [step.length for step in steps] == [64 / 4**k for k in range(6)]
    for step in steps:
        (alone,) = truncated_newton(objective, graph, at, step.length, 1e-6)[:1]
        torch.testing.assert_close(step.u, alone.u)
        assert step.decrease == pytest.approx(alone.decrease)
        assert float(sphere.norm(at.x, step.u)) == pytest.approx(step.length)
        image = graph.product(step.u, graph.flat(step.u))
        model = at.rgrad @ step.u + step.u @ image / 2
        assert float(-model) == pytest.approx(step.decrease)
    assert [s.decrease for s in steps] == sorted((s.decrease for s in steps), reverse=True)
    assert spent <= sphere.dim


def test_pairs_make_the_matrix_of_bfgs() -> None:
    """In flat space, against the dense update of the inverse Hessian."""
    n, flat = 6, Euclidean(6)
    A = symmetric(n) @ symmetric(n) + torch.eye(n, dtype=F64)
    objective = Objective(lambda x: x @ A @ x / 2, flat, 1e-12)
    points = torch.randn(4, n, generator=generator(2), dtype=F64)
    iterates = [objective.gradient(objective.trial(x)) for x in points]
    pairs = Pairs(flat, memory=3)
    steps = [b.x - a.x for a, b in itertools.pairwise(iterates)]
    for (a, b), s in zip(itertools.pairwise(iterates), steps, strict=True):
        pairs.move(a, b, s, 0.0)
    assert len(pairs) == 3
    y = A @ steps[-1]
    H = torch.eye(n, dtype=F64) * (steps[-1] @ y) / (y @ y)
    for s in steps:
        y = A @ s
        V = torch.eye(n, dtype=F64) - torch.outer(y, s) / (s @ y)
        H = V.mT @ H @ V + torch.outer(s, s) / (s @ y)
    u, slope = pairs.direction(iterates[-1])
    torch.testing.assert_close(u, -H @ iterates[-1].rgrad)
    assert slope == pytest.approx(float(iterates[-1].rgrad @ u))


def test_a_pair_without_curvature_is_left_out() -> None:
    flat = Euclidean(2)
    objective = Objective(lambda x: -x.square().sum(), flat, 1e-12)
    a, b = (objective.gradient(objective.trial(torch.full((2,), t))) for t in (1.0, 2.0))
    pairs = Pairs(flat, memory=3)
    pairs.move(a, b, b.x - a.x, 1e-4)
    assert not pairs
    torch.testing.assert_close(pairs.direction(b)[0], -b.rgrad)


@pytest.mark.parametrize("guess", [1e-8, 1e-2, 1.0, 30.0])
@pytest.mark.parametrize("curvature", [0.9, 0.1, 1e-3])
def test_the_line_search_meets_the_wolfe_conditions(guess: float, curvature: float) -> None:
    manifold = PoincareBall(2)
    y = torch.tensor([0.9, 0.1], dtype=F64)
    objective = Objective(lambda x: torch.cos(3 * manifold.dist(x, y)), manifold, 1e-8)
    start = objective.gradient(objective.trial(torch.tensor([-0.5, 0.2], dtype=F64)))
    slope = -(start.gradient_norm**2)
    probe = LineSearch(objective, start, -start.rgrad, slope, curvature).run(guess)
    assert probe is not None
    assert probe.value <= start.value + DECREASE * probe.t * slope
    assert abs(probe.slope) <= curvature * abs(slope)
    h = 1e-6 * probe.t
    values = [
        objective.trial(manifold.retract(start.x, -(probe.t + s) * start.rgrad)).value
        for s in (h, -h)
    ]
    assert probe.slope == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-4, abs=1e-5)
