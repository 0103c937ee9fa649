"""Synthetic manifolds that know their dimension, geodesics, curvature and singular points."""

from __future__ import annotations

from immersion.datasets.synthetic.closed import clifford_torus, closed_curve, klein_bottle
from immersion.datasets.synthetic.cusps import cusp, cuspidal_edge, figure_eight
from immersion.datasets.synthetic.flat import hyperball, hypercube, s_curve, sphere, swiss_roll
from immersion.datasets.synthetic.manifold import SyntheticManifold
from immersion.datasets.synthetic.nonlinear import benchmark_manifolds, coils
from immersion.datasets.synthetic.singular import (
    cone,
    crossing_planes,
    line_into_disc,
    pierced_disc,
)
from immersion.datasets.synthetic.surfaces import (
    helicoid,
    mobius_band,
    paraboloid,
    saddle,
    torus,
)

__all__ = [
    "SyntheticManifold",
    "benchmark_manifolds",
    "clifford_torus",
    "closed_curve",
    "coils",
    "cone",
    "crossing_planes",
    "cusp",
    "cuspidal_edge",
    "figure_eight",
    "helicoid",
    "hyperball",
    "hypercube",
    "klein_bottle",
    "line_into_disc",
    "mobius_band",
    "paraboloid",
    "pierced_disc",
    "s_curve",
    "saddle",
    "sphere",
    "swiss_roll",
    "torus",
]
