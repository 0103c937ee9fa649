"""Nonlinear conjugate gradients on a manifold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, final

import torch

from immersion.core.errors import InputError
from immersion.optim.hessian import Iterate, Objective, Trial
from immersion.optim.line_search import LineSearch

if TYPE_CHECKING:
    from torch import Tensor

    from immersion.core.metric import Manifold

#: The line search is close: directions are conjugate as far as it is exact.
CURVATURE = 0.1
#: A direction steeper than this part of the steepest is one of descent.
DESCENT = 1e-6


@final
@dataclass(frozen=True)
class ConjugateGradient:
    """Settings of conjugate gradients, for `minimize(..., method=ConjugateGradient(...))`.

    With y the change of the gradient and d the last direction, both transported to the new point,
    the new direction is -g + beta d.

    Args:
        direction: beta. "hager-zhang" is <y - 2 d |y|^2 / <d, y>, g> / <d, y>, cut from below at
            0.4 <d, g> / |d|^2, and always goes down; "hestenes-stiefel" is max(0, <y, g> / <d, y>);
            "polak-ribiere" is max(0, <y, g>) over the last |g|^2.
    """

    direction: Literal["hager-zhang", "hestenes-stiefel", "polak-ribiere"] = "hager-zhang"

    def __post_init__(self) -> None:
        if self.direction not in ("hager-zhang", "hestenes-stiefel", "polak-ribiere"):
            raise InputError(
                'ConjugateGradient: direction is "hager-zhang", "hestenes-stiefel" or '
                f'"polak-ribiere", not {self.direction!r}'
            )

    def steps(self, objective: Objective, trial: Trial) -> Iterator[Iterate]:
        """The first point and every later one, until no step lowers f."""
        at = objective.gradient(trial)
        yield at
        u, slope, fresh = -at.rgrad, -at.gradient_norm * at.gradient_norm, True
        guess = 1 / at.gradient_norm
        while True:
            probe = LineSearch(objective, at, u, slope, CURVATURE).run(guess)
            if probe is None:
                if fresh:
                    return
                u, slope, fresh = -at.rgrad, -at.gradient_norm * at.gradient_norm, True
                guess = 1 / at.gradient_norm
                continue
            last, at = at, probe.at
            yield at
            fall = probe.t * slope
            u, slope, fresh = self._turn(objective.manifold, last, at, u)
            # The change of f to first order is taken to be that of the last step.
            guess = fall / slope

    def _turn(
        self, manifold: Manifold, last: Iterate, at: Iterate, u: Tensor
    ) -> tuple[Tensor, float, bool]:
        """The next direction, its slope, and whether it is the steepest."""
        both = torch.stack([u, last.rgrad])
        d, g = manifold.transport(last.x, at.x, both).unbind()
        y = at.rgrad - g
        table = manifold.inner(
            at.x, torch.stack([d, y])[:, None], torch.stack([at.rgrad, d, y])[None]
        )
        (dg, dd, dy), (yg, _, yy) = cast("list[list[float]]", table.tolist())
        norm = at.gradient_norm
        if self.direction == "polak-ribiere":
            beta = max(0.0, yg / last.gradient_norm / last.gradient_norm)
        elif not min(dy, dd) > 0:
            beta = 0.0
        elif self.direction == "hestenes-stiefel":
            beta = max(0.0, yg / dy)
        else:
            beta = max((yg - 2 * dg * yy / dy) / dy, 0.4 * dg / dd)
        slope = beta * dg - norm * norm
        length = math.sqrt(max(0.0, norm * norm - 2 * beta * dg + beta * beta * dd))
        if beta == 0 or not slope < -DESCENT * norm * length:
            return -at.rgrad, -norm * norm, True
        return beta * d - at.rgrad, slope, False
