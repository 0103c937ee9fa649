"""The curvature of hyperbolic layers: a number, or learnt and shared."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from immersion.core.errors import InputError


@final
class LearnableCurvature(nn.Module):
    """A negative curvature that is learnt: -exp(raw), raw the one parameter of this module.

    Give one instance to several layers and they share it. The layers make their manifold from it
    whenever they are called, so whatever replaces the parameter, such as
    `load_state_dict(assign=True)`, takes effect at once. Learn it with a plain optimiser, and keep
    weight decay off it: decay draws the curvature to -1.

    Args:
        start: curvature to begin with, negative.
        device: where the parameter is.
        dtype: torch.float32 or torch.float64.

    Example:
        >>> import immersion as im
        >>> curvature = im.layers.LearnableCurvature(-0.5)
        >>> encoder = im.layers.HyperbolicLinear(8, 4, curvature=curvature)
        >>> head = im.layers.HyperbolicRegression(4, 3, curvature=curvature)
        >>> encoder.manifold(4).dist(torch.zeros(4), torch.full((4,), 0.1)).backward()
        >>> bool(curvature.raw.grad > 0)
        True
    """

    def __init__(
        self,
        start: float = -1.0,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not -math.inf < start < 0:
            raise InputError(f"LearnableCurvature: start must be a negative number, not {start}")
        self.start = float(start)
        self.raw = nn.Parameter(torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to the curvature of the start."""
        nn.init.constant_(self.raw, math.log(-self.start))

    def forward(self) -> Tensor:
        """The curvature, a tensor without dimensions."""
        return -self.raw.exp()


def as_curvature(curvature: float | LearnableCurvature, name: str) -> float | LearnableCurvature:
    """The argument of a layer, checked.

    Raises:
        InputError: neither a negative number nor a `LearnableCurvature`.
    """
    if isinstance(curvature, LearnableCurvature):
        return curvature
    if isinstance(curvature, Tensor):
        raise InputError(
            f"{name}: curvature is a tensor of shape {tuple(curvature.shape)}; give a number, or "
            "LearnableCurvature(start) to learn it"
        )
    if not -math.inf < curvature < 0:
        raise InputError(f"{name}: curvature must be a negative number, not {curvature}")
    return float(curvature)


def current(curvature: float | LearnableCurvature) -> float | Tensor:
    """What a manifold takes as its curvature."""
    return curvature() if isinstance(curvature, LearnableCurvature) else curvature
