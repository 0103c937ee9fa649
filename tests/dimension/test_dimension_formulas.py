"""Each estimator against its formula written down a second time, in float64 and by plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist, squareform

from immersion.core.errors import InputError
from immersion.core.measurement import Measurement
from immersion.measure.dimension import (
    correlation_dimension,
    ess_dimension,
    gride,
    local_dimension,
    mle_dimension,
    pca_dimension,
    two_nn,
)
from immersion.measure.dimension.simplex import expected_skewness
from immersion.measure.dimension.uncertainty import graph_stderr
from immersion.sampled.graph import neighbor_graph


def sphere(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    x = rng.normal(size=(n, d + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def ordered_distances(x: np.ndarray) -> np.ndarray:
    """All distances of each point in float64, ascending, without the point itself."""
    distances = squareform(pdist(x.astype(np.float64)))
    np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, :-1]


def scale_two(x: np.ndarray) -> Measurement:
    return gride(x, scales=[2]).estimates[0]


def scale_sixteen(x: np.ndarray) -> Measurement:
    return gride(x, scales=[16]).estimates[0]


EVERY: list[Callable[..., Measurement]] = [
    two_nn, mle_dimension, scale_two, scale_sixteen, pca_dimension, ess_dimension,
    correlation_dimension,
]  # fmt: skip


def test_gride_maximises_the_likelihood() -> None:
    """The density of mu = r_s / r_{s/2}, with its beta function, maximised by golden section."""
    x = sphere(np.random.default_rng(0), 300, 3)
    r = ordered_distances(x)
    scales = (2, 6, 16, 64)
    for scale, estimate in zip(scales, gride(x, scales=scales).estimates, strict=True):
        half = scale // 2
        mu = r[:, scale - 1] / r[:, half - 1]

        def minus_log_likelihood(d: float, mu: np.ndarray = mu, half: int = half) -> float:
            beta = math.lgamma(2 * half) - 2 * math.lgamma(half)
            density = (
                beta + math.log(d) + (half - 1) * np.log(mu**d - 1)
                - ((2 * half - 1) * d + 1) * np.log(mu)
            )  # fmt: skip
            return -float(density.sum())

        best = minimize_scalar(minus_log_likelihood, bounds=(0.5, 12), method="bounded")
        # The maximum is flat: a minimiser finds it to the root of the float64 epsilon only.
        assert estimate.value == pytest.approx(best.x, rel=1e-4)


def test_gride_at_scale_two_is_the_inverse_mean_log_ratio() -> None:
    x = sphere(np.random.default_rng(1), 400, 2)
    r = ordered_distances(x)
    expected = 1 / np.log(r[:, 1] / r[:, 0]).mean()
    assert gride(x, scales=[2]).values[0] == pytest.approx(expected, rel=1e-5)  # float32 distances


def test_default_scales_end_at_what_the_graph_has() -> None:
    x = sphere(np.random.default_rng(1), 100, 2)
    assert gride(neighbor_graph(x, 20)).scales == (2, 4, 8, 16)
    assert gride(x).scales == (2, 4, 8, 16, 32, 64)
    assert gride(x[:30]).scales == (2, 4, 8, 16)
    curve = gride(neighbor_graph(x, 8))
    assert list(curve.radii) == sorted(curve.radii)
    assert curve.to_dict()["scales"] == [2, 4, 8]


def traces_by_hand(patch: np.ndarray) -> tuple[float, float]:
    """tr(S)^2 and tr(S^2) as U-statistics: averages over four different points."""
    squared, of_square, count = 0.0, 0.0, 0
    for a, b, c, d in itertools.permutations(range(len(patch)), 4):
        u, v = patch[a] - patch[b], patch[c] - patch[d]
        squared += (u @ u) * (v @ v) / 4
        of_square += (u @ v) ** 2 / 4
        count += 1
    return squared / count, of_square / count


def test_local_pca_uses_unbiased_traces() -> None:
    x = np.random.default_rng(2).normal(size=(30, 4))
    graph = neighbor_graph(x, 6)
    squared = of_square = 0.0
    for row in graph.indices:
        patch = x[row]
        size = float(((patch - patch.mean(0)) ** 2).sum())
        one, other = traces_by_hand(patch)
        squared, of_square = squared + one / size**2, of_square + other / size**2
    assert pca_dimension(graph, k=6).value == pytest.approx(squared / of_square, rel=1e-9)


def test_local_pca_sees_more_dimensions_than_a_patch_has_points() -> None:
    x = np.random.default_rng(0).normal(size=(1500, 24))
    d = pca_dimension(x, k=12)
    assert abs(d.value - 24) < 0.06 * 24


def test_skewness_of_angles_by_hand() -> None:
    x = np.random.default_rng(3).normal(size=(60, 5))
    graph = neighbor_graph(x, 7)
    found = []
    for row in graph.indices:
        v = x[row] - x[row].mean(0)
        area = length = 0.0
        for a, b in itertools.combinations(range(7), 2):
            product = np.linalg.norm(v[a]) * np.linalg.norm(v[b])
            area += product * math.sin(math.acos(float(v[a] @ v[b]) / product))
            length += product
        found.append(area / length)
    d = ess_dimension(graph, k=7).value
    assert expected_skewness(d, 7) == pytest.approx(float(np.mean(found)), rel=1e-9)


@pytest.mark.parametrize(("d", "k"), [(2, 4), (3, 8), (10, 5)])
def test_expected_skewness_by_simulation(d: int, k: int) -> None:
    """Mean area over mean length product of two of k Gaussian points about their mean."""
    v = np.random.default_rng(0).normal(size=(400_000, k, d))
    v -= v.mean(axis=1, keepdims=True)
    a, b = v[:, 0], v[:, 1]
    right = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    area = np.sqrt(right**2 - (a * b).sum(1) ** 2)
    # 400,000 draws: a relative standard error of at most 1.5e-3.
    assert expected_skewness(d, k) == pytest.approx(area.mean() / right.mean(), rel=5e-3)


def test_expected_skewness_without_a_centre_is_johnssons() -> None:
    """In the plane the mean |sin| is 2 / pi, in space pi / 4, on a line 0."""
    many = 10**8
    assert expected_skewness(2.0, many) == pytest.approx(2 / math.pi, rel=1e-12)
    assert expected_skewness(3.0, many) == pytest.approx(math.pi / 4, rel=1e-12)
    assert expected_skewness(1.0, many) == 0


@pytest.mark.parametrize("shift", [0.0, 3e4], ids=["centred", "far away"])
def test_correlation_dimension_counts_pairs(shift: float) -> None:
    x = sphere(np.random.default_rng(4), 500, 3) + shift
    distances = squareform(pdist(x))
    r = np.sort(distances, axis=1)
    r1, r2 = np.median(r[:, 10]), np.median(r[:, 20])
    counts = [np.count_nonzero(distances < bound) - 500 for bound in (r1, r2)]
    expected = math.log(counts[1] / counts[0]) / math.log(r2 / r1)
    # float32 radii and products move a handful of 10,000 pairs across a radius.
    assert correlation_dimension(x, rows=500).value == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("rows", [150, 700])
def test_pairs_of_crowded_points_are_counted_too(rows: int) -> None:
    """Most of a dense cluster has more neighbours within the radii than the graph holds."""
    rng = np.random.default_rng(5)
    x = np.concatenate([sphere(rng, 400, 3), 3 + 0.01 * sphere(rng, 300, 2) @ np.eye(3, 4)])
    whole = neighbor_graph(x, 699)
    expected = correlation_dimension(whole, near=10, far=20, rows=rows, seed=1)
    distances = squareform(pdist(x))
    r1, r2 = (float(expected.settings[name] or 0) for name in ("r1", "r2"))
    if rows == 700:
        counts = [np.count_nonzero(distances < r) - 700 for r in (r1, r2)]
        by_hand = math.log(counts[1] / counts[0]) / math.log(r2 / r1)
        assert expected.value == pytest.approx(by_hand, rel=1e-5)
    for graph in (
        neighbor_graph(x, 20),
        neighbor_graph(x, 120),
        replace(neighbor_graph(x, 30), recall=0.98),  # then every pair is counted
    ):
        assert (graph.distances[:, -1] < r2).any()
        found = correlation_dimension(graph, near=10, far=20, rows=rows, seed=1)
        assert found.value == pytest.approx(expected.value, rel=1e-4)
        assert found.stderr == pytest.approx(expected.stderr, rel=1e-3)


def test_local_dimension_by_hand() -> None:
    x = sphere(np.random.default_rng(5), 200, 2)
    r = ordered_distances(x)[:, :10]
    expected = 8 / np.log(r[:, -1:] / r[:, :-1]).sum(axis=1)
    found = local_dimension(x, k=10)
    np.testing.assert_allclose(found.values, expected, rtol=1e-4)
    np.testing.assert_allclose(found.stderrs, expected / math.sqrt(7), rtol=1e-4)
    np.testing.assert_allclose(found.radii, r[:, -1], rtol=1e-6)


def test_local_dimension_is_unbiased_with_the_error_it_states() -> None:
    """On a circle; 4,000 points hold about 200 independent patches of 20."""
    found = local_dimension(sphere(np.random.default_rng(6), 4000, 1), k=20)
    assert abs(float(found.values.mean()) - 1) < 4 / math.sqrt(17 * 200)
    assert float(found.values.std()) == pytest.approx(1 / math.sqrt(17), rel=0.15)


def test_local_dimension_of_points_without_neighbours_apart() -> None:
    x = np.concatenate([np.full((12, 2), 50.0), np.random.default_rng(0).normal(size=(60, 2))])
    found = local_dimension(x, k=8)
    assert np.isnan(found.values[:12]).all()
    assert np.isfinite(found.values[12:]).all()
    assert found.caveats[0] == "12 points have no four neighbours at different distances"
    everywhere = local_dimension(np.ones((30, 2)), k=5)
    assert np.isnan(everywhere.values).all() and np.isnan(everywhere.stderrs).all()


def test_standard_errors_by_sparse_matrices() -> None:
    """The kernel's sums against the symmetrised graph as a sparse matrix."""
    rng = np.random.default_rng(0)
    graph = neighbor_graph(rng.normal(size=(150, 3)), 9)
    influence = rng.normal(size=150)
    influence[::7] = 0
    usable = influence != 0
    for k in (2, 9):
        ends = (np.repeat(np.arange(150), k), graph.indices[:, :k].ravel())
        joined = csr_array((np.ones(150 * k), ends), shape=(150, 150)).toarray()
        edges = np.maximum(joined, joined.T)
        shared = joined.T @ influence + influence
        variance = max(
            influence @ influence + influence @ edges @ influence, shared @ shared / (k + 1)
        )
        expected = math.sqrt(variance) / usable.sum()
        assert graph_stderr(graph, influence, usable, k) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("estimate", EVERY, ids=lambda e: e.__name__)
