"""Every synthetic manifold beside a parametrisation of its own, written from its definition.

A chart maps parameters near zero to ambient points (torch, float64), with zero at the given point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, cos, sin

from immersion.datasets import synthetic
from immersion.datasets.synthetic import SyntheticManifold

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A maker, and its parametrisation in the coordinates that it reports."""

    name: str
    make: Callable[..., SyntheticManifold]
    map: Map
    dim: int
    ambient: int
    box: tuple[tuple[float, float], ...] | None = None

    def chart(self, at: Tensor) -> Map:
        """The parametrisation about the coordinates of one point."""
        return lambda step: self.map(at + step)


class OnSphere(Case):
    """Coordinates that end in a unit vector, which moves along its tangent plane."""

    def chart(self, at: Tensor) -> Map:
        # What stands before the unit vector, and the vector's d or d + 1, are d + 1 together.
        before = 1 if self.name.startswith("cone") else 0
        unit = at[before:]
        complete = torch.cat([unit[:, None], torch.eye(len(unit), dtype=at.dtype)], dim=1)
        frame = torch.linalg.qr(complete)[0][:, 1:]

        def moved(step: Tensor) -> Tensor:
            tangent = unit + frame @ step[before:]
            return self.map(torch.cat([at[:before] + step[:before], tangent / tangent.norm()]))

        return moved


def _swiss(u: Tensor) -> Tensor:
    return torch.stack([u[0] * cos(u[0]), u[1], u[0] * sin(u[0])])


def _s_curve(u: Tensor) -> Tensor:
    return torch.stack([sin(u[0]), u[1], torch.sign(u[0]) * (cos(u[0]) - 1)])


def _torus(u: Tensor) -> Tensor:
    ring = 2 + cos(u[1])
    return torch.stack([ring * cos(u[0]), ring * sin(u[0]), sin(u[1])])


def _band(twists: int) -> Map:
    def band(u: Tensor) -> Tensor:
        half = twists * u[0] / 2
        ring = 1 + u[1] * cos(half)
        return torch.stack([ring * cos(u[0]), ring * sin(u[0]), u[1] * sin(half)])

    return band


def _klein(u: Tensor) -> Tensor:
    half = u[1] / 2
    first = torch.stack([cos(u[1]), sin(u[1])]) * cos(u[0])
    second = 2 * sin(u[0]) * torch.stack([cos(half), sin(half)])
    return torch.cat([first, second, math.sqrt(3) * cos(u[:1])])


def _circles(u: Tensor) -> Tensor:
    radii = torch.tensor([1.0, 0.5, 2.0], dtype=u.dtype)
    return (radii[:, None] * torch.stack([cos(u), sin(u)], dim=1)).reshape(-1)


def _curve(u: Tensor) -> Tensor:
    k = torch.arange(1, 7, dtype=u.dtype)
    return torch.cat([cos(k * u), sin(k * u)]) / k.repeat(2)


def _coils(copies: int) -> Map:
    def coils(u: Tensor) -> Tensor:
        angle = 2 * math.pi * u
        plane = u.roll(-1)[:, None] * torch.stack([cos(angle), sin(angle)], dim=1)
        return plane.reshape(-1).repeat(copies)

    return coils


def _helicoid(u: Tensor) -> Tensor:
    return torch.stack([u[0] * cos(u[1]), u[0] * sin(u[1]), 0.5 * u[1]])


def _bowl(u: Tensor) -> Tensor:
    return torch.cat([u, 0.75 * u.square().sum()[None]])


def _saddle(u: Tensor) -> Tensor:
    return torch.stack([u[0], u[1], 0.7 * (u[0] ** 2 - u[1] ** 2)])


def _cone(u: Tensor) -> Tensor:
    return torch.cat([u[0] * math.sin(0.6) * u[1:], u[:1] * math.cos(0.6)])


def _cusp(u: Tensor) -> Tensor:
    return torch.stack([u[0] ** 2, u[0] ** 3, u[1]])


def _eight(u: Tensor) -> Tensor:
    return torch.cat([cos(u), sin(u) * cos(u)]) / (1 + sin(u).square())


