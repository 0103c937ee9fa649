"""Product, Power, Scaled and Viewed beyond the laws that all manifolds share."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from immersion.core.errors import InputError
from immersion.core.metric import CurvedManifold, GeodesicManifold, Manifold
from immersion.known.combined.power import Power
from immersion.known.combined.product import Product
from immersion.known.combined.scaled import Scaled
from immersion.known.combined.viewed import Viewed
from immersion.known.euclidean import Euclidean
from immersion.known.oblique import Oblique
from immersion.known.sphere import Sphere
from immersion.known.torus import Torus


def only(kind: type[Manifold]) -> Manifold:
    """A sphere that has no more than what `kind` asks for."""
    promised = {name: vars(Sphere)[name] for name in kind.__abstractmethods__}
    fields = {"n": 2, "retraction": "polar"}
    return type(f"Only{kind.__name__}", (kind,), promised | fields)()


PLAIN, GEODESIC, CURVED = only(Manifold), only(GeodesicManifold), only(CurvedManifold)
SPHERE = Sphere(2)


@pytest.mark.parametrize("part", [PLAIN, GEODESIC, CURVED], ids=["plain", "geodesic", "curved"])
def test_a_combination_is_as_much_as_its_weakest_part(part: Manifold) -> None:
    combinations: list[Manifold] = [
        Product(SPHERE, part),
        Product(part, SPHERE, Torus(1)),
        Product(Product(SPHERE), Power(part, 2)),
        Power(part, 2, 2),
        Scaled(part, 2.0),
        Viewed(part, (3, 1)),
        Viewed(Scaled(Power(part, 2), 0.5), (6,)),
    ]
    for manifold in combinations:
        for kind in (GeodesicManifold, CurvedManifold):
            assert isinstance(manifold, kind) == isinstance(part, kind), (manifold, kind)
        assert isinstance(manifold, (Product, Power, Scaled, Viewed))
        assert hasattr(manifold, "exp") == isinstance(part, GeodesicManifold)
        assert hasattr(manifold, "sectional_curvature") == isinstance(part, CurvedManifold)
        x = manifold.random(3)
        assert manifold.check(manifold.retract(x, manifold.random_tangent(x))).shape == x.shape


def test_combinations_compare_by_their_parts() -> None:
    makers: list[Any] = [
        lambda s: Product(Sphere(2), Scaled(Torus(1), s)),
        lambda s: Power(Scaled(Torus(1), s), 2),
        lambda s: Scaled(Torus(1), s),
        lambda s: Viewed(Scaled(Oblique(3, 2), s), (2, 3), transposed=True),
    ]
    values = [make(2.0) for make in makers]
    for value, make in zip(values, makers, strict=True):
        assert value == make(2) and hash(value) == hash(make(2))
        assert value != make(3.0) and value != "Product"
        assert type(copy.deepcopy(value)) is type(value)
        assert pickle.loads(pickle.dumps(value)) == value
        assert [value == other for other in values].count(True) == 1
    assert Product(Sphere(2), Torus(1)) != Product(Torus(1), Sphere(2))
    assert Viewed(Sphere(3), (2, 2)) != Viewed(Sphere(3), (4,))
    assert repr(values[0]) == "Product(Sphere(n=2, retraction='polar'), Scaled(Torus(n=1), 2.0))"


def test_split_and_join_are_inverse() -> None:
    manifold = Product(SPHERE, Euclidean(2, 2), Torus(1))
    assert manifold.point_shape == (8,) and manifold.dim == 7
    x = manifold.random(5, generator=torch.Generator().manual_seed(0))
    north, square, angle = manifold.split(x)
    assert north.shape == (5, 3) and square.shape == (5, 2, 2) and angle.shape == (5, 1)
    assert torch.equal(manifold.join(north, square, angle), x)
    assert manifold.join(north[0], square, angle[:1]).shape == (5, 8)
    with pytest.raises(InputError, match="2 points for 3 factors"):
        manifold.join(north, square)
    with pytest.raises(InputError, match=r"Euclidean\(2, 2\).join.* shape \(5, 3\)"):
        manifold.join(north, north, angle)
    with pytest.raises(InputError, match=r"split.* shape \(5, 7\)"):
        manifold.split(x[:, :7])


def test_squared_distances_add_up() -> None:
    manifold = Product(SPHERE, Euclidean(3), Scaled(Torus(2), 3.0))
    x, y = manifold.random(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (a, b, c), (d, e, f) = manifold.split(x), manifold.split(y)
    parts = SPHERE.dist(a, d) ** 2 + Euclidean(3).dist(b, e) ** 2 + 9 * Torus(2).dist(c, f) ** 2
    torch.testing.assert_close(manifold.dist(x, y) ** 2, parts)
    assert (manifold.injectivity_radius(x) == math.pi).all()
    assert (Product(SPHERE, Scaled(SPHERE, 0.5)).injectivity_radius(
        torch.cat([a, a], -1)) == math.pi / 2).all()  # fmt: skip


def test_a_power_is_a_product_of_equal_factors() -> None:
    power, product = Power(Oblique(2, 2), 3), Product(*[Oblique(2, 2)] * 3)
    x, y = power.random(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u, v = power.log(x, y), power.random_tangent(x, torch.Generator().manual_seed(2))
    a, b, c, d = (t.flatten(-3) for t in (x, y, u, v))
    torch.testing.assert_close(power.dist(x, y), product.dist(a, b))
    torch.testing.assert_close(power.inner(x, u, v), product.inner(a, c, d))
    torch.testing.assert_close(power.transport(x, y, v).flatten(-3), product.transport(a, b, d))
    torch.testing.assert_close(
        power.sectional_curvature(x, u, v), product.sectional_curvature(a, c, d)
    )


def test_planes_across_factors_are_flat() -> None:
    """On S^2 x S^2(2), by hand: planes of one factor, of two, and of vectors that lean over."""
    manifold = Product(SPHERE, Scaled(SPHERE, 2.0))
    north = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    e1, e2 = torch.eye(3, dtype=torch.float64)[:2]
    x, zero = manifold.join(north, north), torch.zeros(3, dtype=torch.float64)
    within = manifold.sectional_curvature(x, torch.cat([e1, zero]), torch.cat([e2, zero]))
    other = manifold.sectional_curvature(x, torch.cat([zero, e1]), torch.cat([zero, e2]))
    across = manifold.sectional_curvature(x, torch.cat([e1, zero]), torch.cat([zero, e1]))
    assert (within, other, across) == (1.0, 0.25, 0.0)
    for a, b in ((0.3, 0.7), (1.2, 0.1)):
        # Unit vectors: length 1/2 in the second factor is 1 in the metric.
        u = torch.cat([math.cos(a) * e1, math.sin(a) / 2 * e1])
        v = torch.cat([math.cos(b) * e2, math.sin(b) / 2 * e2])
        expected = math.cos(a) ** 2 * math.cos(b) ** 2 + math.sin(a) ** 2 * math.sin(b) ** 2 / 4
        assert float(manifold.sectional_curvature(x, u, v)) == pytest.approx(expected, rel=1e-13)
        assert float(manifold.sectional_curvature(x, 3 * u + v, v - u)) == pytest.approx(
            expected, rel=1e-12
        )


def test_a_scaled_sphere_is_the_sphere_of_that_radius() -> None:
    ball = Scaled(SPHERE, 3.0)
    x = SPHERE.random(4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = SPHERE.random(4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u, v = ball.log(x, y), SPHERE.random_tangent(x)
    torch.testing.assert_close(ball.dist(x, y), 3 * SPHERE.dist(x, y))
    torch.testing.assert_close(ball.norm(x, u), ball.dist(x, y))
    torch.testing.assert_close(ball.exp(x, u), y)
    torch.testing.assert_close(
        ball.sectional_curvature(x, u, v), torch.full((4,), 1 / 9, dtype=torch.float64)
    )
    torch.testing.assert_close(ball.egrad2rgrad(x, v), v / 9)
    assert (ball.injectivity_radius(x) == 3 * math.pi).all()


def test_a_factor_can_be_learned() -> None:
    raw = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    x, y = SPHERE.random(2, 4, generator=torch.Generator().manual_seed(0))
    manifold = Scaled(SPHERE, raw)
    dist = manifold.dist(x[0], y[0])
    assert dist.dtype == torch.float32 and dist.ndim == 0
    (gradient,) = torch.autograd.grad(manifold.dist(x, y).sum(), raw)
    torch.testing.assert_close(gradient, SPHERE.dist(x, y).sum().double())
    u = SPHERE.random_tangent(x, torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(manifold.inner(x, u, u).sum(), raw)
    torch.testing.assert_close(gradient, 1.4 * SPHERE.inner(x, u, u).sum().double())
    assert "\n" not in repr(manifold)
    assert manifold == Scaled(SPHERE, raw) and hash(manifold) == hash(Scaled(SPHERE, raw))
    twin = copy.deepcopy(manifold)
    assert twin != manifold and isinstance(twin.factor, nn.Parameter)
    assert twin.factor is not raw and torch.equal(twin.factor, raw)
    assert isinstance(Scaled(SPHERE, torch.ones((), device="meta")), Scaled)


def test_a_view_is_the_manifold_in_another_shape() -> None:
    """Filters (out, in, height, width) as columns: the same numbers, moved by hand."""
    filters = Viewed(Oblique(12, 5), (5, 3, 2, 2), transposed=True)
    weight = torch.randn(7, 5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    columns = weight.reshape(7, 5, 12).transpose(1, 2)
    unit = Oblique(12, 5).proj(columns)
    torch.testing.assert_close(filters.proj(weight), unit.transpose(1, 2).reshape(7, 5, 3, 2, 2))
    torch.testing.assert_close(filters.proj(weight).square().sum((2, 3, 4)), torch.ones(7, 5))
    assert filters.dim == 55 and filters.random(2).shape == (2, 5, 3, 2, 2)
    spread = weight.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(filters.proj(spread), filters.proj(weight))
    flat = Viewed(Euclidean(2, 3), (6,))
    x = torch.arange(6.0)
    torch.testing.assert_close(
        flat.dist(x, 0 * x), Euclidean(2, 3).dist(x.reshape(2, 3), torch.zeros(2, 3))
    )


IMPOSSIBLE: list[tuple[Any, str]] = [
    (lambda: Product(), "at least one manifold"),
    (lambda: Product(SPHERE, 3), "not of 3"),
    (lambda: Power(SPHERE), r"not \(\)"),
    (lambda: Power(SPHERE, 0), r"not \(0,\)"),
    (lambda: Power(Sphere, 2), "not of <class"),
    (lambda: Scaled(SPHERE, 0.0), "not 0.0"),
    (lambda: Scaled(SPHERE, -2), "not -2.0"),
    (lambda: Scaled(SPHERE, math.nan), "not nan"),
    (lambda: Scaled(SPHERE, torch.tensor(-1.0)), "not -1.0"),
    (lambda: Scaled(SPHERE, torch.ones(2)), r"shape \(2,\)"),
    (lambda: Scaled(SPHERE, torch.tensor(2)), "torch.int64"),
    (lambda: Viewed(SPHERE, (2, 2)), r"shape \(2, 2\).*of shape \(3,\)"),
    (lambda: Viewed(SPHERE, (3,), transposed=True), r"not \(3,\)"),
    (lambda: Viewed(Oblique(4, 3), (4, 3), transposed=True), r"\(3, \.\.\.\).*not \(4, 3\)"),
]


@pytest.mark.parametrize(("make", "message"), IMPOSSIBLE)
def test_impossible_combinations_are_named(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
