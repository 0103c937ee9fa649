"""Frechet means against closed forms, their gradients, and their standard errors."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import scipy.linalg
import torch
from torch import Tensor

from immersion.core.chunking import row_chunks
from immersion.core.errors import InputError
from immersion.core.metric import GeodesicManifold, Manifold
from immersion.known.combined.power import Power
from immersion.known.combined.product import Product
from immersion.known.definite.log_euclidean import LogEuclideanSPD
from immersion.known.definite.spd import SPD
from immersion.known.euclidean import Euclidean
from immersion.known.hyperbolic.poincare import PoincareBall
from immersion.known.oblique import Oblique
from immersion.known.orthonormal.grassmann import Grassmann
from immersion.known.orthonormal.rotations import Rotations
from immersion.known.orthonormal.stiefel import Stiefel
from immersion.known.sphere import Sphere
from immersion.known.torus import Torus
from immersion.statistics import frechet
from immersion.statistics.frechet import frechet_mean, frechet_statistics, mean_step

CASES: list[tuple[GeodesicManifold, float]] = [
    (Sphere(2), 0.4),
    (Torus(3), 0.4),
    (Oblique(3, 2), 0.3),
    (Rotations(3), 0.5),
    (Stiefel(4, 2), 0.2),
    (Euclidean(2, 2), 1.0),
    (SPD(3), 0.7),
    (PoincareBall(3), 1.5),
    (Product(Sphere(2), PoincareBall(2)), 0.4),
    (Power(Sphere(1), 3), 0.3),
]
every = pytest.mark.parametrize(("manifold", "scale"), CASES, ids=[repr(m) for m, _ in CASES])


def cloud(manifold: GeodesicManifold, scale: float, *batch: int, seed: int = 0) -> Tensor:
    """Points round one random point."""
    generator = torch.Generator().manual_seed(seed)
    centre = manifold.random(generator=generator, dtype=torch.float64)
    return manifold.wrapped_normal(centre.expand(*batch, *centre.shape), scale, generator)


@every
def test_the_logs_cancel_at_the_mean(manifold: GeodesicManifold, scale: float) -> None:
    points = cloud(manifold, scale, 2, 3, 30)
    weights = torch.rand(2, 3, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean = frechet_mean(manifold, points, weights)
    assert mean.shape == (2, 3, *manifold.point_shape) and not mean.requires_grad
    manifold.check(mean)
    shares = weights / weights.sum(-1, keepdim=True)
    force, variance = mean_step(manifold, mean, points, shares)
    assert (manifold.norm(mean, force) <= 1e-11 * variance.sqrt()).all()
    alone = frechet_mean(manifold, points[1, 2], 7 * weights[1, 2])
    assert manifold.dist(alone, mean[1, 2]) < 1e-10
    nearby = manifold.exp(mean, 1e-3 * manifold.random_tangent(mean))
    _, worse = mean_step(manifold, nearby, points, shares)
    assert (worse > variance).all()


@every
def test_single_precision_is_double_to_rounding(manifold: GeodesicManifold, scale: float) -> None:
    points = cloud(manifold, scale, 4, 20)
    exact = frechet_mean(manifold, points)
    mean = frechet_mean(manifold, points.float())
    assert mean.dtype == torch.float32
    assert manifold.dist(mean.double(), exact).max() < 1e-5 * (1 + float(exact.abs().max()))


def test_mean_of_angles_is_the_angle_of_the_mean() -> None:
    angle = torch.tensor([-0.9, -0.1, 0.2, 0.8, 1.0], dtype=torch.float64)
    weights = torch.tensor([1.0, 3.0, 0.5, 2.0, 0.0], dtype=torch.float64)
    for turn in (0.0, 3.0, -2.0):
        points = torch.stack([(angle + turn).cos(), (angle + turn).sin()], -1)
        mean = frechet_mean(Sphere(1), points, weights)
        expected = (angle * weights).sum() / weights.sum() + turn
        torch.testing.assert_close(mean, torch.stack([expected.cos(), expected.sin()]))


def test_mean_of_a_ring_is_its_axis() -> None:
    for tilt in (1e-6, 0.3, 1.5):
        angle = 2 * torch.pi * torch.arange(5, dtype=torch.float64) / 5
        height = torch.full_like(angle, math.cos(tilt))
        ring = torch.stack([math.sin(tilt) * angle.cos(), math.sin(tilt) * angle.sin(), height], -1)
        mean = frechet_mean(Sphere(2), ring)
        torch.testing.assert_close(mean, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))


@every
def test_weighted_mean_of_two_lies_on_their_geodesic(
    manifold: GeodesicManifold, scale: float
) -> None:
    pair = cloud(manifold, scale, 2)
    mean = frechet_mean(manifold, pair, torch.tensor([3.0, 1.0], dtype=torch.float64))
    assert manifold.dist(mean, manifold.geodesic(pair[0], pair[1], 0.25)) < 1e-10


def test_affine_invariant_mean_of_two_is_the_geometric_mean() -> None:
    a, b = cloud(SPD(4), 1.0, 2)
    root = scipy.linalg.sqrtm(a.numpy())
    inverse = scipy.linalg.inv(root)
    geometric = root @ scipy.linalg.sqrtm(inverse @ b.numpy() @ inverse) @ root
    mean = frechet_mean(SPD(4), torch.stack([a, b]))
    torch.testing.assert_close(mean, torch.from_numpy(geometric), rtol=1e-9, atol=1e-9)


def test_log_euclidean_mean_is_closed() -> None:
    points = cloud(LogEuclideanSPD(3), 0.8, 12)
    logs = [scipy.linalg.logm(point.numpy()) for point in points]
    expected = torch.from_numpy(scipy.linalg.expm(sum(logs) / 12))
    mean = frechet_mean(LogEuclideanSPD(3), points)
    torch.testing.assert_close(mean, expected, rtol=1e-9, atol=1e-9)


def test_hyperbolic_midpoint_is_the_normalised_sum_of_hyperboloid_points() -> None:
    pair = cloud(PoincareBall(3), 2.0, 2)
    square = pair.square().sum(-1, keepdim=True)
    time, space = (1 + square) / (1 - square), 2 * pair / (1 - square)
    time, space = time.sum(0), space.sum(0)
    size = (time.square() - space.square().sum()).sqrt()
    expected = (space / size) / (1 + time / size)
    torch.testing.assert_close(frechet_mean(PoincareBall(3), pair), expected)


def test_far_points_of_hyperbolic_space_have_a_mean() -> None:
    """A step of length 1 diverges here: the Hessian grows with the distance."""
    found = frechet_statistics(PoincareBall(2), cloud(PoincareBall(2), 4.0, 50))
    assert found.variance.sqrt() > 4 and found.residual < 1e-10
    assert found.iterations < 40


def test_the_best_of_several_minima_on_the_circle_is_found() -> None:
    """Spread all round the torus, the mean squared distance has a minimum near each gap."""
    generator = torch.Generator().manual_seed(0)
    cluster = 0.5 * torch.randn(20, 1, generator=generator, dtype=torch.float64) + 3
    torus = Torus(1)
    points = torus.proj(torch.cat([cluster, cluster[:3] + 2.5]))
    mean = frechet_mean(torus, points)
    grid = torch.linspace(-math.pi, math.pi, 100001, dtype=torch.float64).unsqueeze(-1)
    costs = torus.dist(grid.unsqueeze(1), points).square().mean(-1)
    assert torus.dist(mean, points).square().mean() <= costs.min() + 1e-12


# gradients


@every
def test_gradient_is_that_of_finite_differences(manifold: GeodesicManifold, scale: float) -> None:
    points = cloud(manifold, scale, 5)
    generator = torch.Generator().manual_seed(3)
    weights = torch.rand(5, generator=generator, dtype=torch.float64)
    cost = torch.randn(manifold.point_shape, generator=generator, dtype=torch.float64)
    u = manifold.random_tangent(points, generator)
    change = torch.rand(5, generator=generator, dtype=torch.float64)

    def value(t: Tensor, s: Tensor) -> Tensor:
        moved = manifold.exp(points, t * u)
        return (cost * frechet_mean(manifold, moved, weights + s * change, tolerance=1e-14)).sum()

    zero = torch.zeros((), dtype=torch.float64)
    at = (zero.clone().requires_grad_(), zero.clone().requires_grad_())
    ours = torch.autograd.grad(value(*at), at)
    h = 1e-5
    for gradient, (a, b) in zip(ours, ((h, 0.0), (0.0, h)), strict=True):
        a, b = torch.tensor(a), torch.tensor(b)
        expected = (value(a, b) - value(-a, -b)) / (2 * h)
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)


@every
def test_gradient_is_that_of_the_unrolled_iteration(
    manifold: GeodesicManifold, scale: float
) -> None:
    points = cloud(manifold, scale, 6).requires_grad_()
    weights = torch.rand(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights.requires_grad_()
    cost = torch.randn(
        manifold.point_shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    mean = frechet_mean(manifold, points, weights)
    ours = torch.autograd.grad((cost * mean).sum(), (points, weights))
    unrolled = mean.detach()
    for _ in range(60):
        force, _ = mean_step(manifold, unrolled, points, weights / weights.sum())
        unrolled = manifold.exp(unrolled, 0.5 * force)
    theirs = torch.autograd.grad((cost * unrolled).sum(), (points, weights))
    torch.testing.assert_close(unrolled, mean)
    torch.testing.assert_close(
        manifold.to_tangent(points, ours[0]), manifold.to_tangent(points, theirs[0]),
        rtol=1e-7, atol=1e-9,
    )  # fmt: skip
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-7, atol=1e-9)


@every
def test_mean_of_coincident_points_is_that_point(manifold: GeodesicManifold, scale: float) -> None:
    point = cloud(manifold, scale)
    points = point.expand(4, *point.shape).clone().requires_grad_()
    mean = frechet_mean(manifold, points)
    torch.testing.assert_close(mean, point)
    for cost in (mean.square(), mean * torch.arange(mean.numel()).reshape(mean.shape)):
        (gradient,) = torch.autograd.grad(cost.sum(), points, retain_graph=True)
        (ambient,) = torch.autograd.grad(cost.sum(), mean, retain_graph=True)
        expected = manifold.to_tangent(point, ambient / 4).expand_as(points)
        torch.testing.assert_close(manifold.to_tangent(points, gradient), expected)
    assert torch.equal(frechet_mean(manifold, points[:1]), points[0])


def test_mean_of_subspaces_depends_on_the_subspaces_alone() -> None:
    grassmann = Grassmann(5, 2)
    points, cost = cloud(grassmann, 0.2, 6), torch.arange(25, dtype=torch.float64).reshape(5, 5)
    turn = Rotations(2).random(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert (
        grassmann.dist(frechet_mean(grassmann, points @ turn), frechet_mean(grassmann, points))
        < 1e-10
    )
    u = grassmann.random_tangent(points, torch.Generator().manual_seed(2))

    def value(t: Tensor) -> Tensor:
        mean = frechet_mean(grassmann, grassmann.exp(points, t * u), tolerance=1e-14)
        return ((mean @ mean.mT) * cost).sum()

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(value(t), t)
    expected = (value(torch.tensor(1e-5)) - value(torch.tensor(-1e-5))) / 2e-5
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)


def test_gradient_reaches_a_learned_curvature() -> None:
    def mean(curvature: Tensor) -> Tensor:
        ball = PoincareBall(2, curvature=curvature)
        return frechet_mean(ball, points, tolerance=1e-14).sum()

    points = 0.5 * cloud(PoincareBall(2), 1.0, 6)
    curvature = torch.tensor(-0.8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(mean(curvature), curvature)
    with torch.no_grad():
        expected = (mean(curvature + 1e-5) - mean(curvature - 1e-5)) / 2e-5
    assert abs(expected) > 1e-4
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


def test_gradient_of_a_batch_is_that_of_each_set() -> None:
    points = cloud(Sphere(2), 0.4, 3, 7).requires_grad_()
    cost = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (together,) = torch.autograd.grad((cost * frechet_mean(Sphere(2), points)).sum(), points)
    for i in range(3):
        (alone,) = torch.autograd.grad((cost[i] * frechet_mean(Sphere(2), points[i])).sum(), points)
        torch.testing.assert_close(together[i], alone[i], rtol=1e-9, atol=1e-12)


def test_a_second_derivative_is_refused() -> None:
    points = cloud(Sphere(2), 0.4, 7).requires_grad_()
    mean = frechet_mean(Sphere(2), points)
    (gradient,) = torch.autograd.grad(mean[0], points, create_graph=True)
    with pytest.raises(InputError, match="differentiated once"):
        gradient.square().sum().backward()


# uncertainty


@pytest.mark.parametrize(
    ("manifold", "scale"),
    [(Euclidean(3), 1.0), (Sphere(2), 0.6), (PoincareBall(2), 1.2)],
    ids=["flat", "positive", "negative"],
)
def test_standard_errors_are_the_spread_over_samples(
    manifold: GeodesicManifold, scale: float
) -> None:
    trials, n = 800, 30
    generator = torch.Generator().manual_seed(5)
    centre = manifold.proj(0.1 * torch.ones(manifold.point_shape, dtype=torch.float64))
    points = manifold.wrapped_normal(centre.expand(trials, n, *centre.shape), scale, generator)
    weights = 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)
    for w in (weights, None):
        found = frechet_statistics(manifold, points, w)
        truth = manifold.dist(found.mean, centre).square().mean().sqrt()
        claimed = found.standard_error.square().mean().sqrt()
        assert 0.92 < claimed / truth < 1.08
        spread = found.variance.std()
        assert 0.85 < found.variance_error.square().mean().sqrt() / spread < 1.15
        assert (found.effective_n[0] < n - 0.5) == (w is not None)
    naive = (found.variance / (found.effective_n - 1)).mean().sqrt()
    # Positive curvature spreads the mean more than in flat space, negative curvature less.
    lowest, highest = {"Euclidean": (1, 1), "Sphere": (1.02, 2), "PoincareBall": (0, 0.98)}[
        type(manifold).__name__
    ]
    assert lowest - 1e-9 <= claimed / naive <= highest + 1e-9


def test_statistics_in_flat_space_are_the_usual_ones() -> None:
    points = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = frechet_statistics(Euclidean(2), points.requires_grad_())
    torch.testing.assert_close(found.mean, points.detach().mean(0))
    torch.testing.assert_close(found.variance, points.detach().var(0, correction=0).sum())
    torch.testing.assert_close(found.standard_error, (points.detach().var(0).sum() / 9).sqrt())
    assert found.iterations == 0 and found.effective_n == pytest.approx(9)
    assert not any(getattr(found, name).requires_grad for name in ("mean", "variance", "residual"))
    assert frechet_statistics(Euclidean(2), points[:1]).standard_error.isnan()


# input and failure


def test_a_manifold_without_geodesics_is_refused() -> None:
    promised = {name: vars(Sphere)[name] for name in Manifold.__abstractmethods__}
    steps: Any = type("Steps", (Manifold,), promised | {"n": 2, "retraction": "polar"})()
    with pytest.raises(
        InputError, match=r"needs geodesics \(exp, log, dist\).*no GeodesicManifold"
    ):
        frechet_mean(steps, torch.eye(3))


def test_no_sets_have_no_means() -> None:
    empty = torch.zeros(0, 5, 3)
    assert frechet_mean(Sphere(2), empty).shape == (0, 3)
    assert frechet_statistics(Sphere(2), empty).standard_error.shape == (0,)


def test_pieces_of_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(Sphere(2), 0.4, 2, 50)
    whole = frechet_mean(Sphere(2), points)
    monkeypatch.setattr(frechet, "row_chunks", functools.partial(row_chunks, budget=2000))
    torch.testing.assert_close(frechet_mean(Sphere(2), points), whole)


def test_inference_mode_and_no_grad_hold_no_graph() -> None:
    points = cloud(Sphere(2), 0.4, 8).requires_grad_()
    assert frechet_mean(Sphere(2), points).requires_grad
    with torch.no_grad():
        assert not frechet_mean(Sphere(2), points).requires_grad
    expected = frechet_statistics(Sphere(2), points).standard_error
    with torch.inference_mode():
        frechet_mean(Sphere(2), points)
        torch.testing.assert_close(frechet_statistics(Sphere(2), points).standard_error, expected)
        made = points.clone()
    torch.testing.assert_close(frechet_statistics(Sphere(2), made).standard_error, expected)


def test_what_does_not_converge_says_so() -> None:
    points = cloud(PoincareBall(2), 3.0, 2, 20)
    with pytest.warns(RuntimeWarning, match=r"2 of 2 means did not converge in 2 .* length \d"):
        frechet_mean(PoincareBall(2), points, max_iterations=2)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"points": torch.full((4, 3), math.nan)}, "violation inf"),
    ({"points": torch.ones(4, 3)}, "not on the manifold: violation 0.73"),
    ({"points": torch.ones(4, 4)}, r"shape \(4, 4\)"),
    ({"points": torch.eye(3).int()}, "torch.int32"),
    ({"points": torch.eye(3)[0]}, r"not one point of shape \(3,\)"),
    ({"points": torch.zeros(2, 0, 3)}, r"at least 1 points, not 0: \(2, 0, 3\)"),
    ({"weights": torch.zeros(3)}, "all weights are zero"),
    ({"weights": torch.tensor([1.0, 2.0, -0.5])}, "not negative; one is -0.5"),
    ({"weights": torch.tensor([1.0, math.nan, 1.0])}, "one is nan"),
    ({"weights": torch.tensor([1.0, math.inf, 1.0])}, "one is inf"),
    ({"weights": torch.ones(4)}, r"weights of shape \(4,\)"),
    ({"weights": torch.ones(2, 3)}, r"weights of shape \(2, 3\)"),
    ({"points": torch.eye(3).expand(4, 3, 3), "weights": torch.ones(2, 3)}, r"shape \(2, 3\)"),
    ({"weights": torch.tensor(1.0)}, r"weights of shape \(\)"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_one_clear_error(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"manifold": Sphere(2), "points": torch.eye(3)} | change
    for statistic in (frechet_mean, frechet_statistics):
        with pytest.raises(InputError, match=message) as caught:
            statistic(**given)
        assert "\n" not in str(caught.value)
