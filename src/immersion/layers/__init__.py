"""Layers with geometry: hyperbolic linear maps, regression and tables; orthogonal maps."""

from immersion.layers.hyperbolic_curvature import LearnableCurvature as LearnableCurvature
from immersion.layers.hyperbolic_embedding import HyperbolicEmbedding as HyperbolicEmbedding
from immersion.layers.hyperbolic_linear import HyperbolicLinear as HyperbolicLinear
from immersion.layers.hyperbolic_regression import HyperbolicRegression as HyperbolicRegression
from immersion.layers.orthogonal_conv import OrthogonalConv2d as OrthogonalConv2d
from immersion.layers.orthogonal_linear import OrthogonalLinear as OrthogonalLinear
