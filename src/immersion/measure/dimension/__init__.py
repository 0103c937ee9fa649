"""Intrinsic dimension: how many numbers locate a sample, by estimator, scale, point and class."""

from __future__ import annotations

from immersion.measure.dimension.controls import (
    against_gaussian,
    against_shuffled,
    dimension_per_class,
    gaussian_like,
    shuffle_features,
)
from immersion.measure.dimension.correlation import correlation_dimension
from immersion.measure.dimension.gride import ScaleCurve, gride
from immersion.measure.dimension.intrinsic import IntrinsicDimension, intrinsic_dimension
from immersion.measure.dimension.local import LocalDimension, local_dimension
from immersion.measure.dimension.mle import mle_dimension
from immersion.measure.dimension.pca import pca_dimension
from immersion.measure.dimension.simplex import ess_dimension
from immersion.measure.dimension.two_nn import two_nn

__all__ = [
    "IntrinsicDimension",
    "LocalDimension",
    "ScaleCurve",
    "against_gaussian",
    "against_shuffled",
    "correlation_dimension",
    "dimension_per_class",
    "ess_dimension",
    "gaussian_like",
    "gride",
    "intrinsic_dimension",
    "local_dimension",
    "mle_dimension",
    "pca_dimension",
    "shuffle_features",
    "two_nn",
]
