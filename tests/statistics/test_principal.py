"""Principal geodesics against principal components, and points on geodesics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold
from immersion.known.combined.power import Power
from immersion.known.definite.spd import SPD
from immersion.known.euclidean import Euclidean
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.sphere import Sphere
from immersion.statistics.principal import principal_geodesics

MANIFOLDS: list[GeodesicManifold] = [Sphere(3), PoincareBall(3), SPD(2), Power(Sphere(2), 2)]
every = pytest.mark.parametrize("manifold", MANIFOLDS, ids=map(repr, MANIFOLDS))


def frame(manifold: GeodesicManifold, x: Tensor, count: int) -> list[Tensor]:
    """Orthonormal tangent vectors by the method of Gram and Schmidt."""
    found: list[Tensor] = []
    for seed in range(count):
        v = manifold.random_tangent(x, torch.Generator().manual_seed(1000 + seed))
        for _ in range(2):
            for e in found:
                v = v - manifold.inner(x, v, e) * e
        found.append(v / manifold.norm(x, v))
    return found


def spread(
    manifold: GeodesicManifold, n: int, scales: tuple[float, ...], seed: int = 0
) -> tuple[Tensor, list[Tensor], Tensor]:
    """A centre, directions there, and points at normal coordinates of those scales."""
    generator = torch.Generator().manual_seed(seed)
    centre = manifold.random(generator=generator, dtype=torch.float64)
    directions = frame(manifold, centre, len(scales))
    c = torch.randn(n, len(scales), generator=generator, dtype=torch.float64)
    c = c * torch.tensor(scales, dtype=torch.float64)
    u = sum(
        c[:, i].reshape(-1, *(1,) * centre.ndim) * e for i, e in enumerate(directions)
    ) + torch.zeros_like(centre)
    return centre, directions, manifold.exp(centre, u)


@pytest.mark.parametrize("n", [40, 5], ids=["many", "few"])
def test_in_flat_space_they_are_principal_components(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(n, 2, 3, generator=generator, dtype=torch.float64) ** 3
    found = principal_geodesics(Euclidean(2, 3), points, 3)
    centred = (points - points.mean(0)).flatten(1)
    _, scale, right = torch.linalg.svd(centred)
    torch.testing.assert_close(found.variances, scale[:3].square() / n)
    torch.testing.assert_close(found.explained, (scale.square() / scale.square().sum())[:3])
    cosines = (found.directions.flatten(1) * right[:3]).sum(1)
    torch.testing.assert_close(cosines.abs(), torch.ones(3, dtype=torch.float64))
    assert (found.directions.flatten(1).gather(
        1, found.directions.flatten(1).abs().argmax(1, keepdim=True)) > 0).all()  # fmt: skip
    rest = scale[3:].square().sum() / n
    assert found.tangent_residual == pytest.approx(float(rest))
    assert found.geodesic_residual == pytest.approx(float(rest))
    assert found.linearisation_error == pytest.approx(0, abs=1e-12)


@every
def test_points_on_a_geodesic_have_one_component(manifold: GeodesicManifold) -> None:
    for n in (3, 60):  # by the Gram matrix, and by coordinates
        centre, (direction, _), points = spread(manifold, n, (0.4, 0.0))
        found = principal_geodesics(manifold, points, 1)
        assert float(found.explained) == pytest.approx(1, abs=1e-12)
        assert float(found.explained_error) < 1e-6
        assert found.residuals(points).max() < 1e-6
        assert found.geodesic_residual < 1e-12
        along = manifold.transport(centre, found.mean, direction)
        cosine = manifold.inner(found.mean, along, found.directions[0])
        assert float(cosine.abs()) == pytest.approx(1, abs=1e-9)


@every
def test_coordinates_and_points_are_inverse(manifold: GeodesicManifold) -> None:
    _, _, points = spread(manifold, 50, (0.3, 0.2, 0.1))
    found = principal_geodesics(manifold, points, 3)
    gram = torch.stack([manifold.inner(found.mean, e, found.directions) for e in found.directions])
    torch.testing.assert_close(gram, torch.eye(3, dtype=torch.float64))
    coordinates = found.transform(points.reshape(5, 10, *manifold.point_shape))
    assert coordinates.shape == (5, 10, 3)
    torch.testing.assert_close(coordinates.flatten(0, 1).mean(0), torch.zeros(3).double())
    torch.testing.assert_close(coordinates.flatten(0, 1).var(0, correction=0), found.variances)
    made = found.inverse_transform(coordinates)
    torch.testing.assert_close(found.transform(made), coordinates)
    torch.testing.assert_close(found.residuals(points), manifold.dist(points, made.flatten(0, 1)))
    assert found.variances.diff().max() <= 0 and found.explained.sum() <= 1 + 1e-12


@pytest.mark.parametrize("manifold", [Euclidean(3), Sphere(3)], ids=repr)
def test_error_of_the_explained_share_is_its_spread_over_samples(
    manifold: GeodesicManifold,
) -> None:
    runs = [
        principal_geodesics(manifold, spread(manifold, 60, (0.5, 0.3, 0.2), seed)[2], 2)
        for seed in range(80)
    ]
    shares = torch.stack([run.explained for run in runs])
    errors = torch.stack([run.explained_error for run in runs])
    ratio = errors.square().mean(0).sqrt() / shares.std(0)
    assert ((ratio > 0.75) & (ratio < 1.25)).all(), ratio


def test_linearisation_error_has_the_sign_of_minus_the_curvature() -> None:
    for manifold, sign in ((Sphere(2), -1), (PoincareBall(2), 1)):
        sizes = []
        for scale in (0.3, 0.6):
            _, _, points = spread(manifold, 200, (scale, scale * 0.8))
            found = principal_geodesics(manifold, points, 1)
            assert found.linearisation_error * sign > 0
            sizes.append(abs(found.linearisation_error))
        assert sizes[1] > 3 * sizes[0]  # it grows with the square of the spread


def test_few_points_in_many_dimensions_need_no_basis() -> None:
    sphere = Sphere(20000)
    points = sphere.random(6, generator=torch.Generator().manual_seed(0))
    found = principal_geodesics(sphere, sphere.proj(points + 2 * points[0]), 5)
    assert found.directions.shape == (5, 20001)
    assert float(found.explained.sum()) == pytest.approx(1, abs=1e-4)


def test_points_that_do_not_vary_have_no_directions() -> None:
    found = principal_geodesics(Sphere(5), torch.eye(6)[:1].expand(4, 6), 3)
    assert (found.variances == 0).all() and (found.explained == 0).all()
    assert found.directions.isfinite().all() and found.linearisation_error == 0
    flat = principal_geodesics(Sphere(5), Sphere(5).random(3)[:, [0, 1, 2, 3, 4, 5]], 2)
    assert flat.inverse_transform(torch.zeros(2)).allclose(flat.mean)


POINTS = torch.eye(3)
BAD: list[tuple[Any, str]] = [
    (lambda: principal_geodesics(Sphere(2), POINTS, 3), "between 1 and 2 .* not 3"),
    (lambda: principal_geodesics(Sphere(2), POINTS, 0), "between 1 and 2 .* not 0"),
    (lambda: principal_geodesics(Sphere(2), POINTS[:1], 1), "at least 2 points, not 1"),
    (lambda: principal_geodesics(Sphere(2), POINTS.expand(2, 3, 3), 1), r"not \(2, 3, 3\)"),
    (lambda: principal_geodesics(Sphere(2), 2 * POINTS, 1), "violation 1"),
    (
        lambda: principal_geodesics(Sphere(2), POINTS, 2).inverse_transform(torch.zeros(3)),
        r"shape \(3,\) for 2",
    ),
    (lambda: principal_geodesics(Sphere(2), POINTS, 2).transform(2 * POINTS), "violation 1"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_one_clear_error(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
