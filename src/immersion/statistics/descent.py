"""The descent to a Frechet mean, for many sets of points at once.

The mean squared distance f(x) has the gradient -2 F(x), F(x) = sum_i w_i log(x, x_i), so a step
along F with exp is gradient descent, and one of length 1 is exact in flat space. Its best length
elsewhere depends on curvature and spread, and is found from the last two gradients (Barzilai and
Borwein), with a halt where f does not fall enough (Armijo). Each set has its own step and stops
on its own.

Source: Barzilai and Borwein 1988; Iannazzo and Porcelli 2018 for manifolds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from immersion.core.metric import GeodesicManifold

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

#: x -> F(x), the mean of the logs at x, and f(x), the mean of their squared lengths.
Moments = Callable[["Tensor"], "tuple[Tensor, Tensor]"]

_SUFFICIENT = 1e-4  # Armijo: share of the decrease that the slope promises
_STRIKES = 3  # steps in vain after which rounding is taken to be all that is left


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a descent ended.

    Attributes:
        point: (*b, *p) the means.
        variance: (*b) mean squared distance to them.
        residual: (*b) length of the mean of the logs, zero at a true mean.
        converged: (*b) whether the residual is within the tolerance or all rounding.
        iterations: how many steps were tried, by the slowest set.
    """

    point: Float[Tensor, "*b *p"]
    variance: Float[Tensor, "*b"]
    residual: Float[Tensor, "*b"]
    converged: Bool[Tensor, "*b"]
    iterations: int


@torch.no_grad()
def descend(
    manifold: GeodesicManifold,
    start: Float[Tensor, "*b *p"],
    moments: Moments,
    extent: Float[Tensor, "*b"],
    *,
    tolerance: float,
    max_iterations: int,
) -> Descent:
    """Local minimum of the mean squared distance, from `start`.

    Args:
        manifold: with geodesics.
        start: one point a set.
        moments: mean of the logs and of their squares.
        extent: largest entry of the points of each set, which says how fine they are stored.
        tolerance: largest residual accepted, as a share of the root of the variance.
        max_iterations: steps after which to give up.
    """
    axes = len(manifold.point_shape)
    eps = torch.finfo(start.dtype).eps
    x = start
    force, variance = moments(x)
    size = manifold.norm(x, force)
    step = torch.ones_like(variance)
    strikes = torch.zeros_like(variance)

    def wide(a: Tensor) -> Tensor:
        return a.reshape(*a.shape, *(1,) * axes)

    def settled() -> Tensor:
        near = size <= tolerance * variance.sqrt()
        # A step that cannot change the point as it is stored.
        still = force.abs().flatten(force.ndim - axes).amax(-1) <= 8 * eps * extent
        return near | still | (strikes >= _STRIKES)

    iterations = 0
    active = ~settled()
    while iterations < max_iterations and bool(active.any()):
        iterations += 1
        moved = torch.where(active, step, 0)
        y = manifold.exp(x, wide(moved) * force)
        force_new, variance_new = moments(y)
        size_new = manifold.norm(y, force_new)
        slope = 2 * moved * size.square()
        falls = variance_new <= variance - _SUFFICIENT * slope + 10 * eps * variance
        # Where f falls by less than its rounding, the gradient alone tells whether a step was good.
        blind = size.square() <= 50 * eps * variance
        good = active & torch.where(blind, size_new < size, falls)
        strikes = strikes + (active & blind & ~good)

        # The step, seen from its end, is parallel to the old gradient: no transport is needed.
        back = -manifold.log(y, x)
        length = manifold.inner(y, back, back)
        bend = length / step - manifold.inner(y, back, force_new)
        longer = torch.where(bend > 0, length / torch.where(bend > 0, bend, 1), 4 * step)
        rise = variance_new - variance + slope
        shorter = moved * slope / (2 * torch.where(rise > 0, rise, torch.inf))
        shorter = torch.where(torch.isfinite(shorter), shorter, 0)
        step = torch.where(
            good,
            torch.clamp(longer, step / 10, 10 * step),
            torch.clamp(shorter, step / 10, step / 2),
        )
        x = torch.where(wide(good), y, x)
        force = torch.where(wide(good), force_new, force)
        variance = torch.where(good, variance_new, variance)
        size = torch.where(good, size_new, size)
        active = ~settled() & (step > eps)
    return Descent(x, variance, size, settled(), iterations)