TURN = 2 * math.pi
CASES = [
    Case("swiss_roll", synthetic.swiss_roll, _swiss, 2, 3,
         ((0.75 * TURN, 2.25 * TURN), (0, 21))),
    Case("s_curve", synthetic.s_curve, _s_curve, 2, 3, ((-0.75 * TURN, 0.75 * TURN), (0, 2))),
    Case("torus", synthetic.torus, _torus, 2, 3, ((0, TURN), (0, TURN))),
    Case("mobius_band", synthetic.mobius_band, _band(1), 2, 3, ((0, TURN), (-0.5, 0.5))),
    Case("twisted band", lambda n, **how: synthetic.mobius_band(n, half_twists=10, **how),
         _band(10), 2, 3, ((0, TURN), (-0.5, 0.5))),
    Case("klein_bottle", synthetic.klein_bottle, _klein, 2, 5, ((0, TURN), (0, TURN))),
    Case("clifford_torus",
         lambda n, **how: synthetic.clifford_torus(n, (1.0, 0.5, 2.0), **how),
         _circles, 3, 6, ((0, TURN),) * 3),
    Case("closed_curve", synthetic.closed_curve, _curve, 1, 12, ((0, TURN),)),
    Case("coils 3", lambda n, **how: synthetic.coils(n, 3, **how), _coils(1), 3, 6, ((0, 1),) * 3),
    Case("coils 6 x 3", lambda n, **how: synthetic.coils(n, 6, 3, **how), _coils(3), 6, 36),
    Case("helicoid",
         lambda n, **how: synthetic.helicoid(n, radius=2.0, angle=9.0, **how),
         _helicoid, 2, 3, ((0, 2), (0, 9))),
    Case("paraboloid", lambda n, **how: synthetic.paraboloid(n, bend=1.5, **how), _bowl, 2, 3),
    Case("paraboloid 4", lambda n, **how: synthetic.paraboloid(n, 4, bend=1.5, **how), _bowl, 4, 5),
    Case("saddle", lambda n, **how: synthetic.saddle(n, bend=1.4, **how), _saddle, 2, 3),
    Case("cuspidal_edge", synthetic.cuspidal_edge, _cusp, 2, 3, ((-1, 1), (0, 2))),
    Case("cusp", synthetic.cusp, lambda u: torch.cat([u**2, u**3]), 1, 2, ((-1, 1),)),
    Case("figure_eight", synthetic.figure_eight, _eight, 1, 2, ((0, TURN),)),
    Case("hypercube", lambda n, **how: synthetic.hypercube(n, 5, **how), lambda u: u, 5, 5,
         ((0, 1),) * 5),
    Case("hyperball", lambda n, **how: synthetic.hyperball(n, 3, radius=2.0, **how),
         lambda u: u, 3, 3),
    OnSphere("sphere", lambda n, **how: synthetic.sphere(n, 2, radius=1.5, **how),
             lambda u: 1.5 * u, 2, 3),
    OnSphere("sphere 5", lambda n, **how: synthetic.sphere(n, 5, **how), lambda u: u, 5, 6),
    OnSphere("cone", lambda n, **how: synthetic.cone(n, half_angle=0.6, **how), _cone, 2, 3),
    OnSphere("cone 4", lambda n, **how: synthetic.cone(n, 4, half_angle=0.6, **how), _cone, 4, 5),
]  # fmt: skip
UNIONS = [
    Case("crossing_planes", synthetic.crossing_planes, lambda u: u, 2, 3),
    Case("crossing lines",
         lambda n, **how: synthetic.crossing_planes(n, 1, angle=0.8, **how), lambda u: u, 1, 2),
    Case("planes at a point",
         lambda n, **how: synthetic.crossing_planes(n, 2, shared=0, angle=1.0, **how),
         lambda u: u, 2, 4),
    Case("pierced_disc", synthetic.pierced_disc, lambda u: u, 2, 3),
    Case("line_into_disc", synthetic.line_into_disc, lambda u: u, 2, 2),
]  # fmt: skip
