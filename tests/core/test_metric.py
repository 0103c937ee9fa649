"""What the abstract types themselves promise, on a unit sphere written here."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from immersion.core.metric import GeodesicManifold, Manifold, Metric


class Ball2(GeodesicManifold):
    """The unit sphere in three dimensions, by the textbook."""

    dim, point_shape = 2, (3,)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (u * v).sum(-1)

    def proj(self, x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True)

    def to_tangent(self, x: Tensor, a: Tensor) -> Tensor:
        return a - self.inner(x, x, a)[..., None] * x

    egrad2rgrad = to_tangent

    def retract(self, x: Tensor, u: Tensor) -> Tensor:
        return self.proj(x + u)

    def transport(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return self.to_tangent(y, v)

    def random(self, *batch: int, generator: torch.Generator | None = None) -> Tensor:
        return self.proj(torch.randn(*batch, 3, generator=generator, dtype=torch.float64))

    def random_tangent(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.to_tangent(x, torch.randn(x.shape, generator=generator, dtype=x.dtype))

    def violation(self, x: Tensor) -> Tensor:
        return (x.norm(dim=-1) - 1).abs()

    def exp(self, x: Tensor, u: Tensor) -> Tensor:
        length = self.norm(x, u)[..., None]
        return length.cos() * x + torch.sinc(length / math.pi) * u

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        a = self.to_tangent(x, y)
        return a / a.norm(dim=-1, keepdim=True) * self.dist(x, y)[..., None]

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        return self.inner(x, x, y).clamp(-1, 1).arccos()

    def injectivity_radius(self, x: Tensor) -> Tensor:
        return torch.full(x.shape[:-1], math.pi, dtype=x.dtype)


@pytest.fixture
def points() -> tuple[Ball2, Tensor, Tensor]:
    space, generator = Ball2(), torch.Generator().manual_seed(0)
    return space, space.random(5, generator=generator), space.random(5, generator=generator)


def test_geodesic_runs_from_end_to_end(points: tuple[Ball2, Tensor, Tensor]) -> None:
    space, x, y = points
    torch.testing.assert_close(space.geodesic(x, y, 0.0), x)
    torch.testing.assert_close(space.geodesic(x, y, 1.0), y)
    middle = space.geodesic(x, y, 0.5)
    torch.testing.assert_close(middle, space.proj(x + y))
    torch.testing.assert_close(space.dist(x, middle), space.dist(x, y) / 2)
    assert space.violation(middle).max() < 1e-15


def test_geodesic_at_many_times(points: tuple[Ball2, Tensor, Tensor]) -> None:
    space, x, y = points
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    each = space.geodesic(x, y, t)
    assert each.shape == (5, 3)
    torch.testing.assert_close(space.dist(x, each), t * space.dist(x, y), atol=1e-7, rtol=0)
    curve = space.geodesic(x[0], y[0], t)
    torch.testing.assert_close(space.dist(x[0], curve), t * space.dist(x[0], y[0]), atol=1e-7,
                               rtol=0)  # fmt: skip
    table = space.geodesic(x, y, t[:, None])
    assert table.shape == (5, 5, 3)
    torch.testing.assert_close(table[2], space.geodesic(x, y, 0.5))
    assert space.geodesic(x.float(), y.float(), t).dtype == torch.float32


def test_norm_clamps_rounding_below_zero() -> None:
    class Rounded(Metric):
        dim, point_shape = 1, (1,)

        def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
            return (u * v).sum(-1) - 1e-12

    u = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    torch.testing.assert_close(
        Rounded().norm(u, u), torch.tensor([0.0, 2.0], dtype=torch.float64), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("kind", [Metric, Manifold, GeodesicManifold])
def test_a_missing_capability_is_a_missing_type(kind: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        kind()
    assert not hasattr(Manifold, "log") and not hasattr(Metric, "proj")
