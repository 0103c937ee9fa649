"""The Riemannian trust region: Newton's method, made safe far from the solution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch

from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold
from immersion.optim.hessian import HessianGraph, Iterate, Objective, Trial, dot

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from immersion.core.metric import Manifold

Preconditioner = Callable[["Tensor", "Tensor"], "Tensor"]

#: One solve serves this many radii, each a quarter of the one before.
LEVELS = 6
#: Differences of f below this many eps |f| are taken for rounding.
ROUNDING = 1e3


@final
@dataclass(frozen=True)
class TrustRegion:
    """Settings of the trust region, for `minimize(..., method=TrustRegion(...))`.

    Args:
        radius: of the first region, in the units of the metric; by default an eighth of the
            injectivity radius where that is finite, and of sqrt(dim) elsewhere.
        preconditioner: function (x, u) -> tangent vector at x; linear in u, symmetric and positive
            in the metric, and near the inverse of the Hessian. It saves products where the Hessian
            is ill-conditioned, and gives the region its shape.
        kappa: the inner solver stops when its residual has fallen by this factor at least ...
        order: ... and by the last fall of the gradient norm to this power: the order of
            convergence, between 1 and 2 (Eisenstat and Walker 1996, choice 2).
    """

    radius: float | None = None
    preconditioner: Preconditioner | None = None
    kappa: float = 0.3
    order: float = 2.0

    def __post_init__(self) -> None:
        if self.radius is not None and not 0 < self.radius < math.inf:
            raise InputError(f"TrustRegion: radius is positive, not {self.radius}")
        if not (0 < self.kappa < 1 <= self.order <= 2):
            raise InputError(
                "TrustRegion: kappa is between 0 and 1 and order between 1 and 2, "
                f"not {self.kappa} and {self.order}"
            )

    def steps(self, objective: Objective, trial: Trial) -> Iterator[Iterate]:
        """The first point and every later one, until no step makes progress."""
        at, graph = objective.second_order(trial)
        yield at
        radius = self.radius or _first_radius(objective.manifold, at.x)
        smallest, fall = radius * torch.finfo(at.x.dtype).eps, self.kappa
        while radius > smallest:
            # Digits below the tolerance are not asked for.
            fall = max(fall, objective.tolerance / 2 / at.gradient_norm)
            for step in truncated_newton(objective, graph, at, radius, fall, self.preconditioner):
                taken = _take(objective, at, step)
                if taken is None:
                    radius = step.length / 4
                    continue
                before = at.gradient_norm
                at, graph, ratio = taken
                fall = min(self.kappa, 0.9 * min(1.0, at.gradient_norm / before) ** self.order)
                if ratio < 0.25:
                    radius = step.length / 4
                elif not step.inside:
                    radius = step.length * (2 if ratio > 0.75 else 1)
                yield at
                break
            else:
                if objective.expired():
                    return


@dataclass(frozen=True, eq=False)
class Step:
    """A minimiser of the model, in a region.

    Attributes:
        u: tangent vector.
        length: its length, in the norm of the preconditioner.
        decrease: how much lower the model of f is at its end.
        inside: whether the region did not bind.
    """

    u: Tensor
    length: float
    decrease: float
    inside: bool


def truncated_newton(
    objective: Objective,
    graph: HessianGraph,
    at: Iterate,
    radius: float,
    fall: float,
    preconditioner: Preconditioner | None = None,
) -> list[Step]:
    """Steps towards Newton's: one for `radius`, and then for smaller radii, longest first.

    Conjugate gradients on Hess f[u] = -grad f, cut where they leave the region or meet negative
    curvature (Steihaug 1983, Toint 1981). Their path does not depend on the radius, and grows in
    length; so where it crosses a smaller sphere is the step of that radius too, and a region that
    turns out too large costs a value of f and no more products.

    All runs on covectors, whose pairing with tangent vectors is a plain sum of products: one
    product, one `sharp` and two numbers an iteration, and no inner product of the manifold.

    Args:
        objective: counts the products and knows the time.
        graph: the Hessian at `at`.
        at: where the model is made.
        radius: of the region.
        fall: factor by which the residual is to fall.
        preconditioner: see `TrustRegion`.
    """
    radii = [radius / 4**level for level in range(LEVELS)]
    crossed: list[Step] = []
    eta = torch.zeros_like(at.x)
    residual = graph.flat(at.rgrad).clone()
    z = at.rgrad if preconditioner is None else preconditioner(at.x, at.rgrad)
    descent = at.gradient_norm * at.gradient_norm if preconditioner is None else dot(z, residual)
    if not descent > 0:
        raise InputError(
            "the preconditioner is not positive: its image of the gradient has the inner product "
            f"{descent:.3g} with the gradient"
        )
    goal = descent * fall * fall
    u = -z
    covector = u if graph.ambient else -(residual if preconditioner is None else graph.flat(z))
    # Squared lengths of eta and u, and their product: known without computing them.
    square, along, uu, decrease = 0.0, 0.0, descent, 0.0
    for _ in range(objective.manifold.dim):
        image = objective.product(graph, u, covector)
        curvature = dot(u, image)
        alpha = descent / curvature if curvature > 0 else math.inf
        reached = square + alpha * (2 * along + alpha * uu)
        while radii and not reached < radii[-1] * radii[-1]:
            edge = radii.pop()
            gap = edge * edge - square
            t = gap / (along + math.sqrt(along * along + uu * gap))
            gain = decrease + t * (descent - t * curvature / 2)
            crossed.append(Step(torch.add(eta, u, alpha=t), edge, gain, inside=False))
        if not radii:
            break
        eta.add_(u, alpha=alpha)
        residual.add_(image, alpha=alpha)
        square, decrease = reached, decrease + alpha * descent / 2
        z = graph.sharp(residual)
        if preconditioner is not None:
            z = preconditioner(at.x, z)
        descent, before = dot(z, residual), descent
        if descent <= goal or objective.expired():
            break
        beta = descent / before
        u.mul_(beta).sub_(z)
        if not graph.ambient:
            covector.mul_(beta).sub_(residual if preconditioner is None else graph.flat(z))
        along, uu = beta * (along + alpha * uu), descent + beta * beta * uu
    if radii:
        crossed.append(Step(eta, math.sqrt(square), decrease, inside=True))
    return crossed[::-1]


def _take(
    objective: Objective, at: Iterate, step: Step
) -> tuple[Iterate, HessianGraph, float] | None:
    """Where the step leads and how well the model foretold it; None if it is no progress.

    Near the solution f falls by less than its own rounding, and the ratio of the falls means
    nothing (Conn, Gould and Toint 2000, section 17.4.2). There the gradient norm decides, which
    Newton's method lowers by far.
    """
    trial = objective.trial(objective.manifold.retract(at.x, step.u))
    if not math.isfinite(trial.value):
        return None
    fall = at.value - trial.value
    noise = ROUNDING * torch.finfo(at.x.dtype).eps
    level = max(abs(at.value), abs(trial.value))
    ratio = (fall + noise * level) / (step.decrease + noise * level)
    # Values near zero may be differences of numbers of order one.
    doubtful = step.decrease <= noise * level or (
        ratio <= 0.1 and max(abs(fall), step.decrease) <= noise * max(1.0, level)
    )
    if not (ratio > 0.1 or doubtful):
        return None
    new, graph = objective.second_order(trial)
    if not new.gradient_norm < (0.9 * at.gradient_norm if doubtful else math.inf):
        return None
    return new, graph, 1.0 if doubtful else ratio


def _first_radius(manifold: Manifold, x: Float[Tensor, "*p"]) -> float:
    scale = math.sqrt(manifold.dim)
    if isinstance(manifold, GeodesicManifold):
        reach = manifold.injectivity_radius(x).item()
        if reach < math.inf:
            # Near a boundary it can be as good as zero, and says nothing of f.
            scale = max(reach, 0.01 * scale)
    return scale / 8
