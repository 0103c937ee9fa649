"""How far to go along a direction: the Wolfe conditions along a retraction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch

from immersion.optim.hessian import Iterate, Objective

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

#: f falls by at least this part of what the slope at the start promises.
DECREASE = 1e-3
#: A bracket that has not shrunk to this part is halved.
SHRINKAGE = 0.66
#: Factor by which a step that is too short grows.
EXPANSION = 5.0
#: Changes of f below this many eps max(1, |f|) may be rounding.
ROUNDING = 100.0
#: Points tried before the search gives up.
LIMIT = 50


@dataclass(frozen=True, eq=False)
class Probe:
    """phi(t) = f(retract(x, t u)), its derivative, and the gradient of f at the end.

    Where f is not finite there, the value is inf, the slope NaN, and the iterate the start.
    """

    t: float
    value: float
    slope: float
    at: Iterate


@final
class LineSearch:
    """Search for a step that meets the Wolfe conditions, after Hager and Zhang (2005, 2006).

    phi'(t) is exact: the reverse pass of the retraction carries the gradient back to t, so that
    any retraction will do and none needs its derivative in closed form. Near a minimum, where
    phi(t) - phi(0) is rounding, the slopes alone are asked (their "approximate Wolfe conditions"):
    they see sqrt(eps) closer. Where f is NaN or infinite the step is cut to a tenth.

    Args:
        objective: f and its manifold.
        start: where the line starts.
        direction: tangent vector along which f falls.
        slope: derivative of f along it.
        curvature: the part of `slope` to which that at the end is to shrink, in absolute value.
    """

    def __init__(
        self,
        objective: Objective,
        start: Iterate,
        direction: Float[Tensor, "*p"],
        slope: float,
        curvature: float,
    ) -> None:
        self._objective, self._start, self._direction = objective, start, direction
        self._curvature = curvature
        self._zero = Probe(0.0, start.value, slope, start)
        self._rounding = ROUNDING * torch.finfo(start.x.dtype).eps * max(1.0, abs(start.value))
        self._tried = 0
        self._found: Probe | None = None

    def run(self, t: float) -> Probe | None:
        """The step, from the guess `t`; None if none was found that lowers f."""
        low, high = self._bracket(t)
        while self._open() and self._wide(low, high):
            width = high.t - low.t
            low, high = self._secant_squared(low, high)
            if self._open() and high.t - low.t > SHRINKAGE * width:
                low, high = self._update(low, high, (low.t + high.t) / 2)
        if self._found is None and low.value < self._zero.value:
            return low
        return self._found

    def _open(self) -> bool:
        return self._found is None and self._tried < LIMIT

    def _wide(self, low: Probe, high: Probe) -> bool:
        """Whether the bracket holds more than one number of the dtype."""
        return high.t - low.t > torch.finfo(self._start.x.dtype).eps * high.t

    def _probe(self, t: float) -> Probe:
        self._tried += 1
        x = self._start.x
        with torch.enable_grad():
            time = torch.tensor(t, dtype=x.dtype, device=x.device, requires_grad=True)
            y = self._objective.manifold.retract(x, time * self._direction)
        trial = self._objective.trial(y)
        if not math.isfinite(trial.value):
            return Probe(t, math.inf, math.nan, self._start)
        at = self._objective.gradient(trial)
        slope = torch.autograd.grad(y, time, at.egrad)[0].item()
        if not math.isfinite(slope + at.gradient_norm):
            return Probe(t, math.inf, math.nan, self._start)
        probe = Probe(t, trial.value, slope, at)
        initial = self._zero.slope
        level = abs(trial.value - self._zero.value) <= self._rounding
        if abs(slope) <= -self._curvature * initial and (
            self._fall(probe) >= 0 or (level and slope <= (2 * DECREASE - 1) * initial)
        ):
            self._found = probe
        return probe

    def _fall(self, probe: Probe) -> float:
        """How much more f fell than it has to; negative where the step is too long."""
        return self._zero.value + DECREASE * probe.t * self._zero.slope - probe.value

    def _bracket(self, t: float) -> tuple[Probe, Probe]:
        """Grow the step until the slope or the value says that a minimum was passed."""
        low = self._zero
        while self._open():
            probe = self._probe(t)
            if self._objective.bottomless(probe.value):
                self._found = probe
            if probe.slope >= 0:
                return low, probe
            if self._fall(probe) < -self._rounding:
                return self._bisect(low, probe)
            low, t = probe, EXPANSION * t
        return low, low

    def _bisect(self, low: Probe, high: Probe) -> tuple[Probe, Probe]:
        """From f too high at the right end, to a slope that rises there."""
        while self._open() and self._wide(low, high):
            part = 0.5 if high.value < math.inf else 0.1
            probe = self._probe(low.t + part * (high.t - low.t))
            if probe.slope >= 0:
                return low, probe
            if self._fall(probe) >= -self._rounding:
                low = probe
            else:
                high = probe
        return low, high

    def _update(self, low: Probe, high: Probe, t: float) -> tuple[Probe, Probe]:
        """The bracket with its end moved to `t`, if that is inside."""
        if not low.t < t < high.t:
            return low, high
        probe = self._probe(t)
        if probe.slope >= 0:
            return low, probe
        if self._fall(probe) >= -self._rounding:
            return probe, high
        return self._bisect(low, probe)

    def _secant_squared(self, low: Probe, high: Probe) -> tuple[Probe, Probe]:
        """Two secant steps on the slope, one from each side: order 1 + sqrt(2) together."""
        t = _secant(low, high)
        new_low, new_high = self._update(low, high, t)
        if not self._open():
            return new_low, new_high
        if new_high.t == t:
            return self._update(new_low, new_high, _secant(high, new_high))
        if new_low.t == t:
            return self._update(new_low, new_high, _secant(low, new_low))
        return new_low, new_high


def _secant(a: Probe, b: Probe) -> float:
    change = b.slope - a.slope
    return (a.t * b.slope - b.t * a.slope) / change if change else math.nan
