"""Steps of Riemannian Adam, against geoopt: time of the step alone, and the loss it reaches.

Both sides start at the same points and are given the same gradients: closed formulas at their own
points, computed outside of what is timed. So the cost of autograd is in neither time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import geoopt
import torch
from torch import Tensor, nn

import immersion as im
from known_jobs.paired import Job, Outcome

Loss = Callable[[Tensor], Tensor]
Gradients = Callable[[list[Tensor], int], Sequence[Tensor]]

BETAS = (0.9, 0.999)


class Point(nn.Module):
    """A layer with one parameter, as the layers of a network have theirs."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(value.clone())


def ours(
    start: Sequence[Tensor], manifold: im.Manifold, lr: float
) -> tuple[list[Tensor], torch.optim.Optimizer]:
    """Parameters on the manifold and the optimiser of this package."""
    layers = [im.constrain_(Point(value), "weight", manifold, project=False) for value in start]
    network = nn.ModuleList(layers)
    return list(network.parameters()), im.RiemannianAdam(network, lr, betas=BETAS)


def geoopts(
    start: Sequence[Tensor], manifold: geoopt.Manifold, lr: float, *, sparse: bool = False
) -> tuple[list[Tensor], torch.optim.Optimizer]:
    """The same with geoopt."""
    parameters = [geoopt.ManifoldParameter(point.clone(), manifold=manifold) for point in start]
    adam = geoopt.optim.SparseRiemannianAdam if sparse else geoopt.optim.RiemannianAdam
    return parameters, adam(parameters, lr=lr, betas=BETAS)


def stepped(
    make: Callable[[], tuple[list[Tensor], torch.optim.Optimizer]],
    gradients: Gradients,
    loss: Loss,
    off: Callable[[Tensor], Tensor],
    steps: int,
) -> Outcome:
    """Median time of a step; loss and distance from the manifold after the last one."""
    parameters, optimizer = make()
    times, curve = [], []
    for step in range(steps):
        with torch.no_grad():
            curve.append(float(loss(joined(parameters))))
            given = gradients(parameters, step)
        for parameter, gradient in zip(parameters, given, strict=True):
            parameter.grad = gradient
        begin = time.perf_counter()
        optimizer.step()
        times.append(time.perf_counter() - begin)
    with torch.no_grad():
        last = joined(parameters)
        curve.append(float(loss(last)))
        quality = {"loss": curve[-1], "violation": float(off(last.double()).max())}
    return Outcome(1e3 * statistics.median(times), quality, tuple(curve))


def joined(parameters: Sequence[Tensor]) -> Tensor:
    """All points as one batch, in plain tensors."""
    plain = [parameter.detach().as_subclass(Tensor) for parameter in parameters]
    return torch.stack(plain) if len(plain) > 1 else plain[0]


def off_stiefel(x: Tensor) -> Tensor:
    """Frobenius norm of X^T X - 1."""
    return (x.mT @ x - torch.eye(x.shape[-1], dtype=x.dtype)).flatten(-2).norm(dim=-1)


def off_sphere(x: Tensor) -> Tensor:
    """Distance of the length from 1."""
    return (x.norm(dim=-1) - 1).abs()


def off_ball(x: Tensor) -> Tensor:
    """How far a point is outside of the open unit ball."""
    return (x.norm(dim=-1) - (1 - 2**-24)).clamp_min(0)


def adam_jobs(seed: int) -> list[Job]:
    """All comparisons of steps, float32."""
    return [
        _frames(seed, 200, 64, 32, steps=20, target=9.0),
        _frames(seed, 1, 512, 256, steps=30, target=1.3),
        _directions(seed, 1000, 64, steps=20, target=50.0),
        _table(seed, 100_000, 16, steps=20, target=5.0),
        _rows(seed, 100_000, 16, 4096, steps=50, target=3.0),
    ]


def _frames(seed: int, count: int, n: int, p: int, *, steps: int, target: float) -> Job:
    """Principal subspaces: -tr(X^T A X) / 2 summed over the matrices."""
    g = torch.Generator().manual_seed(seed)
    start = torch.linalg.qr(torch.randn(count, n, p, generator=g, dtype=torch.float64))[0].float()
    a = torch.randn(count, n, n, generator=g)
    a = (a + a.mT) / n**0.5
    shape = (count, n, p) if count > 1 else (n, p)

    def loss(x: Tensor) -> Tensor:
        return -(x * (a.reshape(*shape[:-2], n, n) @ x)).double().sum() / 2

    def gradients(parameters: list[Tensor], step: int) -> Sequence[Tensor]:
        del step
        found = -(a @ joined(parameters).reshape(count, n, p))
        return [one.clone() for one in found]

    points, lr = list(start), 0.03
    run = partial(stepped, gradients=gradients, loss=loss, off=off_stiefel, steps=steps)
    return Job(
        name=f"{count} x Stiefel({n},{p}) Adam step",
        peer_name="geoopt EuclideanStiefel",
        ours=partial(run, partial(ours, points, im.Stiefel(n, p), lr)),
        peer=partial(run, partial(geoopts, points, geoopt.EuclideanStiefel(), lr)),
        target=target,
        settings=_settings(steps, lr, "-tr(X^T A X)/2, A symmetric normal"),
        judged_by="violation",
        negligible=1e-5,
    )