def test_the_stated_error_is_the_spread_over_repetitions(
    estimate: Callable[..., Measurement],
) -> None:
    """40 seeds tell a spread to 11%; patches of low dimension overlap the most."""
    values, errors = [], []
    for seed in range(40):
        found = estimate(sphere(np.random.default_rng(seed), 500, 3))
        values.append(found.value)
        errors.append(found.stderr)
    assert 0.7 < float(np.mean(errors)) / float(np.std(values, ddof=1)) < 1.8


@pytest.mark.parametrize("estimate", EVERY, ids=lambda e: e.__name__)
def test_rotation_scale_shift_and_type_change_nothing(
    estimate: Callable[..., Measurement],
) -> None:
    rng = np.random.default_rng(0)
    x = sphere(rng, 400, 3)
    turn, _ = np.linalg.qr(rng.normal(size=(30, 4)))
    expected = estimate(x).value
    assert estimate(2e3 * x @ turn.T + 5).value == pytest.approx(expected, rel=2e-3)
    assert estimate(x.astype(np.float32)).value == pytest.approx(expected, rel=2e-3)
    assert estimate(np.asfortranarray(x)).value == expected
    assert estimate(np.repeat(x, 2, axis=0)[::2]).value == expected


@pytest.mark.parametrize("estimate", EVERY, ids=lambda e: e.__name__)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16])
def test_integers_and_halves(estimate: Callable[..., Measurement], dtype: type) -> None:
    x = np.random.default_rng(0).integers(0, 200, (300, 12)).astype(dtype)
    assert estimate(x).value == pytest.approx(estimate(x.astype(np.float64)).value, rel=1e-4)


