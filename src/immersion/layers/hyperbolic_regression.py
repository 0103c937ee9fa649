"""Multinomial logistic regression on points of a Poincare ball."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import torch
from torch import nn

from immersion.core.arguments import require_points
from immersion.core.errors import InputError
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.layers.hyperbolic_curvature import LearnableCurvature, as_curvature, current
from immersion.layers.hyperplanes import scores

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
class HyperbolicRegression(nn.Module):
    """Logits of classes: |w_k| times the signed distance from a hyperplane for each class.

    Put it before a cross-entropy. As the curvature goes to zero the logits become those of a linear
    layer on the log coordinates 2x, W 2x - |w| b. They grow with the distance from the hyperplane,
    so with its logarithm in coordinates: a point near the boundary moves no logit out of range.

    Inputs have shape (*b, in_features), points of the ball; logits (*b, classes). The parameters
    are plain: any optimiser trains them. Cost: one matrix product.

    Args:
        in_features: dimension of the ball.
        classes: number of classes.
        bias: whether the hyperplanes have an offset from the origin, a learnable distance each.
        curvature: a negative number, or a `LearnableCurvature`.
        device: where the parameters are.
        dtype: torch.float32 or torch.float64.

    Attributes:
        weight: (classes, in_features), the normals w_k; they start normal with variance
            1/in_features.
        bias: (classes,) signed distances of the hyperplanes from the origin, zero to start; or
            None.

    Source: Ganea, Becigneul and Hofmann 2018, arXiv:1805.09112; parameters as in Shimizu, Mukuta
    and Harada 2021, arXiv:2006.08210, without their redundant base points.

    Example:
        >>> import immersion as im
        >>> head = im.layers.HyperbolicRegression(8, 3)
        >>> head(head.manifold().random(5)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        bias: bool = True,
        curvature: float | LearnableCurvature = -1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if in_features < 1 or classes < 1:
            raise InputError(
                f"HyperbolicRegression needs sizes of at least 1, not {in_features} and {classes}"
            )
        self.in_features, self.classes = in_features, classes
        self.curvature = as_curvature(curvature, "HyperbolicRegression")
        self.weight = nn.Parameter(torch.empty(classes, in_features, device=device, dtype=dtype))
        free = torch.empty(classes, device=device, dtype=dtype)
        self.bias = nn.Parameter(free) if bias else None
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight anew; set the bias to zero."""
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.in_features), generator=generator)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def manifold(self) -> PoincareBall:
        """The ball that points come from."""
        return PoincareBall(self.in_features, current(self.curvature))

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """The logits.

        Raises:
            InputError: x is no floating-point tensor of shape (*b, in_features).
        """
        ball = self.manifold()
        require_points(ball, "forward", x)
        return scores(x, self.weight, self.bias, ball.sharpness)

    def extra_repr(self) -> str:
        """Sizes, and the curvature where it is a number."""
        fixed = "" if isinstance(self.curvature, nn.Module) else f", curvature={self.curvature}"
        return (
            f"in_features={self.in_features}, classes={self.classes}, "
            f"bias={self.bias is not None}{fixed}"
        )
