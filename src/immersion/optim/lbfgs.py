"""The limited-memory BFGS method on a manifold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, final

import numpy as np
import torch

from immersion.core.errors import InputError
from immersion.optim.hessian import Iterate, Objective, Trial
from immersion.optim.line_search import LineSearch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from immersion.core.metric import Manifold

#: A pair is kept if the cosine between step and change of gradient is at least this, times
#: |grad f| over its first value.
CAUTION = 1e-4
#: The line search is loose: a step of 1 nearly always does.
CURVATURE = 0.9
#: A direction steeper than this part of the steepest is one of descent.
DESCENT = 1e-6


@final
@dataclass(frozen=True)
class LBFGS:
    """Settings of the limited-memory BFGS method, for `minimize(..., method=LBFGS(...))`.

    Args:
        memory: how many of the last steps the model of the Hessian is made from. It holds two
            tensors of the point's size for each.
    """

    memory: int = 10

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise InputError(f"LBFGS: memory is at least 1, not {self.memory}")

    def steps(self, objective: Objective, trial: Trial) -> Iterator[Iterate]:
        """The first point and every later one, until no step lowers f."""
        at = objective.gradient(trial)
        yield at
        pairs, initial = Pairs(objective.manifold, self.memory), at.gradient_norm
        while True:
            u, slope = pairs.direction(at)
            guess = 1.0 if pairs else 1 / at.gradient_norm
            probe = LineSearch(objective, at, u, slope, CURVATURE).run(guess)
            if probe is None:
                if not pairs:
                    return
                pairs.clear()
                continue
            last, at = at, probe.at
            yield at
            pairs.move(last, at, probe.t * u, CAUTION * min(1.0, at.gradient_norm / initial))


@final
class Pairs:
    """Steps s_i and changes of the gradient y_i, as tangent vectors at the current point.

    Transport is an isometry, so the inner products among the pairs are computed once, when a pair
    comes in, and serve as long as it stays. The two loops of the method then run on coefficients:
    an iteration costs one batched transport, three batched inner products and one sum, where the
    loops on vectors cost 4 `memory` inner products one after the other.
    """

    def __init__(self, manifold: Manifold, memory: int) -> None:
        self._manifold, self._memory = manifold, memory
        self.clear()

    def __len__(self) -> int:
        return len(self._gram) // 2

    def clear(self) -> None:
        """Forget everything."""
        self._rows: Tensor | None = None  # s_1, y_1, s_2, y_2, ...: oldest first
        self._gram: NDArray[np.float64] = np.zeros((0, 0))

    def direction(self, at: Iterate) -> tuple[Tensor, float]:
        """-H grad f with the approximate inverse Hessian H, and the slope of f along it."""
        steepest = -at.rgrad, -at.gradient_norm * at.gradient_norm
        if self._rows is None:
            return steepest
        against = self._manifold.inner(at.x, self._rows, at.rgrad).cpu().double().numpy()
        n = len(against)
        gram = np.empty((n + 1, n + 1))
        gram[:n, :n], gram[n, :n], gram[:n, n] = self._gram, against, against
        gram[n, n] = at.gradient_norm * at.gradient_norm
        q, alphas = np.zeros(n + 1), np.zeros(n)
        q[n] = 1
        for s in range(n - 2, -2, -2):
            alphas[s] = gram[s] @ q / gram[s, s + 1]
            q[s + 1] -= alphas[s]
        q *= gram[n - 2, n - 1] / gram[n - 1, n - 1]
        for s in range(0, n, 2):
            q[s] += alphas[s] - gram[s + 1] @ q / gram[s, s + 1]
        slope = -float(gram[n] @ q)
        if not slope < -DESCENT * at.gradient_norm * math.sqrt(max(0.0, q @ gram @ q)):
            self.clear()
            return steepest
        weights = torch.tensor(q, dtype=at.x.dtype, device=at.x.device)
        total = cast("Tensor", torch.tensordot(weights[:n], self._rows, 1))
        return -total - weights[n] * at.rgrad, slope

    def move(self, last: Iterate, at: Iterate, step: Tensor, caution: float) -> None:
        """Carry all pairs to the new point, and take the last step in.

        A pair whose cosine is below `caution` is left out: the inverse Hessian stays positive and
        bounded, and the method converges on functions that are not convex (cautious update).
        """
        news = torch.stack([step, last.rgrad])
        rows = news if self._rows is None else torch.cat([self._rows, news])
        rows = self._manifold.transport(last.x, at.x, rows)
        n = len(rows) - 2
        rows[n + 1] = at.rgrad - rows[n + 1]
        against = self._manifold.inner(at.x, rows, rows[n:, None]).cpu().double().numpy()
        gram = np.empty((n + 2, n + 2))
        gram[:n, :n], gram[n:], gram[:, n:] = self._gram, against, against.T
        (ss, sy), (_, yy) = gram[n:, n:]
        kept = min(ss, yy) > 0 and sy > caution * math.sqrt(ss) * math.sqrt(yy)
        end = n + 2 if kept else n
        first = max(0, end - 2 * self._memory)
        self._gram = gram[first:end, first:end]
        self._rows = rows[first:end] if end > first else None
