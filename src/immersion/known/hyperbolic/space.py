"""What all models of hyperbolic space share: dimension, curvature and how they are checked."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class HyperbolicSpace(CurvedManifold):
    """Space of dimension n and constant negative curvature, whichever way points are stored.

    Args:
        n: dimension, at least 1.
        curvature: a negative number; or a tensor without dimensions, such as a parameter, and then
            gradients reach it from every method. The sign of a tensor is checked where its value
            can be read without stopping a GPU, a compilation or a transform; else a wrong sign
            shows as NaN.
    """

    n: int
    curvature: float | Tensor = -1.0

    def __repr__(self) -> str:
        """One line, also where the curvature is a tensor."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        parts = (
            f"{name}={type(value).__name__ if isinstance(value, torch.Tensor) else repr(value)}"
            for name, value in named
        )
        return f"{type(self).__name__}({', '.join(parts)})"

    @property
    def dim(self) -> int:
        """Dimension n."""
        return self.n

    def injectivity_radius(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
        """Infinite: two points are joined by one geodesic."""
        return torch.full_like(x[..., 0], torch.inf)

    def sectional_curvature(
        self, x: Float[Tensor, "*b m"], u: Float[Tensor, "*b m"], v: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b"]:
        """The curvature, wherever u and v are at an angle of at least 10 sqrt(eps)."""
        uu, vv, uv = self.inner(x, u, u), self.inner(x, v, v), self.inner(x, u, v)
        spanned = uu * vv - uv.square() > 100 * torch.finfo(uu.dtype).eps * uu * vv
        curvature = self.curvature
        if isinstance(curvature, torch.Tensor):
            curvature = curvature.to(uu.dtype)
        return torch.where(spanned, torch.ones_like(uu) * curvature, 0)

    @property
    def sharpness(self) -> float | Tensor:
        """c = -curvature, in float64."""
        if isinstance(self.curvature, torch.Tensor):
            return -self.curvature.double()
        return -float(self.curvature)


def check_space(space: HyperbolicSpace) -> None:
    """Raise unless the dimension is positive and the curvature is negative.

    Raises:
        InputError: with the value met.
    """
    name, n, curvature = type(space).__name__, space.n, space.curvature
    if n < 1:
        raise InputError(f"{name}(n) needs a dimension n of at least 1, not {n}")
    if not isinstance(curvature, torch.Tensor):
        if not (-math.inf < curvature < 0):
            raise InputError(f"{name}: curvature must be a negative number, not {curvature}")
        return
    if curvature.ndim or not curvature.is_floating_point():
        raise InputError(
            f"{name}: curvature has shape {tuple(curvature.shape)} and type {curvature.dtype}; "
            "give a float, or a floating-point tensor without dimensions"
        )
    if curvature.device.type == "cpu" and not torch.compiler.is_compiling():
        value = -1.0
        with contextlib.suppress(RuntimeError):  # under vmap, or a tensor without data
            value = float(curvature.detach())
        if not (-math.inf < value < 0):
            raise InputError(f"{name}: curvature must be a negative number, not {value}")
