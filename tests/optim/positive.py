"""A manifold as a user would write it, with what an optimiser needs and no more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from immersion.core.metric import Manifold


@dataclass(frozen=True)
class Positive(Manifold):
    """Vectors of positive entries with the metric sum(u v / x^2): steps are factors."""

    n: int

    @property
    def dim(self) -> int:
        return self.n

    @property
    def point_shape(self) -> tuple[int, ...]:
        return (self.n,)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (u * v / x.square()).sum(-1)

    def proj(self, x: Tensor) -> Tensor:
        return x.clamp_min(torch.finfo(x.dtype).tiny)

    def to_tangent(self, x: Tensor, a: Tensor) -> Tensor:
        return a + 0 * x

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        return x.square() * g

    def christoffel(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return -u * v / x

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        return x * torch.exp(u / x)

    def transport(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return v * y / x

    def carry(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        y = self.retract(x, u)
        return y, self.transport(x, y, v)

    def random(
        self,
        *batch: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        return torch.randn(*batch, self.n, generator=generator, dtype=dtype, device=device).exp()

    def random_tangent(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return x * torch.randn(x.shape, generator=generator, dtype=x.dtype)

    def violation(self, x: Tensor) -> Tensor:
        return (-x).clamp_min(0).amax(-1)
