"""Minima that are known in closed form, on every kind of manifold, by every method."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from immersion.core.metric import GeodesicManifold
from immersion.known.combined.power import Power
from immersion.known.combined.product import Product
from immersion.known.combined.scaled import Scaled
from immersion.known.definite.bures_wasserstein import BuresWassersteinSPD
from immersion.known.definite.log_euclidean import LogEuclideanSPD
from immersion.known.definite.spd import SPD
from immersion.known.euclidean import Euclidean
from immersion.known.fixed_rank import FixedRank
from immersion.known.hyperbolic.log_hyperbolic import LogHyperbolic
from immersion.known.hyperbolic.lorentz import Lorentz
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.oblique import Oblique
from immersion.known.orthonormal.canonical_stiefel import CanonicalStiefel
from immersion.known.orthonormal.grassmann import Grassmann
from immersion.known.orthonormal.rotations import Rotations
from immersion.known.orthonormal.stiefel import Stiefel
from immersion.known.simplex import Simplex
from immersion.known.sphere import Sphere
from immersion.known.torus import Torus
from immersion.optim.minimize import minimize
from immersion.optim.trust_region import TrustRegion
from optim.minimisers import (
    F64,
    METHODS,
    Method,
    both_precisions,
    each_kind,
    every_method,
    generator,
    symmetric,
)


@every_method
@both_precisions
@pytest.mark.parametrize("retraction", ["polar", "exp"])
def test_the_smallest_eigenvalue(method: Method, dtype: torch.dtype, retraction: Any) -> None:
    A, sphere = symmetric(30, dtype), Sphere(29, retraction)
    x0 = sphere.random(generator=generator(1), dtype=dtype)
    before = x0.clone()
    found = minimize(lambda x: x @ A @ x, x0, sphere, method)
    values, vectors = torch.linalg.eigh(A.double())
    assert found.converged and found.reason == "gradient"
    assert found.gradient_norm <= found.tolerance
    rounding = torch.finfo(dtype).eps
    assert abs(found.value - float(values[0])) < 100 * rounding
    # The error of the vector is the gradient over the gap, that of the value its square.
    gap = 2 * float(values[1] - values[0])
    assert (
        1 - abs(float(found.x.double() @ vectors[:, 0]))
        < (found.tolerance / gap) ** 2 + 10 * rounding
    )
    assert found.x.dtype == dtype and sphere.check(found.x) is found.x
    assert not found.x.requires_grad and torch.equal(x0, before)
    assert found.iterations < (15 if isinstance(method, TrustRegion) else 120)
    assert all(math.isfinite(value) for value in found.history.values)
    assert len(found.history.values) == found.iterations + 1


@every_method
@pytest.mark.parametrize(
    "manifold",
    [
        Stiefel(10, 3),
        Stiefel(10, 3, retraction="qr"),
        Stiefel(10, 3, retraction="cayley"),
        Stiefel(10, 3, retraction="exp"),
        CanonicalStiefel(10, 3),
    ],
    ids=str,
)
def test_brockett_sorts_the_eigenvalues(method: Method, manifold: Stiefel) -> None:
    A, weights = symmetric(10), torch.tensor([3.0, 2, 1], dtype=F64)
    x0 = manifold.random(generator=generator(1), dtype=F64)
    found = minimize(lambda x: ((A @ x * x) * weights).sum(), x0, manifold, method)
    values, vectors = torch.linalg.eigh(A)
    assert found.converged
    assert found.value == pytest.approx(float(values[:3] @ weights), abs=1e-12 * 20)
    torch.testing.assert_close(
        (vectors[:, :3].mT @ found.x).abs(), torch.eye(3, dtype=F64), rtol=0, atol=1e-8
    )


@every_method
def test_the_dominant_subspace(method: Method) -> None:
    A, grassmann = symmetric(12), Grassmann(12, 3)
    x0 = grassmann.random(generator=generator(1), dtype=F64)
    found = minimize(lambda x: -(x * (A @ x)).sum(), x0, grassmann, method)
    vectors = torch.linalg.eigh(A)[1]
    assert found.converged and float(grassmann.dist(found.x, vectors[:, -3:])) < 1e-8


@every_method
@both_precisions
def test_procrustes(method: Method, dtype: torch.dtype) -> None:
    """The nearest rotation, by the singular vectors with the last sign turned."""
    T = torch.randn(5, 5, generator=generator(3), dtype=dtype)
    U, _, Vh = torch.linalg.svd(T)
    signs = torch.ones(5, dtype=dtype)
    signs[-1] = torch.det(U @ Vh)
    rotations = Rotations(5)
    x0 = rotations.random(generator=generator(1), dtype=dtype)
    found = minimize(lambda x: (x - T).square().sum() / 2, x0, rotations, method)
    assert found.converged
    atol = 1e-3 if dtype == torch.float32 else 1e-8
    torch.testing.assert_close(found.x, (U * signs) @ Vh, rtol=0, atol=atol)


@every_method
def test_the_best_approximation_of_low_rank(method: Method) -> None:
    T = torch.randn(8, 6, generator=generator(3), dtype=F64)
    U, s, Vh = torch.linalg.svd(T, full_matrices=False)
    low_rank = FixedRank(8, 6, 2)
    x0 = low_rank.random(generator=generator(1), dtype=F64)
    found = minimize(lambda x: (x - T).square().sum() / 2, x0, low_rank, method)
    assert found.converged
    torch.testing.assert_close(found.x, (U[:, :2] * s[:2]) @ Vh[:2], rtol=0, atol=1e-8)


GEODESIC: list[GeodesicManifold] = [
    Euclidean(3),
    Sphere(4),
    Torus(3),
    Oblique(4, 3),
    Simplex(3),
    Stiefel(5, 2),
    Grassmann(5, 2),
    Rotations(3),
    SPD(3),
    LogEuclideanSPD(3),
    BuresWassersteinSPD(3),
    PoincareBall(3),
    PoincareBall(3, curvature=-0.5),
    Lorentz(3),
    LogHyperbolic(3),
    Product(Sphere(2), Euclidean(2), SPD(2)),
    Power(PoincareBall(2), 3),
    Scaled(Sphere(2), 3.0),
]


@pytest.mark.parametrize("manifold", GEODESIC, ids=str)
@each_kind
@both_precisions
def test_the_mean_of_points_on_every_geodesic_manifold(
    manifold: GeodesicManifold, method: Any, dtype: torch.dtype
) -> None:
    """It is where the logarithms add up to zero, whatever the minimiser believed."""
    centre = manifold.random(generator=generator(3), dtype=dtype)
    spread = manifold.random_tangent(centre.expand(8, *centre.shape).clone(), generator(4))
    reach = min(1.0, 0.3 * float(manifold.injectivity_radius(centre)))
    points = manifold.exp(centre, reach / (3 * manifold.dim**0.5) * spread)
    found = minimize(
        lambda x: manifold.dist(x, points).square().mean() / 2, points[0], manifold, method
    )
    assert found.converged, found
    mean_log = manifold.log(found.x.expand_as(points), points).mean(0)
    assert float(manifold.norm(found.x, mean_log)) < 2 * found.tolerance
    assert found.iterations <= 15
    manifold.check(found.x)


def test_the_mean_of_matrices_by_a_fixed_point() -> None:
    spd = SPD(3)
    points = spd.random(6, generator=generator(5), dtype=F64)
    x = points.mean(0)
    for _ in range(100):
        x = spd.exp(x, spd.log(x.expand_as(points), points).mean(0) / 2)
    for method in METHODS:
        found = minimize(lambda x: spd.dist(x, points).square().mean(), points[0], spd, method)
        torch.testing.assert_close(found.x, x, rtol=1e-8, atol=1e-8)