def _directions(seed: int, count: int, n: int, *, steps: int, target: float) -> Job:
    """Unit vectors towards given ones: the sum of 1 - <x, b>."""
    g = torch.Generator().manual_seed(seed)
    start, goals = (
        torch.nn.functional.normalize(torch.randn(count, n, generator=g), dim=-1) for _ in range(2)
    )

    def loss(x: Tensor) -> Tensor:
        return (1 - (x * goals).double().sum(-1)).sum()

    def gradients(parameters: list[Tensor], step: int) -> Sequence[Tensor]:
        del parameters, step
        return [-goal for goal in goals]

    lr = 0.05
    run = partial(stepped, gradients=gradients, loss=loss, off=off_sphere, steps=steps)
    return Job(
        name=f"{count} x Sphere in R^{n} Adam step",
        peer_name="geoopt Sphere",
        ours=partial(run, partial(ours, list(start), im.Sphere(n - 1), lr)),
        peer=partial(run, partial(geoopts, list(start), geoopt.Sphere(), lr)),
        target=target,
        settings=_settings(steps, lr, "sum of 1 - <x, b>"),
        judged_by="violation",
        negligible=1e-5,
    )


def _ball_points(seed: int, count: int, n: int) -> tuple[Tensor, Tensor]:
    """Where a table starts, within 0.5 of the origin, and where it should go, up to norm 0.95."""
    g = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(2, count, n, generator=g), dim=-1)
    radii = torch.rand(2, count, 1, generator=g) * torch.tensor([0.5, 0.95])[:, None, None]
    start, goals = radii * directions
    return start, goals


def _table(seed: int, count: int, n: int, *, steps: int, target: float) -> Job:
    """All rows of a table towards their goals: sum of |x - t|^2 / 2."""
    start, goals = _ball_points(seed, count, n)

    def loss(x: Tensor) -> Tensor:
        return (x - goals).double().square().sum() / 2

    def gradients(parameters: list[Tensor], step: int) -> Sequence[Tensor]:
        del step
        return [joined(parameters) - goals]

    lr = 0.05
    run = partial(stepped, gradients=gradients, loss=loss, off=off_ball, steps=steps)
    return Job(
        name=f"Poincare table {count} x {n} Adam step, dense",
        peer_name="geoopt PoincareBall",
        ours=partial(run, partial(ours, [start], im.PoincareBall(n), lr)),
        peer=partial(run, partial(geoopts, [start], geoopt.PoincareBall(), lr)),
        target=target,
        settings=_settings(steps, lr, "sum of |x - t|^2 / 2, |t| up to 0.95"),
        judged_by="violation",
        negligible=1e-7,
    )


def _rows(seed: int, count: int, n: int, batch: int, *, steps: int, target: float) -> Job:
    """The same with sparse gradients of a batch of rows, drawn with replacement at each step."""
    start, goals = _ball_points(seed, count, n)
    drawn = torch.randint(count, (steps, batch), generator=torch.Generator().manual_seed(seed))
    seen = drawn.unique()

    def loss(x: Tensor) -> Tensor:
        return (x - goals)[seen].double().square().sum() / 2

    def gradients(parameters: list[Tensor], step: int) -> Sequence[Tensor]:
        rows = drawn[step]
        values = (parameters[0].detach().as_subclass(Tensor) - goals)[rows]
        # As nn.Embedding(sparse=True) leaves it: rows in order of the batch, some of them twice.
        return [torch.sparse_coo_tensor(rows[None], values, (count, n), check_invariants=False)]

    lr = 0.05
    run = partial(stepped, gradients=gradients, loss=loss, off=off_ball, steps=steps)
    geoopt_rows = partial(geoopts, [start], geoopt.PoincareBall(), lr, sparse=True)
    return Job(
        name=f"Poincare table {count} x {n} Adam step, {batch} rows",
        peer_name="geoopt PoincareBall, sparse",
        ours=partial(run, partial(ours, [start], im.PoincareBall(n), lr)),
        peer=partial(run, geoopt_rows),
        target=target,
        settings=_settings(steps, lr, "sum over the batch of |x - t|^2 / 2") | {"batch": batch},
        judged_by="violation",
        negligible=1e-7,
    )


def _settings(steps: int, lr: float, loss: str) -> dict[str, Any]:
    return {
        "dtype": "float32",
        "steps": steps,
        "lr": lr,
        "betas": list(BETAS),
        "loss": loss,
        "timed": "optimizer.step() alone, median over the steps of a run",
    }
