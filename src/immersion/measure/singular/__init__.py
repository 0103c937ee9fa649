"""Is it a manifold? Singular points, boundary and noise level of sampled points."""

from __future__ import annotations

from immersion.measure.singular.boundary import Boundary, boundary
from immersion.measure.singular.kinds import Place
from immersion.measure.singular.noise import noise_level
from immersion.measure.singular.singularity import Singularities, singularity

__all__ = ["Boundary", "Place", "Singularities", "boundary", "noise_level", "singularity"]
