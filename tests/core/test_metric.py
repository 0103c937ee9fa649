"""What the abstract types themselves promise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold, GeodesicManifold, Manifold, Metric
from immersion.known.sphere import Sphere


@pytest.fixture
def points() -> tuple[Sphere, Tensor, Tensor]:
    space, generator = Sphere(2), torch.Generator().manual_seed(0)
    x, y = space.random(2, 5, generator=generator, dtype=torch.float64)
    return space, x, y


def test_geodesic_runs_from_end_to_end(points: tuple[Sphere, Tensor, Tensor]) -> None:
    space, x, y = points
    torch.testing.assert_close(space.geodesic(x, y, 0.0), x)
    torch.testing.assert_close(space.geodesic(x, y, 1.0), y)
    middle = space.geodesic(x, y, 0.5)
    torch.testing.assert_close(middle, space.proj(x + y))
    torch.testing.assert_close(space.dist(x, middle), space.dist(x, y) / 2)
    assert space.violation(middle).max() < 1e-15


def test_geodesic_at_many_times(points: tuple[Sphere, Tensor, Tensor]) -> None:
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


@pytest.mark.parametrize("kind", [Metric, Manifold, GeodesicManifold, CurvedManifold])
def test_a_missing_capability_is_a_missing_type(kind: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        kind()
    assert not hasattr(Manifold, "log") and not hasattr(Metric, "proj")


def test_norm_has_no_slope_at_the_zero_vector(points: tuple[Sphere, Tensor, Tensor]) -> None:
    space, x, _ = points
    u = torch.zeros_like(x, requires_grad=True)
    (slope,) = torch.autograd.grad(space.norm(x, u).sum(), u)
    assert torch.equal(slope, torch.zeros_like(x))


def test_check_shows_the_residual_and_what_to_do(points: tuple[Sphere, Tensor, Tensor]) -> None:
    space, x, _ = points
    scaled = x.clone()
    scaled[3] *= 1.25
    with pytest.raises(InputError, match=r"1 of 5 points of shape \(5, 3\) .*0\.25.*\.proj\(x\)"):
        space.check(scaled)
    assert space.check(scaled, tolerance=0.3) is scaled
    assert space.check(x.float()).dtype == torch.float32


def test_arguments_are_checked_by_name_too(points: tuple[Sphere, Tensor, Tensor]) -> None:
    space, x, y = points
    torch.testing.assert_close(space.dist(x, y=y), space.dist(x, y))
    with pytest.raises(InputError, match="argument 2 has shape"):
        space.dist(x, y=y[..., :2])


def test_wrapped_normal_takes_a_scale_a_point(points: tuple[Sphere, Tensor, Tensor]) -> None:
    space, x, _ = points
    scale = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    y = space.wrapped_normal(x, scale, torch.Generator().manual_seed(1))
    assert space.dist(x, y)[0] == 0 and (space.dist(x, y)[1:] > 0).all()
    assert math.isclose(float(space.violation(y).max()), 0, abs_tol=1e-15)
