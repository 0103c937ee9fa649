"""Second-order minimisation, against pymanopt on its torch backend: time to a gradient of 1e-8.

Both differentiate the same torch function by autograd, whose cost is in both times, and start at
the same point.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pymanopt
import torch
from pymanopt.manifolds import Grassmann, Sphere, Stiefel
from pymanopt.optimizers import TrustRegions
from torch import Tensor

import immersion as im
from known_jobs.paired import Job, Outcome

GRADIENT = 1e-8
MOST_STEPS = 500

Cost = Callable[[Tensor], Tensor]


def solver_jobs(seed: int) -> list[Job]:
    """All comparisons of trust regions, float64, n = 500."""
    n, p = 500, 5
    a = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    a = (a + a.mT) / 2 / n**0.5
    weights = torch.arange(p, 0, -1, dtype=a.dtype)
    top = torch.linalg.eigvalsh(a).flip(0)[:p]

    def rayleigh(x: Tensor) -> Tensor:
        return -(x @ (a @ x))

    def trace(x: Tensor) -> Tensor:
        return -(x * (a @ x)).sum()

    def brockett(x: Tensor) -> Tensor:
        return -(x * (a @ x) * weights).sum()

    make = partial(_job, seed)
    return [
        make(f"Rayleigh quotient, Sphere({n - 1})", rayleigh, im.Sphere(n - 1), Sphere(n), -top[0]),
        make(f"Trace, Grassmann({n},{p})", trace, im.Grassmann(n, p), Grassmann(n, p), -top.sum()),
        make(
            f"Brockett, Stiefel({n},{p})",
            brockett,
            im.Stiefel(n, p),
            Stiefel(n, p),
            -(top * weights).sum(),
        ),
    ]


def _job(
    seed: int,
    name: str,
    cost: Cost,
    manifold: im.Manifold,
    peer: pymanopt.manifolds.manifold.Manifold,
    least: Tensor,
) -> Job:
    start = manifold.random(generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Job(
        name=name,
        peer_name="pymanopt TrustRegions, torch",
        ours=partial(_ours, cost, manifold, start, float(least)),
        peer=partial(_pymanopts, cost, peer, start, float(least)),
        target=3.0,
        settings={"dtype": "float64", "gradient norm": GRADIENT, "timed": "the whole solve"},
        judged_by="gradient norm",
        negligible=GRADIENT,
    )


def _ours(cost: Cost, manifold: im.Manifold, start: Tensor, least: float) -> Outcome:
    begin = time.perf_counter()
    found = im.minimize(cost, start, manifold, method="trust-region", tolerance=GRADIENT)
    spent = time.perf_counter() - begin
    return _outcome(spent, cost, found.x, least, found.iterations)


def _pymanopts(
    cost: Cost, manifold: pymanopt.manifolds.manifold.Manifold, start: Tensor, least: float
) -> Outcome:
    function = pymanopt.function.pytorch(manifold)(cost)
    problem = pymanopt.Problem(manifold, function)
    solver = TrustRegions(verbosity=0, min_gradient_norm=GRADIENT, max_iterations=MOST_STEPS)
    begin = time.perf_counter()
    found = solver.run(problem, initial_point=start.numpy().copy())
    spent = time.perf_counter() - begin
    return _outcome(spent, cost, torch.from_numpy(found.point), least, found.iterations)


def _outcome(spent: float, cost: Cost, x: Tensor, least: float, steps: int) -> Outcome:
    """Judged by formulas of its own: the tangent part of the gradient is G - X sym(X^T G)."""
    x = x.detach().requires_grad_()
    value = cost(x)
    (g,) = torch.autograd.grad(value, x)
    frame, g = (t.detach().reshape(len(x), -1) for t in (x, g))
    inner = frame.mT @ g
    gradient = g - frame @ (inner + inner.mT) / 2
    identity = torch.eye(frame.shape[1], dtype=frame.dtype)
    quality = {
        "gradient norm": float(gradient.norm()),
        "above the least value": float(value.detach()) - least,
        "violation": float((frame.mT @ frame - identity).norm()),
        "steps": float(steps),
    }
    return Outcome(1e3 * spent, quality)
