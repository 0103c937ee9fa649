"""A linear layer between Poincare balls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from immersion.core.arguments import require_points
from immersion.core.errors import InputError
from immersion.core.scalars import sinhc
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.layers.hyperbolic_curvature import LearnableCurvature, as_curvature, current
from immersion.layers.hyperplanes import scores

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
class HyperbolicLinear(nn.Module):
    """The Poincare fully connected layer of "Hyperbolic Neural Networks++".

    Output k is the point whose signed distance from the k-th coordinate hyperplane is the k-th
    score of the input: |w_k| times its signed distance from a hyperplane of its own. That is what a
    linear layer does in flat space, and as the curvature goes to zero it becomes one,
    y = W x - |w| b / 2. The older layer, a Moebius matrix-vector product and a Moebius sum (Ganea
    et al. 2018), applies W in the tangent space at the origin alone, so its outputs keep the rays
    of the origin, and takes two more maps between ball and tangent space; this form has neither
    flaw and stays accurate near the boundary.

    Inputs have shape (*b, in_features) and outputs (*b, out_features), points of balls of the same
    curvature. The parameters are plain: any optimiser trains them. Cost: one matrix product.

    Args:
        in_features: dimension of the input ball.
        out_features: dimension of the output ball.
        bias: whether the hyperplanes have an offset from the origin, a learnable distance each.
        curvature: a negative number, or a `LearnableCurvature`.
        device: where the parameters are.
        dtype: torch.float32 or torch.float64.

    Attributes:
        weight: (out_features, in_features), the normals w_k. They start normal with variance
            1/out_features, which keeps distances from the origin near it.
        bias: (out_features,) signed distances of the hyperplanes from the origin, zero to start; or
            None.

    Source: Shimizu, Mukuta and Harada 2021, arXiv:2006.08210.

    Example:
        >>> import immersion as im
        >>> layer = im.layers.HyperbolicLinear(8, 3)
        >>> ball = layer.manifold(8)
        >>> layer(ball.random(5)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        curvature: float | LearnableCurvature = -1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if in_features < 1 or out_features < 1:
            raise InputError(
                f"HyperbolicLinear needs dimensions of at least 1, not {in_features} and "
                f"{out_features}"
            )
        self.in_features, self.out_features = in_features, out_features
        self.curvature = as_curvature(curvature, "HyperbolicLinear")
        self.weight = nn.Parameter(
            torch.empty(out_features, in_features, device=device, dtype=dtype)
        )
        free = torch.empty(out_features, device=device, dtype=dtype)
        self.bias = nn.Parameter(free) if bias else None
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight anew; set the bias to zero."""
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.out_features), generator=generator)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def manifold(self, n: int) -> PoincareBall:
        """The ball of dimension n that points come from or go to."""
        return PoincareBall(n, current(self.curvature))

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        """The output points.

        Raises:
            InputError: x is no floating-point tensor of shape (*b, in_features).
        """
        source = self.manifold(self.in_features)
        require_points(source, "forward", x)
        c = source.sharpness
        root = (c**0.5).to(x.dtype) if isinstance(c, torch.Tensor) else c**0.5
        reach = 40.0 if x.dtype == torch.float32 else 300.0  # sinh squared must not overflow
        height = (root * scores(x, self.weight, self.bias, c)).clamp(-reach, reach)
        s = sinhc(height) * height / root  # space coordinates on the hyperboloid
        time = (1 + (root * s).square().sum(-1, keepdim=True)).sqrt()
        return self.manifold(self.out_features).proj(s / (1 + time))

    def extra_repr(self) -> str:
        """Sizes, and the curvature where it is a number."""
        fixed = "" if isinstance(self.curvature, nn.Module) else f", curvature={self.curvature}"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}{fixed}"
        )
