"""Every method of a manifold with arguments it can be run on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from immersion.core.metric import GeodesicManifold, Manifold
from laws.case import Case

Method = Callable[..., Tensor]


def methods(M: Manifold) -> dict[str, tuple[Method, str]]:
    """Every method with what it takes: points x and y, vectors u and v at x."""
    found: dict[str, tuple[Method, str]] = {
        "proj": (M.proj, "x"),
        "violation": (M.violation, "x"),
        "to_tangent": (M.to_tangent, "xu"),
        "egrad2rgrad": (M.egrad2rgrad, "xu"),
        "christoffel": (M.christoffel, "xuv"),
        "inner": (M.inner, "xuv"),
        "norm": (M.norm, "xu"),
        "retract": (M.retract, "xu"),
        "transport": (M.transport, "xyv"),
        "carry": (lambda x, u, v: torch.stack(M.carry(x, u, v)), "xuv"),
    }
    if isinstance(M, GeodesicManifold):
        found |= {
            "exp": (M.exp, "xu"),
            "log": (M.log, "xy"),
            "dist": (M.dist, "xy"),
            "geodesic": (lambda x, y: M.geodesic(x, y, 0.3), "xy"),
        }
    return found


def arguments(case: Case, n: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    x = case.points(n, dtype=dtype)
    u = case.tangent(x, case.within(x, 0.3), 1)
    y = case.manifold.retract(x, case.tangent(x, case.within(x, 0.4), 2))
    return {"x": x, "y": y, "u": u, "v": case.tangent(x, 1.0, 3)}
