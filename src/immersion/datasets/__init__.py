"""Data: bundled digits and mammals, synthetic manifolds with their truth, users' files."""

from __future__ import annotations

from immersion.datasets.digits import digits, digits_index
from immersion.datasets.readers import read
from immersion.datasets.samples import Samples, as_samples, first_nonfinite, require_finite
from immersion.datasets.synthetic import (
    SyntheticManifold,
    benchmark_manifolds,
    clifford_torus,
    closed_curve,
    coils,
    cone,
    crossing_planes,
    cusp,
    cuspidal_edge,
    figure_eight,
    helicoid,
    hyperball,
    hypercube,
    klein_bottle,
    line_into_disc,
    mobius_band,
    paraboloid,
    pierced_disc,
    s_curve,
    saddle,
    sphere,
    swiss_roll,
    torus,
)
from immersion.datasets.wordnet import Taxonomy, read_wordnet, wordnet_mammals

__all__ = [
    "Samples",
    "SyntheticManifold",
    "Taxonomy",
    "as_samples",
    "benchmark_manifolds",
    "clifford_torus",
    "closed_curve",
    "coils",
    "cone",
    "crossing_planes",
    "cusp",
    "cuspidal_edge",
    "digits",
    "digits_index",
    "figure_eight",
    "first_nonfinite",
    "helicoid",
    "hyperball",
    "hypercube",
    "klein_bottle",
    "line_into_disc",
    "mobius_band",
    "paraboloid",
    "pierced_disc",
    "read",
    "read_wordnet",
    "require_finite",
    "s_curve",
    "saddle",
    "sphere",
    "swiss_roll",
    "torus",
    "wordnet_mammals",
]
