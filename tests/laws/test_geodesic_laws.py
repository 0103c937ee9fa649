"""Shortest paths: exp, log, dist, geodesic and curvature."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from immersion.core.metric import CurvedManifold, GeodesicManifold
from laws.case import Case
from laws.every import curved, geodesic, precisions

radii = st.floats(math.log(1e-12), math.log(0.9)).map(math.exp)
batches = st.sampled_from([(), (1,), (3,), (2, 2)])


@geodesic
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    radius=radii,
    batch=batches,
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
def test_exp_and_log_are_inverse(
    case: Case, radius: float, batch: tuple[int, ...], dtype: torch.dtype, seed: int
) -> None:
    M = case.manifold
    assert isinstance(M, GeodesicManifold)
    x = case.points(*batch, seed=seed, dtype=dtype)
    length = case.within(x, radius)
    u = case.tangent(x, length, seed + 100)
    y = M.exp(x, u)
    size = (1 + float(x.abs().max())) * (1 + float(u.abs().max()))
    tolerance = 5 * case.tolerance(dtype) * size
    assert M.violation(y).max() <= tolerance
    back = M.log(x, y)
    torch.testing.assert_close(back, u, rtol=0, atol=tolerance)
    assert case.difference(M.exp(x, back), y) <= tolerance
    dist = M.dist(x, y)
    torch.testing.assert_close(dist, torch.full(batch, length, dtype=dtype), rtol=0, atol=tolerance)
    torch.testing.assert_close(dist, M.norm(x, back), rtol=1e-2, atol=tolerance)
    torch.testing.assert_close(M.dist(y, x), dist, rtol=0, atol=tolerance)
    torch.testing.assert_close(M.to_tangent(x, back), back, rtol=0, atol=tolerance * size)


@geodesic
@precisions
def test_dist_is_a_metric(case: Case, dtype: torch.dtype) -> None:
    M = case.manifold
    assert isinstance(M, GeodesicManifold)
    x = case.points(5, dtype=dtype)
    y = M.exp(x, case.tangent(x, case.within(x, 0.45), 1))
    z = M.exp(x, case.tangent(x, case.within(x, 0.45), 2))
    tolerance = 5 * case.tolerance(dtype) * (1 + float(x.abs().max()))
    assert (M.dist(x, x) <= tolerance).all()
    assert (M.dist(y, z) <= M.dist(x, y) + M.dist(x, z) + tolerance).all()
    torch.testing.assert_close(M.dist(y, z), M.dist(z, y), rtol=0, atol=tolerance)
    torch.testing.assert_close(M.dist(y, z), M.norm(y, M.log(y, z)), rtol=1e-3, atol=10 * tolerance)
    assert M.dist(x[:, None], x).shape == (5, 5)
    assert M.injectivity_radius(x).shape == (5,)


@geodesic
def test_a_geodesic_has_constant_speed(case: Case) -> None:
    M = case.manifold
    assert isinstance(M, GeodesicManifold)
    x = case.points(4)
    y = M.exp(x, case.tangent(x, case.within(x, 0.8)))
    tolerance = 10 * case.tolerance(x.dtype) * (1 + float(x.abs().max()))
    assert case.difference(M.geodesic(x, y, 0.0), x) <= tolerance
    assert case.difference(M.geodesic(x, y, 1.0), y) <= tolerance
    times = torch.tensor([0.1, 0.5, 0.9], dtype=x.dtype)[:, None]
    path = M.geodesic(x, y, times)
    assert path.shape == (3, *x.shape)
    torch.testing.assert_close(M.dist(x, path), times * M.dist(x, y), rtol=0, atol=tolerance)
    torch.testing.assert_close(M.dist(path[0], path[2]), 0.8 * M.dist(x, y), rtol=0, atol=tolerance)


@geodesic
def test_exp_is_the_straightest_path(case: Case) -> None:
    """Its acceleration at the start has no tangent part but that of the connection."""
    M, x = case.manifold, case.points()
    assert isinstance(M, GeodesicManifold)
    u = case.tangent(x, case.within(x, 0.5))
    step = 1e-3
    acceleration = (M.exp(x, step * u) + M.exp(x, -step * u) - 2 * x) / step**2
    excess = M.to_tangent(x, acceleration + M.christoffel(x, u, u))
    size = 1 + float(acceleration.abs().max()) + float(x.abs().max())
    assert excess.abs().max() < 1e-5 * size


@geodesic
def test_no_points_have_no_geodesics(case: Case) -> None:
    M = case.manifold
    assert isinstance(M, GeodesicManifold)
    x = case.points(0)
    u = M.random_tangent(x)
    assert M.exp(x, u).shape == M.log(x, x).shape == x.shape
    assert M.dist(x, x).shape == M.injectivity_radius(x).shape == (0,)


@geodesic
def test_wrapped_normal_has_the_scale_given(case: Case) -> None:
    M, n = case.manifold, 1000
    assert isinstance(M, GeodesicManifold)
    mean = case.points()
    scale = case.within(mean, 0.1) / math.sqrt(M.dim + 3)
    x = M.wrapped_normal(mean.expand(n, *mean.shape), scale, case.generator(3))
    squares = M.dist(mean, x).square() / scale**2
    assert abs(squares.mean() - M.dim) < 5 * math.sqrt(2 * M.dim / n)


@curved
def test_sectional_curvature_bends_triangles(case: Case) -> None:
    """d(exp su, exp sv)^2 = s^2 |u-v|^2 - s^4 K area / 3 + O(s^6), averaged with -u, -v."""
    M = case.manifold
    assert isinstance(M, CurvedManifold)
    x = case.points(6)
    length = case.within(x, 0.3)
    u, v = case.tangent(x, length, 1), case.tangent(x, length, 2)
    area = M.inner(x, u, u) * M.inner(x, v, v) - M.inner(x, u, v).square()
    straight = M.inner(x, u - v, u - v)

    def excess(s: float) -> torch.Tensor:
        ends = [M.dist(M.exp(x, s * r * u), M.exp(x, s * r * v)).square() for r in (1, -1)]
        return 3 * (s**2 * straight - (ends[0] + ends[1]) / 2) / s**4

    measured = (4 * excess(0.1) - excess(0.2)) / 3
    K = M.sectional_curvature(x, u, v)
    assert K.shape == (6,)
    scale = length**4 * (1 + float(K.abs().max()))
    torch.testing.assert_close(K * area, measured, rtol=0, atol=2e-3 * scale)
    torch.testing.assert_close(M.sectional_curvature(x, u + v, 3 * v), K, rtol=1e-6, atol=1e-6)
    assert torch.isfinite(M.sectional_curvature(x, u, 2 * u)).all()
