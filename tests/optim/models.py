"""Small models on manifolds, and gradients for them that need no loss."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from immersion.core.metric import Manifold
from immersion.known.combined.viewed import Viewed
from immersion.known.constraints import constrain_
from immersion.known.oblique import Oblique
from immersion.known.sphere import Sphere
from optim.positive import Positive


class Points(nn.Module):
    """Parameters of given batch shapes on given manifolds, and some on none."""

    def __init__(
        self,
        kinds: list[tuple[Manifold, tuple[int, ...]]],
        *,
        plain: list[tuple[int, ...]] | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.points = nn.ParameterList(
            nn.Parameter(manifold.random(*batch, generator=generator, dtype=dtype))
            for manifold, batch in kinds
        )
        for index, (manifold, _) in enumerate(kinds):
            constrain_(self.points, str(index), manifold)
        self.plain = nn.ParameterList(
            nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype))
            for shape in plain or []
        )


def mixed(dtype: torch.dtype = torch.float64) -> Points:
    """Single points, batches of one and two dimensions, three manifolds, and Euclidean ones."""
    kinds: list[tuple[Manifold, tuple[int, ...]]] = [
        (Sphere(4), ()),
        (Oblique(5, 2), (3,)),
        (Sphere(4), ()),
        (Sphere(4), (3,)),
        (Positive(3), (2, 2)),
        (Oblique(5, 2), ()),
        (Viewed(Oblique(5, 2), (2, 5), transposed=True), (2,)),
        (Sphere(4), (2, 3)),
        (Oblique(5, 2), ()),
    ]
    return Points(kinds, plain=[(3, 4), (5,)], dtype=dtype)


def twins(model: Points, count: int = 2) -> list[Points]:
    return [copy.deepcopy(model) for _ in range(count)]


def give_gradients(*models: nn.Module, seed: int, scale: float = 1.0) -> None:
    """The same random gradient for the same parameter of each model."""
    for model in models:
        generator = torch.Generator().manual_seed(1000 + seed)
        for parameter in model.parameters():
            parameter.grad = scale * torch.randn(
                parameter.shape, generator=generator, dtype=torch.float64
            ).to(parameter.dtype)


def apart(one: nn.Module, other: nn.Module) -> float:
    """Largest difference between their parameters."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def values(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]
