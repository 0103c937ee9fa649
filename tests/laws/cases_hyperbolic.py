"""Hyperbolic space in its three models."""

from __future__ import annotations

from immersion.known.hyperbolic.log_hyperbolic import LogHyperbolic
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall
from laws.case import Case

CASES = [
    Case("PoincareBall(3)", PoincareBall(3)),
    Case("PoincareBall(1)", PoincareBall(1)),
    Case("PoincareBall(2)-sharp", PoincareBall(2, curvature=-2.5)),
    Case("PoincareBall(4)-flat", PoincareBall(4, curvature=-1e-3)),
    Case("PoincareBall(3)-euclidean", PoincareBall(3, retraction="euclidean"), order=1),
    Case("LogHyperbolic(3)", LogHyperbolic(3)),
    Case("LogHyperbolic(1)", LogHyperbolic(1)),
    Case("LogHyperbolic(2)-sharp", LogHyperbolic(2, curvature=-2.5)),
    Case("Lorentz(3)", Lorentz(3)),
    Case("Lorentz(1)", Lorentz(1)),
    Case("Lorentz(2)-sharp", Lorentz(2, curvature=-2.5)),
]