@pytest.mark.parametrize("estimate", EVERY, ids=lambda e: e.__name__)
@pytest.mark.parametrize("x", [np.zeros((50, 3)), np.repeat(np.eye(3), 30, axis=0)], ids=["0", "3"])
def test_points_that_coincide_are_not_decidable(
    x: np.ndarray, estimate: Callable[..., Measurement]
) -> None:
    found = estimate(x)
    assert not found.decidable and math.isnan(found.stderr)
    assert len(found.caveats) == 1


@pytest.mark.parametrize("estimate", EVERY, ids=lambda e: e.__name__)
@pytest.mark.parametrize(
    "bad",
    [np.zeros((0, 3)), np.zeros((1, 3)), np.zeros(7), [["a"]] * 40, np.full((40, 2), np.nan)],
    ids=["empty", "one point", "one axis", "text", "NaN"],
)
def test_unusable_points_are_one_error(bad: object, estimate: Callable[..., Measurement]) -> None:
    with pytest.raises(InputError):
        estimate(bad)


def test_constant_features_do_not_count() -> None:
    x = np.random.default_rng(0).uniform(size=(400, 2))
    padded = np.pad(x, ((0, 0), (3, 5)), constant_values=7)
    for estimate in EVERY:
        assert estimate(padded).value == pytest.approx(estimate(x).value, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda g: gride(g, scales=[3]), r"even numbers .* not \[3\]"),
        (lambda g: gride(g, scales=[4, 2]), "ascending"),
        (lambda g: gride(g, scales=[]), "scales"),
        (lambda g: gride(g, scales=[2, 64]), "64 are needed"),
        (lambda g: pca_dimension(g, k=3), "at least 4, not 3"),
        (lambda g: ess_dimension(g, k=3), "at least 4, not 3"),
        (lambda g: ess_dimension(g, patches=5), "at least 20, not 5"),
        (lambda g: ess_dimension(g, k=99), "99 are needed"),
        (lambda g: correlation_dimension(g, near=9, far=9), "near = 9 and far = 9"),
        (lambda g: local_dimension(g, k=3), "at least 4, not 3"),
    ],
)
def test_bad_settings_are_one_error(call: Callable[..., object], says: str) -> None:
    graph = neighbor_graph(np.random.default_rng(0).normal(size=(60, 3)), 20)
    with pytest.raises(InputError, match=says):
        call(graph)


def test_drawn_patches_agree_with_all() -> None:
    x = sphere(np.random.default_rng(0), 1500, 4)
    for estimate in (pca_dimension, ess_dimension):
        some, every = estimate(x, patches=300), estimate(x)
        assert some.n == 300 and every.n == 1500
        assert abs(some.value - every.value) < 3 * some.stderr
        assert some == estimate(x, patches=300)
        assert some != estimate(x, patches=300, seed=1)


def test_the_default_graph_serves_every_estimator() -> None:
    """Fifteen neighbours, as `neighbor_graph` finds unless told."""
    graph = neighbor_graph(sphere(np.random.default_rng(0), 600, 2))
    for estimate in (two_nn, mle_dimension, pca_dimension, ess_dimension, correlation_dimension):
        assert abs(estimate(graph).value - 2) < 0.3
    assert correlation_dimension(graph).settings["far"] == 15
    assert correlation_dimension(neighbor_graph(graph.points, 30)).settings["far"] == 20
    assert abs(float(np.median(local_dimension(graph).values)) - 2) < 0.3
    assert gride(graph).scales == (2, 4, 8)
