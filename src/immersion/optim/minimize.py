"""Minimisation of a function on a manifold, to the precision that the dtype allows."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import torch

from immersion.core.errors import InputError
from immersion.core.progress import Advance, Progress, progress_for
from immersion.optim.conjugate_gradient import ConjugateGradient
from immersion.optim.hessian import Evaluations, Function, Iterate, Objective, Trial
from immersion.optim.lbfgs import LBFGS
from immersion.optim.trust_region import TrustRegion

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from immersion.core.metric import Manifold

Method = Literal["trust-region", "conjugate-gradient", "lbfgs"]
Reason = Literal[
    "gradient", "unbounded", "stagnation", "iterations", "time", "callback", "interrupt"
]

#: Seconds after which a run shows how far it is.
PATIENCE = 2.0
#: Steps of the bar.
TICKS = 1000


@dataclass(frozen=True)
class History:
    """What each iteration reached, the first point included.

    Attributes:
        values: f.
        gradient_norms: |grad f| in the metric.
        seconds: since the call.
    """

    values: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class State:
    """Where a run is, for its callback.

    Attributes:
        x: the point (*point_shape), detached; not to be changed.
        value: f there.
        gradient_norm: |grad f| there.
        iterations: steps taken; 0 at the first point.
    """

    x: Tensor
    value: float
    gradient_norm: float
    iterations: int


@dataclass(frozen=True)
class Minimum:
    """The result of `minimize`.

    Attributes:
        x: the last point (*point_shape), detached. No method goes up by more than rounding, so
            that it is also the best.
        value: f there.
        gradient_norm: |grad f| there, in the metric.
        tolerance: gradient norm that was to be reached.
        iterations: steps taken.
        evaluations: how often f, its gradient and Hessian-vector products were computed.
        converged: whether `gradient_norm` <= `tolerance`.
        reason: why the run ended. "gradient": converged. "stagnation": no step lowers f any more,
            as rounding hides all falls of it; or f is not smooth here. "unbounded": f fell below
            -max(1, |f(x0)|) / eps^2. "iterations", "time": the limit was reached. "callback": it
            said so. "interrupt": Ctrl-C.
        history: f, |grad f| and the time at every point.
    """

    x: Tensor
    value: float
    gradient_norm: float
    tolerance: float
    iterations: int
    evaluations: Evaluations
    converged: bool
    reason: Reason
    history: History


def minimize(
    f: Function,
    x0: Float[Tensor, "*p"],
    manifold: Manifold,
    method: Method | TrustRegion | ConjugateGradient | LBFGS = "trust-region",
    *,
    tolerance: float | None = None,
    max_iterations: int = 1000,
    max_time: float | None = None,
    callback: Callable[[State], object] | None = None,
    progress: Progress | None = None,
) -> Minimum:
    """Minimise `f` over a manifold, from `x0`.

    | method | a step costs | choose it |
    |---|---|---|
    | "trust-region" | 1 value, 1 gradient, Hessian products | to many digits; ill-conditioned f |
    | "lbfgs" | 1 to 2 gradients, 2 `memory` transports | to a few digits; f once differentiable |
    | "conjugate-gradient" | 2 gradients, 2 transports | where memory is scarce |

    A Hessian product costs about two gradients, by autograd on a graph that is built once a step.

    The **trust region** (Absil, Baker and Gallivan 2007) minimises a quadratic model of f in a ball
    of T_xM by truncated conjugate gradients and converges quadratically, from any start, also where
    the Hessian is indefinite: it leaves saddle points along negative curvature that a gradient
    shows. `TrustRegion` sets its radius and a preconditioner. **L-BFGS** (Huang, Gallivan and Absil
    2015) makes a model of the Hessian from the last steps, transported along, and converges
    linearly, fast in practice. **Conjugate gradients** (Sato 2022) converge linearly and remember
    one direction. Both search along the retraction for the Wolfe conditions (Hager and Zhang 2005).

    What is found is a point where the gradient vanishes: a local minimum, and from an unlucky start
    (a gradient of exactly zero) any critical point. Where f is not smooth, its kinks stop all three
    ("stagnation"); where it has no lower bound, that is told too ("unbounded"). f may be NaN or
    infinite away from `x0`: steps that lead there are shortened.

    Args:
        f: function from a point (*point_shape) to a scalar tensor, differentiable by autograd,
            twice for the trust region. It is called with a tensor that requires grad.
        x0: the start, one point (*point_shape), float32 or float64 on any device. Many points at
            once are one point of `Power(manifold, n)`.
        manifold: where `x0` lies.
        method: the name of a method, or its settings: `im.TrustRegion`,
            `im.ConjugateGradient` or `im.LBFGS`.
        tolerance: gradient norm, in the metric, at which f counts as solved; by default
            eps^(2/3) max(1, |grad f(x0)|): 3.7e-11 of that in float64, 2.4e-5 in float32.
        max_iterations: limit of steps.
        max_time: limit of seconds. It is looked at between products and line searches.
        callback: called with the `State` at the first point and after each step; the run ends when
            it returns True.
        progress: where a run of more than 2 seconds shows how far it is. By default a bar on
            standard error if that is a terminal, and nothing elsewhere.

    Returns:
        The last point with all that is known of it. A run that does not converge says so in
        `converged` and `reason`, and so does one that is interrupted by Ctrl-C.

    Raises:
        InputError: `x0` is not one point, or off the manifold; `f` is not a scalar, not finite at
            `x0`, not differentiable in x; an argument out of range.

    Source: Absil, Mahony and Sepulchre, Optimization algorithms on matrix manifolds (2008); Boumal,
    An introduction to optimization on smooth manifolds (2023), chapters 4 to 6.

    Example:
        >>> import immersion as im
        >>> A = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
        >>> x0 = torch.tensor([0.48, 0.6, 0.64], dtype=torch.float64)
        >>> found = im.minimize(lambda x: x @ A @ x, x0, im.Sphere(2))
        >>> found.x.abs().round(decimals=6), round(found.value, 6), found.reason
        (tensor([0., 0., 1.], dtype=torch.float64), 1.0, 'gradient')
    """
    settings = _settings(method)
    _check_limits(tolerance, max_iterations, max_time)
    manifold.check(x0)
    if tuple(x0.shape) != manifold.point_shape:
        wanted = ", ".join(map(str, manifold.point_shape))
        raise InputError(
            f"minimize: x0 has shape {tuple(x0.shape)}, one point of {manifold} has shape "
            f"({wanted}); for n points together give Power(manifold, n)"
        )
    start = time.perf_counter()
    limit = math.inf if max_time is None else max_time
    objective = Objective(f, manifold, tolerance, start + limit)
    record = _Record(start)
    with ExitStack() as stack, torch.inference_mode(False):
        steps = settings.steps(objective, _first(objective, x0))
        at = next(steps)
        if not math.isfinite(at.gradient_norm):
            raise InputError(
                "minimize: the gradient of f at x0 is not finite, though f is; "
                "start elsewhere, or look for a root or a norm of zero in f"
            )
        bar = _Bar(stack, start, progress)
        try:
            while True:
                state = record.add(at)
                stop = callback is not None and callback(state) is True
                reason = _reason(objective, state, stop, max_iterations)
                if reason is not None:
                    break
                bar.show(
                    state.iterations / max_iterations,
                    record.seconds[-1] / limit,
                    math.log(record.norms[0] / at.gradient_norm)
                    / math.log(record.norms[0] / objective.tolerance),
                )
                new = next(steps, None)
                if new is None:
                    reason = "time" if objective.expired() else "stagnation"
                    break
                at = new
        except KeyboardInterrupt:
            reason = "interrupt"
    return Minimum(
        x=at.x,
        value=at.value,
        gradient_norm=at.gradient_norm,
        tolerance=objective.tolerance,
        iterations=len(record.values) - 1,
        evaluations=objective.evaluations,
        converged=reason == "gradient",
        reason=reason,
        history=History(tuple(record.values), tuple(record.norms), tuple(record.seconds)),
    )


@final
class _Record:
    """What was reached until now."""

    def __init__(self, start: float) -> None:
        self._start = start
        self.values: list[float] = []
        self.norms: list[float] = []
        self.seconds: list[float] = []

    def add(self, at: Iterate) -> State:
        self.values.append(at.value)
        self.norms.append(at.gradient_norm)
        self.seconds.append(time.perf_counter() - self._start)
        return State(at.x, at.value, at.gradient_norm, len(self.values) - 1)


@final
class _Bar:
    """A bar that appears when a run turns out to be long."""

    def __init__(self, stack: ExitStack, start: float, progress: Progress | None) -> None:
        kind = "auto" if sys.stderr.isatty() else "silent"
        self._progress = progress_for(kind) if progress is None else progress
        self._stack, self._start, self._done = stack, start, 0
        self._advance: Advance | None = None

    def show(self, *fractions: float) -> None:
        """Move to the largest of some estimates of the part that is done."""
        if self._advance is None:
            if time.perf_counter() - self._start < PATIENCE:
                return
            stage = self._progress.stage("minimize", total=TICKS)
            self._advance = self._stack.enter_context(stage)
        ticks = int(TICKS * max(0.0, *fractions))
        self._advance(max(0, ticks - self._done))
        self._done = max(self._done, ticks)


def _reason(objective: Objective, state: State, stop: bool, max_iterations: int) -> Reason | None:
    if state.gradient_norm <= objective.tolerance:
        return "gradient"
    if objective.bottomless(state.value):
        return "unbounded"
    if stop:
        return "callback"
    if objective.expired():
        return "time"
    return "iterations" if state.iterations >= max_iterations else None


def _first(objective: Objective, x0: Float[Tensor, "*p"]) -> Trial:
    """f at the start, which is first brought to the manifold within rounding."""
    trial = objective.trial(objective.manifold.proj(x0.detach().clone()))
    if not math.isfinite(trial.value):
        raise InputError(f"minimize: f(x0) is {trial.value}; start where f is finite")
    return trial


def _settings(
    method: Method | TrustRegion | ConjugateGradient | LBFGS,
) -> TrustRegion | ConjugateGradient | LBFGS:
    if isinstance(method, TrustRegion | ConjugateGradient | LBFGS):
        return method
    named = {"trust-region": TrustRegion, "conjugate-gradient": ConjugateGradient, "lbfgs": LBFGS}
    if not isinstance(method, str) or method not in named:  # pyright: ignore[reportUnnecessaryIsInstance]: users
        raise InputError(
            f"minimize: method is {', '.join(map(repr, named))} or the settings of one, "
            f"not {method!r}"
        )
    return named[method]()


def _check_limits(tolerance: float | None, max_iterations: int, max_time: float | None) -> None:
    if tolerance is not None and not tolerance > 0:
        raise InputError(f"minimize: tolerance is positive, not {tolerance}")
    if not max_iterations >= 0:
        raise InputError(f"minimize: max_iterations is not negative, it is {max_iterations}")
    if max_time is not None and not max_time > 0:
        raise InputError(f"minimize: max_time is positive, not {max_time} seconds")
